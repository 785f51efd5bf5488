"""What the decoder looked at, as a picture."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from seqjax.train._files import replace_file


def plot_attention(
    path: Path,
    examples: Sequence[tuple[np.ndarray, Sequence[str], Sequence[str]]],
    *,
    title: str,
) -> None:
    """Draws the weights of the attention, a panel an example.

    Args:
      path: PNG to write.
      examples: weights (T, S), pieces of the target (T) and of the source (S).
      title: of the figure.
    """
    columns = min(2, len(examples))
    rows = -(-len(examples) // columns)
    figure = Figure(figsize=(5.6 * columns, 4.6 * rows), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in panels[len(examples) :]:
        axis.set_visible(False)
    for axis, (weights, target, source) in zip(panels, examples, strict=False):
        axis.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axis.set_xticks(range(len(source)), source, rotation=60, ha="right", fontsize=8)
        axis.set_yticks(range(len(target)), target, fontsize=8)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    figure.suptitle(f"{title}: what the decoder looked at", x=0.01, ha="left", fontsize=11)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    replace_file(path, image.getvalue())
