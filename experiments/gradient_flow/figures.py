"""Figures of what was measured at initialisation."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.gradient_flow import canvas
from experiments.gradient_flow.config import Config
from experiments.gradient_flow.grid import Point
from experiments.gradient_flow.measure import Arrays, product_lags, truncations

Grid = Mapping[Point, Arrays]
_DATA = "inputs of the adding problem"
_FLOOR = 1e-20  # of the axis; what is smaller runs out of the picture


def draw_measurements(config: Config, grid: Grid, folder: Path) -> None:
    """Writes every figure of the grid.

    Args:
      config: the settings.
      grid: point to its arrays, from `measure`.
      folder: where the figures go.
    """
    longest = config.measured_lengths[-1]
    draw_gradient_norms(grid, longest, folder / "gradient_norms.png")
    draw_singular_values(grid, longest, folder / "singular_values.png")
    draw_lyapunov(grid, folder / "lyapunov.png")
    draw_gates(grid, folder / "gates.png")
    draw_truncation(grid, longest, folder / "truncation.png")
    if config.online_methods:
        length = config.measured_lengths[0]
        draw_online(grid, list(config.online_methods), length, folder / "online.png")


def draw_gradient_norms(grid: Grid, length: int, path: Path) -> None:
    """Draws gradient norms against the lag, a panel a cell, the memory `c` dashed."""
    figure, axes = canvas.panels(len(cells(grid)), columns=4)
    tops = [10.0]
    for axis, (cell, points) in zip(axes, cells(grid).items(), strict=True):
        for color, point in canvas.colored(points):
            start = f"{length}/norm_"
            fields = [name.removeprefix(start) for name in grid[point] if name.startswith(start)]
            first = "hidden" if "hidden" in fields else fields[0]
            for field, style in ((first, "-"), ("cell", "--")):
                if field not in fields or (field == first and style == "--"):
                    continue
                norms = grid[point][f"{start}{field}"]
                by_lag = np.moveaxis(norms[:, ::-1], 1, -1).reshape(-1, length)
                by_lag = np.where(by_lag > 0, by_lag, np.nan)  # no place on a logarithmic axis
                label = point.init if field == first else None
                canvas.band(
                    axis, np.arange(length), by_lag,
                    quantiles=(0.25, 0.75), color=color, linestyle=style, label=label,
                )  # fmt: skip
                tops.append(float(np.nanmax(by_lag, initial=1.0)))
        axis.axhline(1, color=canvas.INK, linewidth=0.7, linestyle=":")
        axis.set_yscale("log")
        axis.set_xlim(0, length - 1)
        both = {f"{length}/norm_hidden", f"{length}/norm_cell"} <= {*grid[points[0]]}
        canvas.name(axis, cell + ": h solid, c dashed" * both, "lag, steps back from the last")
        canvas.legend_below(axis, 2)
    axes[0].set_ylim(_FLOOR, 10 * max(tops))
    axes[0].set_ylabel("gradient norm |dL/ds|", fontsize=9)
    figure.suptitle(
        f"Gradient norm against lag, {_DATA}: median and quartiles over sequences and seeds",
        x=0.01, ha="left", fontsize=11,
    )  # fmt: skip
    canvas.save(figure, path)


def draw_singular_values(grid: Grid, length: int, path: Path) -> None:
    """Draws the singular values of Jacobian products against the lag, a panel a point."""
    figure, axes = canvas.panels(len(grid), columns=4)
    lags = product_lags(length)
    parts = (("largest", 1.0, 0), ("median", 0.5, 1), ("smallest", 0.0, 2))
    highest = 1.0
    for axis, (point, arrays) in zip(axes, grid.items(), strict=True):
        # To powers of ten, over seeds and examples together: (S * E, L, N).
        logs = np.moveaxis(arrays["log_singular_values"], 1, 2) / np.log(10)
        logs = np.maximum(logs.reshape(-1, *logs.shape[2:]), -1e3)  # a dead unit: minus infinity
        highest = max(highest, float(np.nanmax(logs)))
        for label, quantile, number in parts:
            values = np.quantile(logs, quantile, axis=-1)
            canvas.band(
                axis, lags, values,
                quantiles=(0, 1), color=canvas.COLORS[number], marker=".", label=label,
            )  # fmt: skip
        axis.axhline(0, color=canvas.INK, linewidth=0.7, linestyle=":")
        axis.set_xscale("log")
        canvas.name(axis, point.label, "lag")
    axes[0].set_ylim(-20, 1.1 * highest + 1)
    for axis in axes[::4]:
        axis.set_ylabel("log10 singular value", fontsize=9)
    canvas.legend(axes[0], loc="lower left")
    figure.suptitle(
        f"Singular values of products of Jacobians, {_DATA}: median and range over seeds",
        x=0.01, ha="left", fontsize=11,
    )  # fmt: skip
    canvas.save(figure, path)


def draw_lyapunov(grid: Grid, path: Path) -> None:
    """Draws Lyapunov spectra against the rank, a panel a cell."""
    figure, axes = canvas.panels(len(cells(grid)), columns=4)
    lowest = 0.0
    for axis, (cell, points) in zip(axes, cells(grid).items(), strict=True):
        for color, point in canvas.colored(points):
            spectra = grid[point]["lyapunov"].reshape(-1, grid[point]["lyapunov"].shape[-1])
            ranks = np.arange(1, spectra.shape[1] + 1)
            canvas.band(axis, ranks, spectra, quantiles=(0, 1), color=color, label=point.init)
            finite = spectra[np.isfinite(spectra)]
            lowest = min(lowest, float(finite.min(initial=0.0)))
        axis.axhline(0, color=canvas.INK, linewidth=0.7, linestyle=":")
        canvas.name(axis, cell, "rank")
        canvas.legend_below(axis, 2)
    axes[0].set_ylim(max(lowest, -6.0) - 0.3, None)
    axes[0].set_ylabel("Lyapunov exponent, 1/step", fontsize=9)
    figure.suptitle(
        f"Lyapunov spectra, {_DATA}: median and range over seeds", x=0.01, ha="left", fontsize=11
    )
    canvas.save(figure, path)


def draw_gates(grid: Grid, path: Path) -> None:
    """Draws a histogram of every gate's activations, and the time-scales of the units."""
    shown: dict[tuple[str, str], list[Point]] = {}
    for point, arrays in grid.items():
        for key in arrays:
            if key.startswith("histogram_"):
                shown.setdefault((point.cell, key.removeprefix("histogram_")), []).append(point)
    timed = [point for point, arrays in grid.items() if "time_scale" in arrays]
    if not shown and not timed:
        return
    figure, axes = canvas.panels(len(shown) + bool(timed), columns=4, share_y="none")
    for axis, ((cell, gate), points) in zip(axes, shown.items(), strict=False):
        ends = (-1, 1) if cell == "rnn" else (0, 1)
        for color, point in canvas.colored(points):
            fractions = grid[point][f"histogram_{gate}"].mean(axis=0)
            edges = np.linspace(*ends, len(fractions) + 1)
            axis.stairs(fractions, edges, color=color, linewidth=1.5, label=point.init)
        for end in ((-1, -0.9), (0.9, 1)) if cell == "rnn" else ((0, 0.1), (0.9, 1)):
            axis.axvspan(*end, color=canvas.GREY, alpha=0.18, linewidth=0)
        axis.set_xlim(ends)
        axis.margins(y=0.3)
        axis.set_ylim(bottom=0)
        canvas.name(axis, f"{cell}: {gate}", "activation", "fraction")
        canvas.legend_below(axis, 2)
    if timed:
        for number, point in enumerate(timed):
            scales = np.sort(grid[point]["time_scale"], axis=-1)
            canvas.band(
                axes[-1], np.linspace(0, 1, scales.shape[-1]), scales,
                quantiles=(0, 1), label=point.label,
                color=canvas.COLORS[number % len(canvas.COLORS)],
                linestyle="-" if number < len(canvas.COLORS) else "--",
            )  # fmt: skip
        axes[-1].set_yscale("log")
        canvas.name(axes[-1], "Time-scale of the units", "quantile of units", "steps")
        canvas.legend_below(axes[-1], 2)
    figure.suptitle(
        f"Gates at initialisation, {_DATA}; shaded: saturated", x=0.01, ha="left", fontsize=11
    )
    canvas.save(figure, path)


def draw_truncation(grid: Grid, length: int, path: Path) -> None:
    """Draws how much truncated gradients agree with the full one, a panel a cell."""
    figure, axes = canvas.panels(len(cells(grid)), columns=4)
    steps = truncations(length)
    for axis, (cell, points) in zip(axes, cells(grid).items(), strict=True):
        for color, point in canvas.colored(points):
            cosine = grid[point][f"{length}/cosine"]
            canvas.band(
                axis, steps, cosine,
                quantiles=(0, 1), color=color, marker=".", label=point.init,
            )  # fmt: skip
        axis.axhline(1, color=canvas.INK, linewidth=0.7, linestyle=":")
        axis.set_xscale("log", base=2)
        canvas.name(axis, cell, "steps back-propagated, k")
        canvas.legend_below(axis, 2)
    axes[0].set_ylabel("cosine with the full gradient", fontsize=9)
    figure.suptitle(
        f"Truncated back-propagation, {_DATA}: median and range over seeds",
        x=0.01, ha="left", fontsize=11,
    )  # fmt: skip
    canvas.save(figure, path)


def draw_online(grid: Grid, methods: Sequence[str], length: int, path: Path) -> None:
    """Draws how much online gradients agree with the full one, a panel a cell, a point a seed."""
    figure, axes = canvas.panels(len(cells(grid)), columns=4)
    for axis, (cell, points) in zip(axes, cells(grid).items(), strict=True):
        for place, (color, point) in enumerate(canvas.colored(points)):
            taken = [name for name in methods if f"online_cosine_{name}" in grid[point]]
            shift = 0.6 * ((place + 0.5) / len(points) - 0.5)
            for name in taken:
                cosine = grid[point][f"online_cosine_{name}"]
                where = np.full(len(cosine), methods.index(name) + shift)
                label = point.init if name == taken[0] else None
                axis.plot(where, cosine, "o", color=color, markersize=4, label=label)
        axis.axhline(1, color=canvas.INK, linewidth=0.7, linestyle=":")
        axis.axhline(0, color=canvas.INK, linewidth=0.7, linestyle=":")
        axis.set_xticks(range(len(methods)), methods)
        axis.set_xlim(-0.5, len(methods) - 0.5)
        canvas.name(axis, cell, "method")
        canvas.legend_below(axis, 2)
    axes[0].set_ylabel("cosine with the full gradient", fontsize=9)
    figure.suptitle(
        f"Online gradients at T = {length}, {_DATA}: a point for each seed",
        x=0.01, ha="left", fontsize=11,
    )  # fmt: skip
    canvas.save(figure, path)


def cells(grid: Grid) -> dict[str, list[Point]]:
    """Returns the points of each cell."""
    found: dict[str, list[Point]] = {}
    for point in grid:
        found.setdefault(point.cell, []).append(point)
    return found
