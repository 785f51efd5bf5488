"""What all figures share: colours that everyone can distinguish, panels, and writing the file."""

import io
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from seqjax.train._files import replace_file

Item = TypeVar("Item")
ShareY = Literal["none", "all", "row", "col"]
INK, GREY = "#222222", "#8a949b"
# Okabe and Ito (2008), Color universal design; its yellow is left out, which white paper swallows.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", INK)


def panels(number: int, *, columns: int, share_y: ShareY = "all") -> tuple[Figure, list[Axes]]:
    """Makes a figure of panels in rows.

    Args:
      number: of panels.
      columns: of them in a row, at most.
      share_y: which panels have one vertical axis.

    Returns:
      The figure and its panels; what is left over of the last row is invisible.
    """
    columns = min(columns, number)
    rows = -(-number // columns)
    # A figure of our own, not pyplot's: no global state, no window, whatever the backend.
    figure = Figure(
        figsize=(max(4.6, 2.9 * columns), 3.1 * rows + 0.3), dpi=150, layout="constrained"
    )
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=share_y)
    axes = list(grid.ravel())
    for spare in axes[number:]:
        spare.set_visible(False)
    for place, one in enumerate(axes[:number]):
        one.tick_params(which="both", labelsize=8, color=GREY)
        one.grid(axis="y", color="#e6e9eb", linewidth=0.8)
        one.set_axisbelow(True)
        one.spines[["top", "right"]].set_visible(False)
        one.spines[["left", "bottom"]].set_color(GREY)
        if share_y != "none" and place % columns:
            one.tick_params(labelleft=False)
    return figure, axes[:number]


def colored(items: Iterable[Item]) -> Iterator[tuple[str, Item]]:
    """Pairs each item with its colour; past the last colour they begin anew."""
    return zip(itertools.cycle(COLORS), items, strict=False)


def name(axes: Axes, title: str, x: str, y: str = "") -> None:
    """Writes a panel's title and the names of its axes."""
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)


def legend(axes: Axes, **options: Any) -> None:
    """Draws a small legend."""
    axes.legend(
        frameon=False, fontsize=7.5, handlelength=1.6, labelspacing=0.3, columnspacing=1, **options
    )


def legend_below(axes: Axes, columns: int, *, gap: float = 0.2) -> None:
    """Draws a legend under a panel whose curves leave no corner that is free in every run."""
    legend(axes, loc="upper center", bbox_to_anchor=(0.5, -gap), ncols=columns)


def band(axes: Axes, x: Any, values: np.ndarray, *, quantiles: Iterable[float], **style) -> None:
    """Draws the median over the first axis, and a band between two quantiles.

    Values that are not finite are left out; where none is left there is a gap.
    """
    values = np.where(np.isfinite(values), values, np.nan)
    seen = np.isfinite(values).any(axis=0)
    low, middle, high = np.full((3, values.shape[1]), np.nan)
    if seen.any():
        first, last = quantiles
        low[seen], middle[seen], high[seen] = np.nanquantile(
            values[:, seen], [first, 0.5, last], axis=0
        )
    axes.fill_between(x, low, high, color=style["color"], alpha=0.12, linewidth=0)
    axes.plot(x, middle, linewidth=1.6, **style)


def save(figure: Figure, path: Path) -> None:
    """Writes a figure."""
    image = io.BytesIO()
    figure.savefig(image, format="png")
    replace_file(path, image.getvalue())
