"""How every class of a run fared: precision, recall, F1, and what was taken for what."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import tabulate
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from seqjax import train
from seqjax.train._files import replace_file, to_json

_COLUMNS = ("precision", "recall", "f1", "support")


def scores(counts: np.ndarray, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Returns precision, recall, F1 and support of every class, 0 where nothing can be divided.

    Args:
      counts: what was taken for what: row the truth, column the prediction.
      names: of the classes.

    Returns:
      Name to its four numbers; last, under "macro", the means over the classes with support.

    Example:
      >>> found = scores(np.array([[1, 0], [1, 1]]), ["a", "b"])
      >>> found["a"]
      {'precision': 0.5, 'recall': 1.0, 'f1': 0.6666666666666666, 'support': 1}
    """
    from sklearn import metrics

    truth, predicted = np.indices(counts.shape).reshape(2, -1)
    options: dict[str, Any] = {"sample_weight": counts.ravel(), "zero_division": 0}
    each: Any = metrics.precision_recall_fscore_support(truth, predicted, **options)
    rows = np.stack(each, axis=1).tolist()
    means = np.mean([row[:-1] for row in rows if row[-1]], axis=0).tolist()
    rows.append([*means, counts.sum()])
    return {
        name: {**dict(zip(_COLUMNS, row, strict=True)), "support": int(row[-1])}
        for name, row in zip([*names, "macro"], rows, strict=True)
    }


def write_report(
    folder: train.RunFolder, title: str, counts: np.ndarray, names: Sequence[str], *, seeds: int
) -> str:
    """Leaves `report.md`, `report.json` and `figures/confusion.png` in a run folder.

    Args:
      folder: the run folder.
      title: of the figure.
      counts: what was taken for what, summed over the seeds.
      names: of the classes.
      seeds: how many the sum is over; the support is that of one.

    Returns:
      The table as text.
    """
    found = scores(counts, names)
    for row in found.values():
        row["support"] //= seeds
    rows = [
        (name, *(f"{row[column]:.4f}" for column in _COLUMNS[:-1]), f"{row['support']:,}")
        for name, row in found.items()
    ]
    table = tabulate.tabulate(
        rows,
        ("class", *_COLUMNS),
        tablefmt="pipe",
        disable_numparse=True,
        colalign=("left", *("right" for _ in _COLUMNS)),
    )
    over = "one seed" if seeds == 1 else f"{seeds} seeds together"
    confused = "\n".join(f"- {text}" for text in most_confused(counts, names, seeds))
    replace_file(
        folder.path / "report.md",
        f"# Every class of the test part, {over}\n\n{table}\n\n## Most often confused\n\n"
        f"{confused or 'Nothing.'}\n",
    )
    content = {"classes": found, "names": list(names), "confusion": counts, "seeds": seeds}
    replace_file(folder.path / "report.json", to_json(content, indent=1) + "\n")
    image = io.BytesIO()
    confusion_figure(counts, names, title).savefig(image, format="png")
    replace_file(folder.figures / "confusion.png", image.getvalue())
    return f"\n{table}"


def most_confused(
    counts: np.ndarray, names: Sequence[str], seeds: int, number: int = 8
) -> list[str]:
    """Returns the pairs that were most often confused, in words.

    Example:
      >>> most_confused(np.array([[5, 0], [3, 9]]), ["a", "b"], 1)
      ['b taken for a: 3 of 12']
    """
    wrong = np.where(np.eye(len(names), dtype=bool), 0, counts)
    order = np.argsort(-wrong, axis=None, kind="stable")[:number]
    pairs = [divmod(int(index), len(names)) for index in order]
    return [
        f"{names[i]} taken for {names[j]}: {wrong[i, j] / seeds:.3g} of {counts[i].sum() / seeds:g}"
        for i, j in pairs
        if wrong[i, j]
    ]


def confusion_figure(counts: np.ndarray, names: Sequence[str], title: str) -> Figure:
    """Draws what was taken for what, in parts of each true class."""
    part = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 2.2 + 0.36 * len(names)
    figure = Figure(figsize=(size + 0.6, size), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    image = axes.imshow(part, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.argwhere(part >= 0.005).tolist():
        color = "white" if part[i, j] > 0.5 else "#222222"
        axes.text(
            j, i, f"{100 * part[i, j]:.0f}", ha="center", va="center", fontsize=7, color=color
        )
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("predicted", fontsize=9)
    axes.set_ylabel("truth", fontsize=9)
    axes.set_title(f"{title}\nper cent of each true class", loc="left", fontsize=9)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, shrink=0.7)
    return figure
