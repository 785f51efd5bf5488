"""Gated cells in time with a backward pass of our own, which forward mode and `vmap` leave whole.

The forward pass keeps the states (and the gates' inputs where there is room, or of the states only
those at the boundaries of segments where there is little); `gated_backward.py` reads them.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import Array

from seqjax._unroll.gated_backward import backward
from seqjax._unroll.gated_plan import Operands, Plan, Residuals, Results, scan_forward
from seqjax._unroll.padding import known
from seqjax._unroll.sequential import Inputs, scan_chunks
from seqjax._unroll.transposable import linear_map
from seqjax.cells._base import GatedParams, GateInputs, State

# Where a further batch axis may stand in each operand; parameters are shared by the batch.
_BATCH_AXES = Operands._make((-1, 1, 0, 0))


def gates_fit(xs: Array, params: GatedParams) -> bool:
    """Returns whether what the gates see at every step takes no more than 64 MiB."""
    if not known(*xs.shape):
        return False
    columns = sum(leaf.size for leaf in (params.bias, params.recurrent_bias) if leaf is not None)
    wide = jnp.promote_types(xs.dtype, jnp.float32)
    return math.prod(xs.shape[:-1]) * columns * wide.itemsize <= 2**26


def run_gated(plan: Plan, operands: Operands, valid: Array | None, resets: Array | None) -> Results:
    """Runs a gated cell in time.

    Forward mode, second derivatives and `vmap` work as for the plain scan, whose tangents these
    are; only their transpose, which is what reverse mode asks for, is ours.

    Args:
      plan: cell, direction, chunks.
      operands: what can be differentiated by.
      valid: which steps are real, booleans (T, *B), or None.
      resets: before which steps the state starts anew, booleans (T, *B), or None.

    Returns:
      Final state and states.
    """

    @jax.custom_jvp
    def run(operands: Operands, valid: Array | None, resets: Array | None) -> Results:
        return _forward(plan, operands, valid, resets)

    @run.defjvp
    def _(primals, tangents):
        operands, valid, resets = primals
        results, states, gates = _forward_keeping(plan, operands, valid, resets)
        of_results = linear_map(
            functools.partial(_push, plan),
            functools.partial(backward, plan),
            Residuals(operands, valid, resets, states, gates),
            tangents[0],
            batch_axes=(
                Residuals._make((_BATCH_AXES, 1, 1, 1, 1)),
                _BATCH_AXES,
                Results._make((0, 1)),
            ),
        )
        return results, of_results

    return run(operands, valid, resets)


def _push(plan: Plan, residuals: Residuals, of_operands: Operands) -> Results:
    """Returns the tangents of the results, given those of the operands."""

    def results(operands: Operands) -> Results:
        return _forward(plan, operands, residuals.valid, residuals.resets)

    return jax.jvp(results, (residuals.operands,), (of_operands,))[1]


def _forward(plan: Plan, operands: Operands, valid: Array | None, resets: Array | None) -> Results:
    inputs = Inputs(operands.xs, valid, resets)
    final, states, _ = scan_forward(plan, operands, inputs, operands.initial_state)
    return _results(plan, final, states)


def _forward_keeping(
    plan: Plan, operands: Operands, valid: Array | None, resets: Array | None
) -> tuple[Results, State, GateInputs | None]:
    """Returns the results, and what the backward pass reads: states, and the gates' inputs."""
    inputs = Inputs(operands.xs, valid, resets)

    def step(params, state, drive):
        inputs = plan.cell.gate_inputs(params, state, drive)
        return plan.cell.next_state(state, inputs), inputs

    def segment(state, _, inputs: Inputs):
        final, states, _ = scan_forward(plan, operands, inputs, state)
        boundary = jax.tree.map(lambda leaf: leaf[None], state)
        return final, (_results(plan, final, states).states, boundary)

    if plan.residuals != "boundaries":
        kept = step if plan.residuals == "gates" else None
        final, states, gates = scan_forward(plan, operands, inputs, operands.initial_state, kept)
        return _results(plan, final, states), states, gates
    final, (states, boundaries) = scan_chunks(
        segment,
        operands.initial_state,
        inputs,
        chunk_size=plan.segment_size(operands.xs.shape[0]),
        reverse=plan.reverse,
        differentiated=False,
    )
    return Results(final, states), boundaries, None


def _results(plan: Plan, final: State, states: State) -> Results:
    if not plan.all_states:
        states = type(states)(states[0], *(None for _ in states[1:]))
    return Results(final, states)
