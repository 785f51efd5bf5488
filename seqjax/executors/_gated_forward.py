"""The forward pass of gated cells.

For the backward pass it keeps the states and the gate inputs, the states alone, or only the states
at the boundaries of segments, depending on `Plan.residuals`.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
from jax import Array

from seqjax.cells._cell import State
from seqjax.cells._gated import GatedParams, GateInputs
from seqjax.executors._chunks import scan_in_place
from seqjax.executors._executor import Inputs, Run
from seqjax.executors._own_backward import Results
from seqjax.executors._scan import run_scan


class Plan(NamedTuple):
    """The static options of a run of a gated cell.

    Attributes:
      chunk_size: steps per chunk.
      residuals: the values to keep for the backward pass: "gates", "states" or "boundaries".
      state_gradient_clip: bound on each element of the gradient that a step passes to the previous
        step, or None.
    """

    chunk_size: int
    residuals: str = "states"
    state_gradient_clip: float | None = None

    def segment_size(self, num_steps: int) -> int:
        """Returns the steps between two boundaries: about sqrt(T), rounded up to whole chunks."""
        return self.chunk_size * math.ceil(math.sqrt(num_steps) / self.chunk_size)


class Kept(NamedTuple):
    """The values that the backward pass reads, apart from the run.

    Attributes:
      states: the state after every step, leaves (T, *B, H), or the state before every segment.
      gates: the gate inputs of every step, or None.
    """

    states: State
    gates: GateInputs | None


def without_start(run: Run) -> Run:
    """Returns the run without the parameters that no step of a gated cell reads."""
    bare = run.params._replace(initial_state=None, extra=None)
    return dataclasses.replace(run, params=bare)


def scan_forward(plan: Plan, run: Run, step: Any = None) -> tuple[State, State, Any]:
    """Runs the cell forward and returns the results of `run_scan`."""
    return run_scan(run, plan.chunk_size, step=step, differentiated=False)


def forward(plan: Plan, run: Run) -> Results:
    """Runs the cell."""
    final, states, _ = scan_forward(plan, run)
    return _results(run, final, states)


def forward_keeping(plan: Plan, run: Run) -> tuple[Results, Kept]:
    """Does the same as `forward`, and returns what the backward pass needs."""
    cell: Any = run.cell

    def step(params: GatedParams, state: State, drive: Array) -> tuple[State, GateInputs]:
        seen = cell.gate_inputs(params, state, drive)
        return cell.next_state(state, seen), seen._replace(units=None)

    def segment(state: State, _: Any, inputs: Inputs):
        final, states, _ = scan_forward(plan, dataclasses.replace(run, inputs=inputs, state=state))
        boundary = jax.tree.map(lambda leaf: leaf[None], state)
        return final, (_results(run, final, states).states, boundary)

    if plan.residuals != "boundaries":
        kept = step if plan.residuals == "gates" else None
        final, states, gates = scan_forward(plan, run, kept)
        return _results(run, final, states), Kept(states, gates)
    size = plan.segment_size(run.inputs.xs.shape[0])
    final, (states, boundaries) = scan_in_place(
        segment, run.state, run.inputs, chunk_size=size, reverse=run.reverse
    )
    return Results(final, states), Kept(boundaries, None)


def _results(run: Run, final: State, states: State) -> Results:
    if not run.all_states:
        states = type(states)(states[0], *(None for _ in states[1:]))
    return Results(final, states)
