"""What running a gated cell in time takes and gives, and the forward pass both passes share."""

import math
from typing import Any, NamedTuple

from jax import Array

from seqjax._unroll.sequential import Inputs, run_scan
from seqjax.cells._base import GatedCell, GatedParams, GateInputs, State


class Plan(NamedTuple):
    """What is fixed before the numbers are known.

    Attributes:
      cell: the cell.
      reverse: whether time runs from the last step to the first.
      chunk_size: steps taken together.
      residuals: what is kept for the backward pass: "gates", "states" or "boundaries".
      all_states: whether every field of the states is a result, or only the hidden state.
      state_gradient_clip: bound on what a step hands back to the step before, or None.
    """

    cell: GatedCell
    reverse: bool
    chunk_size: int
    residuals: str
    all_states: bool
    state_gradient_clip: float | None

    def segment_size(self, num_steps: int) -> int:
        """Steps between two boundaries: about the root of all steps, in whole chunks."""
        return self.chunk_size * math.ceil(math.sqrt(num_steps) / self.chunk_size)


class Operands(NamedTuple):
    """What an unroll is differentiated by.

    Attributes:
      params: parameters of the cell, without those of the initial state.
      xs: inputs, shape (T, *B, D).
      initial_state: the state before the first step.
      reset_state: the state that a reset puts in place, or None without resets.
    """

    params: GatedParams
    xs: Array
    initial_state: State
    reset_state: State | None


class Results(NamedTuple):
    """What an unroll gives.

    Attributes:
      final: the final state.
      states: the state after every step, leaves (T, *B, H); None for a field not asked for.
    """

    final: State
    states: State


class Residuals(NamedTuple):
    """What the backward pass reads.

    Attributes:
      operands: what the unroll was called with.
      valid: which steps are real, or None.
      resets: before which steps the state starts anew, or None.
      states: the state after every step, leaves (T, *B, H), or before every segment.
      gates: what the gates saw at every step, or None.
    """

    operands: Operands
    valid: Array | None
    resets: Array | None
    states: State
    gates: GateInputs | None


def scan_forward(
    plan: Plan, operands: Operands, inputs: Inputs, state: State, step=None
) -> tuple[State, State, Any]:
    """Runs the cell forward; see `run_scan`, whose results these are."""
    return run_scan(
        plan.cell,
        operands.params,
        inputs,
        state,
        operands.reset_state,
        reverse=plan.reverse,
        chunk_size=plan.chunk_size,
        step=step,
        differentiated=False,
    )
