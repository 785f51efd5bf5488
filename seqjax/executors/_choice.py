"""Selects the executor of a cell: the default, by short name, or the one that is given."""

from typing import Any

import jax

from seqjax.cells._associative import AssociativeCell
from seqjax.cells._cell import Cell, check_cell
from seqjax.cells._linear import LinearCell
from seqjax.cells._matrix import reads_by_query
from seqjax.executors._associative import Associative
from seqjax.executors._chunked import Chunked
from seqjax.executors._executor import Executor
from seqjax.executors._newton import Newton
from seqjax.executors._scan import Scan
from seqjax.executors._sequential import Sequential
from seqjax.executors._time_axis import time_parts

EXECUTORS: dict[str, type[Executor]] = {
    "sequential": Sequential,
    "associative": Associative,
    "chunked": Chunked,
    "newton": Newton,
    "scan": Scan,
}
"""Executors by short name. To add an executor, write one file and add one line here."""


def choose(cell: Cell) -> Executor:
    """Returns the default executor of `seqjax.unroll` for a cell.

    A `LinearCell` runs in parallel in time on an accelerator. If the ambient mesh splits time over
    devices, so does an `AssociativeCell`, everywhere. On a CPU, a cell with a matrix as memory
    (`gla`, `mlstm`) runs in chunks. Any other cell runs step by step, which is faster there.

    Args:
      cell: any cell.

    Returns:
      The executor.

    Raises:
      TypeError: if `cell` is not a cell.

    Example:
      >>> import seqjax
      >>> choose(seqjax.lstm(4))
      Sequential(chunk_size=None, truncation=None, state_gradient_clip=None, residuals='auto')
    """
    check_cell("seqjax.executors.choose", cell)
    on_cpu = jax.default_backend() == "cpu"
    if isinstance(cell, LinearCell) and not on_cpu:
        return Associative()
    if isinstance(cell, LinearCell | AssociativeCell) and time_parts() > 1:
        return Associative()
    return Chunked() if on_cpu and reads_by_query(cell) else Sequential()


def resolve(where: str, executor: Any, cell: Cell) -> Executor:
    """Returns the executor for a cell, given an executor, its short name, or None.

    Raises:
      ValueError: if the name is unknown, or the executor refuses the cell.
      TypeError: if `executor` is not an executor.
    """
    if executor is None or executor == "auto":
        return choose(cell)
    if isinstance(executor, str):
        if executor not in EXECUTORS:
            raise ValueError(
                f"{where}: unknown executor {executor!r}; the known executors are auto, "
                f"{', '.join(EXECUTORS)}."
            )
        executor = EXECUTORS[executor]()
    if isinstance(executor, type) or not isinstance(executor, Executor):
        raise TypeError(
            f"{where}: `executor` must be an executor such as seqjax.executors.Sequential(), or "
            f"its short name, got {executor!r}."
        )
    if reason := executor.refusal(cell):
        name = type(executor).__name__
        raise ValueError(f"{where}: the executor {name} cannot run {cell!r}: {reason}.")
    return executor


def needs_key(executor: Any) -> bool:
    """Returns whether an executor, or a short name, draws random numbers of its own."""
    return getattr(executor, "needs_key", False)
