"""The figure every run leaves: its loss and its validation metric against the steps."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from seqjax._figures import ACCENT, GREY, INK, canvas, png, style
from seqjax.train._files import replace_file

VALIDATION = (ACCENT, "#d55e00", "#009e73")  # Okabe and Ito (2008): distinct for all


def plot_training(
    rows: Iterable[Mapping[str, Any]],
    path: str | Path,
    *,
    metric: str = "accuracy",
    curves: Mapping[str, str] | None = None,
    best_epochs: Mapping[int, int] | None = None,
    title: str = "",
) -> None:
    """Draws the training loss and a metric in training and validation, a thin line a seed.

    Args:
      rows: from `RunFolder.metrics`.
      path: PNG to write.
      metric: metric to draw, without its `train_` or `val_`.
      curves: validation metrics to draw, and what the legend calls them, if they are others than
        `metric`; selected epochs are marked on the first.
      best_epochs: seed to the epoch its parameters were chosen from, to be marked.
      title: says what was trained on what.

    Raises:
      ValueError: if no epoch has such a metric.
    """
    rows = list(rows)
    named = curves or {metric: "validation"}
    validations = {name: _curves(rows, "epoch", f"val_{name}") for name in named}
    for name, found in validations.items():
        if not found:
            raise ValueError(
                f"seqjax.train.plot_training: no epoch has the metric {f'val_{name}'!r}. "
                "Finish an epoch first, or name a metric that `validate` returns."
            )
    epochs = next(iter(validations.values()))
    figure = canvas(9, 3.6)
    loss, score = figure.subplots(1, 2)
    for kind in ("step", "epoch"):
        if losses := _curves(rows, kind, "train_loss"):
            _draw(loss, losses, ACCENT, "training")
            break
    _draw(score, _curves(rows, "step", f"train_{metric}"), GREY, "training")
    for color, (name, found) in zip(VALIDATION, validations.items(), strict=False):
        _draw(score, found, color, named[name], marker="o")
    for seed, epoch in (best_epochs or {}).items():
        score.plot(
            *next(point for point in epochs[seed] if round(point[0]) == epoch),
            marker="o",
            color=INK,
            markersize=5,
            zorder=4,
            linestyle="none",
            label="selected epoch" if seed == min(best_epochs or {}) else None,
        )
    score.legend(frameon=False, fontsize=9)
    titles = "Training loss", metric.replace("_", " ").capitalize()
    for axes, name in zip((loss, score), titles, strict=True):
        style(axes, name, "epoch", "")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(left=0)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    replace_file(Path(path), png(figure))


def _curves(rows: list[Mapping[str, Any]], kind: str, name: str) -> dict[int, list[tuple]]:
    """Returns, for each seed, points (epochs trained, value) from its rows of a kind."""
    steps_an_epoch = {
        row["seed"]: row["step"] / row["epoch"] for row in rows if row.get("kind") == "epoch"
    }
    curves: dict[int, list[tuple]] = {}
    for row in rows:
        if row.get("kind") != kind or row.get(name) is None:
            continue
        seed = row["seed"]
        if seed in steps_an_epoch:
            curves.setdefault(seed, []).append((row["step"] / steps_an_epoch[seed], row[name]))
    return curves


def _draw(
    axes: Axes, curves: Mapping[int, list[tuple]], color: str, label: str, marker: str | None = None
) -> None:
    """Draws each seed's curve, thin if there are several, and then their mean."""
    several = len(curves) > 1
    for number, points in enumerate(curves.values()):
        axes.plot(
            *zip(*points, strict=True),
            color=color,
            alpha=0.45 if several else 1,
            linewidth=0.9 if several else 1.8,
            marker=marker or ("." if len(points) == 1 else None),
            markersize=4,
            label=label if number == 0 and not several else None,
        )
    if several:
        # Only as far as all seeds went: a mean over the survivors would jump where one stops.
        shared = min(len(points) for points in curves.values())
        mean = np.mean([points[:shared] for points in curves.values()], axis=0)
        label = f"{label}, mean of {len(curves)} seeds"
        axes.plot(mean[:, 0], mean[:, 1], color=color, linewidth=2.0, label=label)
