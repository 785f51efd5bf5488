"""Which executor runs a cell: chosen by default, by a short name, or given."""

from typing import Any

import jax

from seqjax.cells._cell import Cell
from seqjax.cells._linear import LinearCell
from seqjax.executors._associative import Associative
from seqjax.executors._executor import Executor
from seqjax.executors._scan import Scan
from seqjax.executors._sequential import Sequential

EXECUTORS: dict[str, type[Executor]] = {
    "sequential": Sequential,
    "associative": Associative,
    "scan": Scan,
}
"""Executors by their short names. A new executor is one file and one line here."""


def choose(cell: Cell) -> Executor:
    """Returns the executor that `seqjax.unroll` takes where none is given.

    A `LinearCell` on an accelerator runs in parallel in time. Everything else runs one step after
    the other, which is faster for linear cells on a CPU, too.

    Args:
      cell: any cell.

    Returns:
      The executor.

    Example:
      >>> import seqjax
      >>> choose(seqjax.lstm(4))
      Sequential(chunk_size=None, truncation=None, state_gradient_clip=None, residuals='auto')
    """
    if isinstance(cell, LinearCell) and jax.default_backend() != "cpu":
        return Associative()
    return Sequential()


def resolve(where: str, executor: Any, cell: Cell) -> Executor:
    """Returns the executor for a cell from an executor, its short name, or None.

    Raises:
      ValueError: if the name is unknown, or the executor refuses the cell.
      TypeError: if it is no executor.
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
