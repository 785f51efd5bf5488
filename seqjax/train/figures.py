"""The figure every run leaves: its loss and its validation metric against the steps."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from seqjax.train.files import replace_file

INK, ACCENT, GREY = "#222222", "#0b6fb8", "#9aa5ad"


def plot_training(
    rows: Iterable[Mapping[str, Any]],
    path: str | Path,
    *,
    metric: str = "accuracy",
    best_epochs: Mapping[int, int] | None = None,
) -> None:
    """Draws the training loss and a validation metric, a thin line a seed and their mean.

    Args:
      rows: from `RunFolder.metrics`.
      path: PNG to write.
      metric: validation metric to draw, without its `val_`.
      best_epochs: seed to the epoch its parameters were chosen from, to be marked.

    Raises:
      ValueError: if no epoch has such a metric.
    """
    seeds: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("kind") == "epoch" and row.get(f"val_{metric}") is not None:
            seeds.setdefault(row["seed"], []).append(row)
    if not seeds:
        raise ValueError(
            f"seqjax.train.plot_training: no epoch has the metric {f'val_{metric}'!r}. "
            "Finish an epoch first, or name a metric that `validate` returns."
        )
    # A figure of our own, not pyplot's: no global state, no window, whatever the backend.
    figure = Figure(figsize=(9, 3.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    loss, score = figure.subplots(1, 2)
    _draw(loss, seeds, "train_loss", {})
    loss.set_title("Training loss", loc="left", fontsize=11)
    _draw(score, seeds, f"val_{metric}", best_epochs or {})
    score.set_title(f"Validation {metric.replace('_', ' ')}", loc="left", fontsize=11)
    handles, labels = score.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    replace_file(Path(path), image.getvalue())


def _draw(
    axes: Axes,
    seeds: Mapping[int, list[Mapping[str, Any]]],
    name: str,
    best_epochs: Mapping[int, int],
) -> None:
    several = len(seeds) > 1
    for number, (seed, rows) in enumerate(sorted(seeds.items())):
        epochs, values = [row["epoch"] for row in rows], [row[name] for row in rows]
        axes.plot(
            epochs,
            values,
            color=GREY if several else ACCENT,
            linewidth=0.9 if several else 1.8,
            marker="." if len(epochs) == 1 else None,
            label=("each seed" if several else f"seed {seed}") if number == 0 else None,
        )
        if seed in best_epochs:
            chosen = epochs.index(best_epochs[seed])
            axes.plot(
                epochs[chosen],
                values[chosen],
                "o",
                color=INK,
                markersize=4.5,
                zorder=3,
                label="selected epoch" if seed == min(best_epochs) else None,
            )
    if several:
        # Only the epochs all seeds reached: a mean over the survivors would jump where one stops.
        shared = min(len(rows) for rows in seeds.values())
        mean = np.mean([[row[name] for row in rows[:shared]] for rows in seeds.values()], axis=0)
        epochs = [row["epoch"] for row in next(iter(seeds.values()))[:shared]]
        axes.plot(epochs, mean, color=ACCENT, linewidth=2.0, label=f"mean of {len(seeds)} seeds")
    axes.set_xlabel("epoch", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=9, color=GREY)
    axes.grid(axis="y", color="#e6e9eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
