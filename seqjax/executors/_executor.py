"""The protocol of an executor, which runs a cell in time."""

import dataclasses
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array

from seqjax._padding import zeros_unless
from seqjax.cells._cell import Cell, project


class Inputs(NamedTuple):
    """The inputs of an executor; time is the first axis of every leaf.

    Attributes:
      xs: inputs, shape (T, *B, D).
      valid: which steps are valid, booleans (T, *B), or None if all are.
      resets: True where the state is reset before the step, booleans (T, *B), or None.
      starts: True at the first valid step of a sequence and at the first valid step after a reset,
        booleans (T, *B), or None if the cell does not use starts.
      noise: the noise of every step, leaves (T, *B, ...), or None.
      key: random key, not of every step, for an executor that draws numbers itself, or None.
    """

    xs: Array
    valid: Array | None
    resets: Array | None
    starts: Array | None = None
    noise: Any = None
    key: Array | None = None

    def clean_xs(self) -> Array:
        """Returns the inputs with zeros at the invalid steps.

        Padding must be zeroed before the arithmetic: a NaN that is masked only in the result would
        still reach the gradient.
        """
        return zeros_unless(self.valid, self.xs)

    def drives(self, cell: Cell, params: Any) -> Any:
        """Returns the drive of every step, leaves (T, ...)."""
        drives = project(cell, params, self.clean_xs(), self.starts, self.noise)
        # A coefficient that is constant in time may have a time axis of size 1.
        steps = self.xs.shape[:1]
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, steps + leaf.shape[1:]), drives)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Run:
    """What an executor is to run: a pytree of arrays, with static options.

    Attributes:
      cell: a cell that `Executor.refusal` accepts.
      params: the prepared parameters.
      inputs: inputs, masks and resets, of one step or more.
      state: the state before the first step, leaves (*B, ...).
      reset_state: the state after a reset, leaves (*B, ...).
      reverse: whether time runs from the last step to the first.
      all_states: whether the caller needs all fields of the states. If not, every field but the
        first may be None.
    """

    cell: Cell = dataclasses.field(metadata={"static": True})
    params: Any
    inputs: Inputs
    state: Any
    reset_state: Any
    reverse: bool = dataclasses.field(default=False, metadata={"static": True})
    all_states: bool = dataclasses.field(default=True, metadata={"static": True})


@runtime_checkable
class Executor(Protocol):
    """Runs a cell in time. All executors give the same results, up to rounding.

    Write an executor as a frozen dataclass of its options, so that it can be compared, hashed and
    pickled. To add one, write a class with these two methods in a file of `seqjax/executors` and
    add one line to `EXECUTORS`.

    Example:
      >>> import seqjax
      >>> associative = seqjax.executors.Associative()
      >>> isinstance(associative, seqjax.executors.Executor)
      True
      >>> associative.refusal(seqjax.min_gru(4)) is None
      True
    """

    def refusal(self, cell: Cell) -> str | None:
        """Returns the reason why the executor cannot run a cell, one line, or None if it can."""
        ...

    def run(self, run: Run) -> tuple[Any, Any]:
        """Runs a cell.

        Args:
          run: the cell, its parameters and inputs, and the options of the run.

        Returns:
          The final state, and the state after every step, leaves (T, *B, ...).
        """
        ...
