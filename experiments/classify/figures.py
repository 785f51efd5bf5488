"""The figure of a run: which class is taken for which."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_MOST_NUMBERS = 20  # classes; with more of them numbers would not be legible


def plot_confusion(path: Path, counts: np.ndarray, classes: Sequence[str]) -> None:
    """Draws how often each class is taken for each.

    Args:
      path: PNG to write.
      counts: true classes by answers.
      classes: their names.
    """
    number = len(classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = min(12.0, 2.4 + 0.45 * number)
    figure = Figure(figsize=(size, size), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if number <= _MOST_NUMBERS:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                color = "white" if shares[row, column] > 0.5 else "#222222"
                axis.text(
                    column, row, str(count), ha="center", va="center", color=color, fontsize=8
                )
    for place, names in ((axis.xaxis, classes), (axis.yaxis, classes)):
        place.set_ticks(range(number), names, fontsize=8)
    if max(map(len, classes)) > 3:
        axis.tick_params(axis="x", rotation=90)
    axis.set_xlabel("answer", fontsize=9)
    axis.set_ylabel("truth", fontsize=9)
    axis.set_title("Test examples, over the seeds", loc="left", fontsize=10)
    axis.spines[:].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
