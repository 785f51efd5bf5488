"""How every class of a run fared: precision, recall, F1, and what was taken for what."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from seqjax import train
from seqjax.train._files import replace_file, to_json

_COLUMNS = ("precision", "recall", "f1", "support")


def confusion(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts what was taken for what.

    Args:
      truth: classes, integers of any shape.
      predicted: likewise.
      num_classes: how many there are.

    Returns:
      Integers (num_classes, num_classes): row the truth, column the prediction.

    Example:
      >>> confusion(np.array([0, 1, 1]), np.array([0, 1, 0]), 2).tolist()
      [[1, 0], [1, 1]]
    """
    pairs = np.ravel(truth) * num_classes + np.ravel(predicted)
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def scores(counts: np.ndarray, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Returns precision, recall, F1 and support of every class, 0 where nothing can be divided.

    Args:
      counts: from `confusion`.
      names: of the classes.

    Returns:
      Name to its four numbers; last, under "macro", the means over the classes with support.

    Example:
      >>> found = scores(np.array([[1, 0], [1, 1]]), ["a", "b"])
      >>> found["a"]
      {'precision': 0.5, 'recall': 1.0, 'f1': 0.6666666666666666, 'support': 1}
    """
    found = {}
    for index, name in enumerate(names):
        right = int(counts[index, index])
        predicted, support = int(counts[:, index].sum()), int(counts[index].sum())
        found[name] = {
            "precision": right / max(predicted, 1),
            "recall": right / max(support, 1),
            "f1": 2 * right / max(predicted + support, 1),
            "support": support,
        }
    real = [row for row in found.values() if row["support"]]
    means = {name: float(np.mean([row[name] for row in real])) for name in _COLUMNS[:-1]}
    return {**found, "macro": {**means, "support": int(counts.sum())}}


def write_report(
    folder: train.RunFolder, counts: np.ndarray, names: Sequence[str], *, seeds: int
) -> str:
    """Leaves `report.md`, `report.json` and `figures/confusion.png` in a run folder.

    Args:
      folder: the run folder.
      counts: from `confusion`, summed over the seeds.
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
    header = ("class", *_COLUMNS)
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        numbers = (f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        return f"| {row[0]:<{widths[0]}} | {' | '.join(numbers)} |"

    rule = f"|{'-' * (widths[0] + 2)}|" + "|".join("-" * (w + 1) + ":" for w in widths[1:]) + "|"
    table = "\n".join([line(header), rule, *map(line, rows)])
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
    confusion_figure(counts, names).savefig(image, format="png")
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


def confusion_figure(counts: np.ndarray, names: Sequence[str]) -> Figure:
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
    axes.set_title("Per cent of each true class", loc="left", fontsize=10)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, shrink=0.7)
    return figure
