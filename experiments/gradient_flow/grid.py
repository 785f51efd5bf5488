"""The grid: which cell with which initialisation, and which of them share a compiled program."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import seqjax
from seqjax.cells import CELLS as _CELLS
from seqjax.cells import Cell

CELLS = tuple(_CELLS)
_PATTERNS = {
    "rnn": r"radius_(\d+\.?\d*)|identity",
    "lstm": r"forget_(-?\d+\.?\d*)|chrono",
    "peephole_lstm": r"forget_(-?\d+\.?\d*)|chrono",
    "gru": "default|chrono",
    "min_gru": "default|chrono",
}
KNOWN = (
    "radius_R, identity (rnn); forget_B, chrono (lstm, peephole_lstm); default, chrono (gru, "
    "min_gru); default (any other, and your own)"
)


class Point(NamedTuple):
    """A cell with an initialisation.

    Attributes:
      cell: its name.
      init: `radius_R`, an orthogonal recurrent matrix times R; `identity`, with rectified linear
        units; `forget_B`, the bias of the forget gate; `chrono`; `default`.
    """

    cell: str
    init: str

    @property
    def label(self) -> str:
        """How files and tables call it."""
        return f"{self.cell}/{self.init}"

    @property
    def number(self) -> float:
        """The R of `radius_R`, the B of `forget_B`."""
        return float(self.init.partition("_")[2])


def applies(cell: str, init: str) -> bool:
    """Says whether a cell has an initialisation of this name.

    Example:
      >>> applies("rnn", "radius_1.5"), applies("lstm", "radius_1.5"), applies("gru", "radius_")
      (True, False, False)
    """
    return re.fullmatch(_PATTERNS.get(cell, "default"), init) is not None


def make_grid(cells: Sequence[str], inits: Sequence[str]) -> list[Point]:
    """Returns every cell with every initialisation that it has.

    Example:
      >>> [point.label for point in make_grid(["gru", "lstm"], ["forget_1", "chrono"])]
      ['gru/chrono', 'lstm/forget_1', 'lstm/chrono']
    """
    return [Point(cell, init) for cell in cells for init in inits if applies(cell, init)]


def build_cell(point: Point, hidden_size: int, max_timescale: float) -> Cell:
    """Makes the cell of a point.

    Args:
      point: what to make.
      hidden_size: hidden units.
      max_timescale: longest dependency, for chrono; raised to what it needs.

    Returns:
      The cell.
    """
    options: dict[str, Any] = {}
    if point.init.startswith("radius_"):
        options["recurrent_init"] = jax.nn.initializers.orthogonal(scale=point.number)
    elif point.init == "identity":
        options["activation"] = "relu"
        options["recurrent_init"] = lambda key, shape, dtype: jnp.eye(*shape, dtype=dtype)
    elif point.init.startswith("forget_"):
        options["forget_bias"] = point.number
    elif point.init == "chrono":
        options["max_timescale"] = max(max_timescale, 3.0)
    return seqjax.make_cell(point.cell, hidden_size, **options)


def shared_programs(points: Sequence[Point]) -> list[list[Point]]:
    """Groups points whose steps are the same function of their parameters.

    They differ in how they start, so that one compiled program serves them all.

    Example:
      >>> points = make_grid(["rnn"], ["radius_1", "identity", "radius_2"])
      >>> [[point.init for point in group] for group in shared_programs(points)]
      [['radius_1', 'radius_2'], ['identity']]
    """
    groups: dict[tuple[str, bool], list[Point]] = {}
    for point in points:
        groups.setdefault((point.cell, point.init == "identity"), []).append(point)
    return list(groups.values())
