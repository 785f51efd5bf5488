"""Figures of the gradient flow. Each function returns the figure and can also write it to a PNG."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike

from seqjax._checks import check_shape, check_sizes
from seqjax._figures import ACCENT, GREY, INK, canvas, png, style
from seqjax.gradflow._norms import NormSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = (ACCENT, "#d1495b", "#3a9d5d", "#8a5fbf", "#c98a1b", INK)


def plot_gradient_norms(
    summaries: Mapping[str, NormSummary], path: str | Path | None = None
) -> "Figure":
    """Draws gradient norms against the lag: the median, with a band between the quartiles.

    Args:
      summaries: dict from label to summary, from `summarise_norms`.
      path: PNG to write, if any.

    Returns:
      The figure; a notebook displays it.

    Raises:
      ValueError: if `summaries` is empty.

    Example:
      >>> import jax.numpy as jnp
      >>> from seqjax.gradflow import summarise_norms
      >>> figure = plot_gradient_norms({"h": summarise_norms(0.9 ** jnp.arange(9.0)[:, None])})
      >>> figure.axes[0].get_ylabel()
      '|dL / ds|'
    """
    _needs_some(summaries, "plot_gradient_norms")
    figure, axes = _figure("Gradient norm against lag", "steps back from the last", "|dL / ds|")
    for color, (label, summary) in zip(_colors(len(summaries)), summaries.items(), strict=True):
        lag, low, middle, high = (
            np.asarray(x)
            for x in (summary.lag, summary.lower_quartile, summary.median, summary.upper_quartile)
        )
        # A logarithmic axis cannot show zero. Leave a gap: a lower bound was never measured.
        low, middle, high = (np.where(x > 0, x, np.nan) for x in (low, middle, high))
        axes.fill_between(lag, low, high, color=color, alpha=0.2, linewidth=0)
        axes.plot(lag, middle, color=color, linewidth=1.8, label=label)
    axes.set_yscale("log")
    axes.set_xlim(left=0)
    axes.legend(frameon=False, fontsize=9)
    return _saved(figure, path)


def plot_singular_values(
    log_singular_values: ArrayLike, path: str | Path | None = None, *, lags: ArrayLike | None = None
) -> "Figure":
    """Draws the log singular values of Jacobian products against the lag, one line each.

    Args:
      log_singular_values: the values of one example, shape (K, N), from `product_singular_values`.
      path: PNG to write, if any.
      lags: the lags, shape (K,); by default 1 to K.

    Returns:
      The figure; a notebook displays it.

    Raises:
      ValueError: if `log_singular_values` does not have two axes, or `lags` another length.
    """
    logs = np.asarray(log_singular_values)
    if logs.ndim != 2:
        raise ValueError(
            "seqjax.gradflow.plot_singular_values: `log_singular_values` must have shape (K, N), "
            f"got {logs.shape}. Choose one example, or take the median over examples."
        )
    lags = np.arange(1, len(logs) + 1) if lags is None else np.asarray(lags)
    check_shape("seqjax.gradflow.plot_singular_values", "lags", lags, "(K,)", logs.shape[:1])
    figure, axes = _figure("Singular values of Jacobian products", "lag", "log singular value")
    axes.plot(lags, logs[:, 1:], color=GREY, linewidth=0.9)
    axes.plot(lags, logs[:, 0], color=ACCENT, linewidth=1.8, label="largest")
    axes.axhline(0, color=INK, linewidth=0.8, linestyle=":")
    axes.legend(frameon=False, fontsize=9)
    return _saved(figure, path)


def plot_lyapunov(exponents: Mapping[str, ArrayLike], path: str | Path | None = None) -> "Figure":
    """Draws Lyapunov spectra: exponents against their rank, one line per label.

    Args:
      exponents: dict from label to exponents, shape (*B, N). The figure shows the median over
        examples.
      path: PNG to write, if any.

    Returns:
      The figure; a notebook displays it.

    Raises:
      ValueError: if `exponents` is empty.
    """
    _needs_some(exponents, "plot_lyapunov")
    figure, axes = _figure("Lyapunov spectrum", "rank", "exponent per step")
    for color, (label, values) in zip(_colors(len(exponents)), exponents.items(), strict=True):
        values = np.asarray(values)
        median = np.median(values.reshape(-1, values.shape[-1]), axis=0)
        ranks = np.arange(1, len(median) + 1)
        axes.plot(ranks, median, color=color, marker="o", markersize=3, linewidth=1.2, label=label)
    axes.axhline(0, color=INK, linewidth=0.8, linestyle=":")
    axes.legend(frameon=False, fontsize=9)
    return _saved(figure, path)


def plot_saturation(
    activations: Mapping[str, ArrayLike],
    path: str | Path | None = None,
    *,
    bins: int = 20,
    range: tuple[float, float] = (0.0, 1.0),
    low: float = 0.1,
    high: float = 0.9,
) -> "Figure":
    """Draws a histogram of each gate's activations, with the saturated ends shaded.

    Args:
      activations: dict from gate to activations of any shape, from `gate_activations`.
      path: PNG to write, if any.
      bins: number of bins.
      range: ends of the histogram; use (-1, 1) for tanh.
      low: a smaller activation counts as saturated to the left.
      high: a larger activation counts as saturated to the right.

    Returns:
      The figure; a notebook displays it.

    Raises:
      ValueError: if `activations` is empty, `bins` is below 1, or an interval is empty.
    """
    _needs_some(activations, "plot_saturation")
    check_sizes("seqjax.gradflow.plot_saturation", bins=bins)
    for name, (left, right) in {"range": range, "(low, high)": (low, high)}.items():
        if not left < right:
            raise ValueError(
                f"seqjax.gradflow.plot_saturation: `{name}` must be two numbers in rising order, "
                f"got {left} and {right}."
            )
    figure = canvas(2.6 * len(activations) + 0.6, 2.8)
    panels = figure.subplots(1, len(activations), sharey=True, squeeze=False)[0]
    for axes, (gate, values) in zip(panels, activations.items(), strict=True):
        values = np.asarray(values).ravel()
        weights = np.full(values.size, 1 / max(1, values.size))
        axes.axvspan(range[0], low, color=GREY, alpha=0.2, linewidth=0)
        axes.axvspan(high, range[1], color=GREY, alpha=0.2, linewidth=0)
        axes.hist(values, bins=bins, range=range, weights=weights, color=ACCENT)
        style(axes, gate, "activation", "fraction" if axes is panels[0] else "")
        axes.margins(y=0.2)  # room for the line above the bars
        left, right = (values < low).mean(), (values > high).mean()
        axes.set_xlim(range)
        axes.annotate(
            f"{left:.0%} closed, {right:.0%} open",
            (0.5, 0.97),
            xycoords="axes fraction",
            ha="center",
            va="top",
            fontsize=8,
            color=INK,
        )
    return _saved(figure, path)


def _figure(title: str, x: str, y: str) -> tuple["Figure", "Axes"]:
    figure = canvas(6.0, 3.6)
    axes = figure.subplots()
    style(axes, title, x, y)
    return figure, axes


def _colors(number: int) -> list[str]:
    return [COLORS[index % len(COLORS)] for index in range(number)]


def _needs_some(items: Mapping[str, Any], where: str) -> None:
    if not items:
        raise ValueError(
            f"seqjax.gradflow.{where}: at least one labelled entry is required, got none. Pass a "
            "dict from label to values."
        )


def _saved(figure: "Figure", path: str | Path | None) -> "Figure":
    if path is not None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(figure))
    return figure
