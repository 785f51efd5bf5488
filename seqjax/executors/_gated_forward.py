"""The forward pass of gated cells.

For the backward pass it keeps the states and the gate inputs, the states alone, or only the states
at the boundaries of segments, depending on `Plan.residuals`.
"""

import math
from typing import Any, NamedTuple

import jax
from jax import Array

from seqjax.cells._cell import State
from seqjax.cells._gated import GatedCell, GatedParams, GateInputs
from seqjax.executors._chunks import scan_chunks
from seqjax.executors._executor import Inputs
from seqjax.executors._scan import run_scan


class Plan(NamedTuple):
    """The static options of a run.

    Attributes:
      cell: the cell.
      reverse: whether time runs from the last step to the first.
      chunk_size: steps per chunk.
      residuals: the values to keep for the backward pass: "gates", "states" or "boundaries".
      all_states: whether the results contain every field of the states or only the first.
      state_gradient_clip: bound on each element of the gradient that a step passes to the previous
        step, or None.
    """

    cell: GatedCell
    reverse: bool
    chunk_size: int
    residuals: str
    all_states: bool
    state_gradient_clip: float | None

    def segment_size(self, num_steps: int) -> int:
        """Returns the steps between two boundaries: about sqrt(T), rounded up to whole chunks."""
        return self.chunk_size * math.ceil(math.sqrt(num_steps) / self.chunk_size)


class Operands(NamedTuple):
    """The arrays with respect to which a run is differentiated.

    Attributes:
      params: parameters of the cell; the fields `initial_state` and `extra` are None.
      xs: inputs, shape (T, *B, D).
      initial_state: the state before the first step.
      reset_state: the state after a reset, or None without resets.
    """

    params: GatedParams
    xs: Array
    initial_state: State
    reset_state: State | None


class Kept(NamedTuple):
    """The values that the backward pass reads, apart from the operands.

    Attributes:
      states: the state after every step, leaves (T, *B, H), or the state before every segment.
      gates: the gate inputs of every step, or None.
    """

    states: State
    gates: GateInputs | None


class Results(NamedTuple):
    """The results of a run.

    Attributes:
      final: the final state.
      states: the state after every step, leaves (T, *B, H). Unless `Plan.all_states`, all fields
        but the first are None.
    """

    final: State
    states: State


def scan_forward(
    plan: Plan, operands: Operands, inputs: Inputs, state: State, step: Any = None
) -> tuple[State, State, Any]:
    """Runs the cell forward and returns the results of `run_scan`."""
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


def forward(plan: Plan, operands: Operands, constants: Inputs) -> Results:
    """Runs the cell; `constants` are the inputs apart from `xs`."""
    inputs = constants._replace(xs=operands.xs)
    final, states, _ = scan_forward(plan, operands, inputs, operands.initial_state)
    return _results(plan, final, states)


def forward_keeping(plan: Plan, operands: Operands, constants: Inputs) -> tuple[Results, Kept]:
    """Does the same as `forward`, and returns what the backward pass needs."""
    inputs = constants._replace(xs=operands.xs)

    def step(params: GatedParams, state: State, drive: Array) -> tuple[State, GateInputs]:
        seen = plan.cell.gate_inputs(params, state, drive)
        return plan.cell.next_state(state, seen), seen._replace(units=None)

    def segment(state: State, _: Any, inputs: Inputs):
        final, states, _ = scan_forward(plan, operands, inputs, state)
        boundary = jax.tree.map(lambda leaf: leaf[None], state)
        return final, (_results(plan, final, states).states, boundary)

    if plan.residuals != "boundaries":
        kept = step if plan.residuals == "gates" else None
        final, states, gates = scan_forward(plan, operands, inputs, operands.initial_state, kept)
        return _results(plan, final, states), Kept(states, gates)
    final, (states, boundaries) = scan_chunks(
        segment,
        operands.initial_state,
        inputs,
        chunk_size=plan.segment_size(operands.xs.shape[0]),
        reverse=plan.reverse,
        differentiated=False,
    )
    return Results(final, states), Kept(boundaries, None)


def _results(plan: Plan, final: State, states: State) -> Results:
    if not plan.all_states:
        states = type(states)(states[0], *(None for _ in states[1:]))
    return Results(final, states)
