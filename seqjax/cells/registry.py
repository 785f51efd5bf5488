"""Cells by name, for flags and configuration files."""

from seqjax.cells.base import Cell
from seqjax.cells.elman import elman
from seqjax.cells.gru import gru
from seqjax.cells.lstm import lstm
from seqjax.cells.min_gru import min_gru

CELLS = {"rnn": elman, "lstm": lstm, "gru": gru, "min_gru": min_gru}
"""Constructors of the cells by name."""


def make_cell(name: str, hidden_size: int, **options) -> Cell:
    """Makes a cell by its name.

    Args:
      name: a key of `CELLS`.
      hidden_size: hidden units.
      **options: keyword arguments of the cell's constructor.

    Returns:
      The cell.

    Raises:
      ValueError: if the name is unknown; the message lists the known ones.

    Example:
      >>> make_cell("lstm", 8)
      lstm(8)
    """
    if name not in CELLS:
        raise ValueError(f"seqjax: unknown cell {name!r}; the known cells are {', '.join(CELLS)}.")
    return CELLS[name](hidden_size, **options)
