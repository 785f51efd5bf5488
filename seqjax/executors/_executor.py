"""The protocol of an executor: what runs a cell in time."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from jax import Array

from seqjax._padding import zeros_where_invalid
from seqjax.cells._cell import Cell


class Inputs(NamedTuple):
    """What an executor reads at each step, every leaf with time first.

    Attributes:
      xs: inputs, shape (T, *B, D).
      valid: which steps are real, booleans (T, *B), or None where all are.
      resets: before which steps the state starts again, booleans (T, *B), or None.
      starts: the first valid steps of sequences, and after resets, booleans (T, *B); None for a
        cell that does not use them.
    """

    xs: Array
    valid: Array | None
    resets: Array | None
    starts: Array | None = None

    def clean_xs(self) -> Array:
        """Returns the inputs with zeros at the steps that are not real.

        The garbage goes before the arithmetic, not after it: a NaN that is only masked out of the
        result would still poison the gradient.
        """
        return zeros_where_invalid(self.xs, self.valid)


@runtime_checkable
class Executor(Protocol):
    """Runs a cell in time. All executors give the same numbers.

    An executor is a frozen record of its own options, so that it can be compared, hashed and
    pickled. To add one, write a class with these two methods in a file of `seqjax/executors`, and
    one line in `EXECUTORS`.

    Example:
      >>> import seqjax
      >>> associative = seqjax.executors.Associative()
      >>> isinstance(associative, seqjax.executors.Executor)
      True
      >>> associative.refusal(seqjax.min_gru(4)) is None
      True
    """

    def refusal(self, cell: Cell) -> str | None:
        """Returns in a line why the executor cannot run a cell, or None where it can."""
        ...

    def run(
        self,
        cell: Cell,
        params: Any,
        inputs: Inputs,
        state: Any,
        reset_state: Any,
        *,
        reverse: bool,
        all_states: bool,
    ) -> tuple[Any, Any]:
        """Runs a cell.

        Args:
          cell: a cell that is not refused.
          params: its prepared parameters.
          inputs: inputs, masks and resets.
          state: the state before the first step, leaves (*B, ...).
          reset_state: the state that a reset puts in place.
          reverse: whether time runs from the last step to the first.
          all_states: whether all fields of the states are read; otherwise those after the first
            field may be None.

        Returns:
          The final state, and the state after every step, leaves (T, *B, ...).
        """
        ...
