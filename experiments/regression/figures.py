"""Figures of a run: forecasts against the truth, and the error of every step."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from seqjax import data

INK, ACCENT, GREY = "#222222", "#0b6fb8", "#9aa5ad"
_SHOWN = 6


def plot_predictions(
    path: Path,
    truth: data.Sequences,
    predictions: np.ndarray,
    floor: tuple[str, np.ndarray],
    *,
    continues: np.ndarray,
    names: tuple[str, ...] = (),
    title: str,
) -> None:
    """Draws some test sequences, their predictions, and those of the best baseline.

    Args:
      path: PNG to write.
      truth: the test part.
      predictions: of the shape of its targets, (B, T, K).
      floor: name and predictions of the best floor.
      continues: the inputs that the targets continue; empty where they continue none.
      names: of the K answers.
      title: of the figure.
    """
    figure = Figure(figsize=(11, 5.2), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, _SHOWN // 2).ravel()
    rows = np.linspace(0, len(predictions) - 1, _SHOWN).astype(int)
    number = predictions.shape[-1]
    for place, (axis, row) in enumerate(zip(axes, rows, strict=True)):
        column = place * number // _SHOWN
        every_step = truth.weights.ndim == 2
        start = 0 if every_step else truth.inputs.shape[1]
        time = start + np.arange(predictions.shape[1])
        if len(continues) and not every_step:
            past = truth.inputs[row, -4 * len(time) :, continues[column]]
            axis.plot(np.arange(start - len(past), start), past, color=GREY, linewidth=1)
        axis.plot(time, truth.targets[row, :, column], color=INK, linewidth=1.4, label="truth")
        axis.plot(time, floor[1][row, :, column], color=GREY, linestyle="--", label=floor[0])
        axis.plot(time, predictions[row, :, column], color=ACCENT, label="network")
        name = names[column] if names else f"variable {column + 1}"
        axis.set_title(f"test sequence {row}, {name}", loc="left", fontsize=9)
        _tidy(axis)
    axes[0].legend(frameon=False, fontsize=8)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def plot_scatter(path: Path, truth: np.ndarray, predictions: np.ndarray, *, title: str) -> None:
    """Draws single answers against their predictions."""
    figure = Figure(figsize=(4.5, 4.2), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.plot(truth.ravel(), predictions.ravel(), ".", color=ACCENT, alpha=0.4, markersize=4)
    ends = [truth.min(), truth.max()]
    axis.plot(ends, ends, color=INK, linewidth=1)
    axis.set_title(title, loc="left", fontsize=10)
    axis.set_xlabel("truth", fontsize=9)
    axis.set_ylabel("prediction", fontsize=9)
    _tidy(axis)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def plot_errors_by_step(path: Path, errors: Mapping[str, np.ndarray], *, title: str) -> None:
    """Draws the mean squared error of every step, the network's in colour.

    Args:
      path: PNG to write.
      errors: name to (T,); the network is called "network".
      title: of the figure.
    """
    figure = Figure(figsize=(6.5, 3.6), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    styles = iter(("-", "--", ":", "-."))
    for name, values in errors.items():
        mine = name == "network"
        axis.plot(
            np.arange(1, len(values) + 1),
            values,
            color=ACCENT if mine else GREY,
            linestyle="-" if mine else next(styles, "-"),
            linewidth=2 if mine else 1.2,
            marker="." if len(values) == 1 else None,
            label=name,
        )
    if min(values.min() for values in errors.values()) > 0:
        axis.set_yscale("log")
    axis.set_title(f"{title}\nmean squared error of each step", loc="left", fontsize=10)
    axis.set_xlabel("step", fontsize=9)
    axis.legend(frameon=False, fontsize=8)
    _tidy(axis)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _tidy(axis) -> None:
    axis.tick_params(labelsize=8, color=GREY)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(GREY)
