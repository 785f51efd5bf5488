"""Gated cells in time with a backward pass of our own, derived from the pointwise `update` alone.

Differentiating a scan step by step keeps every intermediate of every step, and adds to the weight
gradients at every step. Here the forward pass keeps the states (and the gates' inputs where there
is room, or of the states only those at the boundaries of segments where there is little), and the
backward pass goes through the chunks once more:

1. what the gates saw, for all steps of a chunk by one product (or read back);
2. the derivatives of `update`, for all steps of a chunk at once;
3. the chain of state cotangents, step after step: nothing but one product and pointwise sums;
4. the gradients of weights and input, one product each per chunk.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqjax.cells.base import GatedCell, GatedParams, GateInputs, State, affine
from seqjax.unroll.clipping import clipped
from seqjax.unroll.padding import select
from seqjax.unroll.parts import batch_parts, in_parts
from seqjax.unroll.sequential import Inputs, run_scan, scan_chunks, without_garbage
from seqjax.unroll.transposable import linear_map

INLINED = 8  # steps of the forward pass in one pass of its loop, at most


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


# Where a further batch axis may stand in each operand; parameters are shared by the batch.
_BATCH_AXES = Operands._make((-1, 1, 0, 0))


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


def gates_fit(xs: Array, params: GatedParams) -> bool:
    """Returns whether what the gates see at every step takes no more than 64 MiB."""
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
            functools.partial(_backward, plan),
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
    final, states, _ = _scan(plan, operands, inputs, operands.initial_state)
    return _results(plan, final, states)


def _forward_keeping(
    plan: Plan, operands: Operands, valid: Array | None, resets: Array | None
) -> tuple[Results, State, GateInputs | None]:
    """Returns the results, and what the backward pass reads: states, and the gates' inputs."""
    inputs = Inputs(operands.xs, valid, resets)

    def step(params, state, drive):
        inputs = plan.cell.gate_inputs(params, state[0], drive)
        return plan.cell.next_state(state, inputs), inputs

    def segment(state, _, inputs: Inputs):
        final, states, _ = _scan(plan, operands, inputs, state)
        boundary = jax.tree.map(lambda leaf: leaf[None], state)
        return final, (_results(plan, final, states).states, boundary)

    if plan.residuals != "boundaries":
        kept = step if plan.residuals == "gates" else None
        final, states, gates = _scan(plan, operands, inputs, operands.initial_state, kept)
        return _results(plan, final, states), states, gates
    final, (states, boundaries) = scan_chunks(
        segment,
        operands.initial_state,
        inputs,
        chunk_size=plan.segment_size(operands.xs.shape[0]),
        reverse=plan.reverse,
    )
    return Results(final, states), boundaries, None


def _scan(plan: Plan, operands: Operands, inputs: Inputs, state: State, step=None):
    # XLA on CPU does not vectorise a pointwise function of slices that move with the step. With the
    # steps of a chunk inlined they stand still, which took a third off the forward pass. The loop
    # of the backward pass multiplies and adds only, and inlined it makes its inputs again.
    return run_scan(
        plan.cell,
        operands.params,
        inputs,
        state,
        operands.reset_state,
        reverse=plan.reverse,
        chunk_size=plan.chunk_size,
        step=step,
        inlined=min(plan.chunk_size, INLINED),
    )


def _results(plan: Plan, final: State, states: State) -> Results:
    if not plan.all_states:
        states = type(states)(states[0], *(None for _ in states[1:]))
    return Results(final, states)


def _backward(plan: Plan, residuals: Residuals, of_results: Results) -> Operands:
    """Returns the cotangents of the operands, given those of the results."""
    operands, valid, resets, states, gates = residuals
    parts = batch_parts(operands.xs.shape[1:-1])
    wide = jax.tree.map(
        lambda leaf: jnp.zeros((parts, *leaf.shape), jnp.promote_types(leaf.dtype, jnp.float32)),
        operands.params,
    )
    zero_state = jax.tree.map(jnp.zeros_like, operands.reset_state)
    carry = of_results.final, wide, zero_state
    inputs = Inputs(operands.xs, valid, resets)
    if plan.residuals == "boundaries":
        size = plan.segment_size(operands.xs.shape[0])

        def segment(carry, start, chunk):
            inputs, of_states = chunk
            state = jax.tree.map(
                lambda leaf: lax.dynamic_index_in_dim(leaf, start // size, keepdims=False), states
            )
            _, again, _ = _scan(plan, operands, inputs, state)
            here = operands._replace(xs=inputs.xs, initial_state=state)
            return _backward_chunks(plan, here, inputs, again, None, of_states, carry)

        carry, of_xs = scan_chunks(
            segment,
            carry,
            (inputs, of_results.states),
            chunk_size=size,
            reverse=not plan.reverse,
        )
    else:
        carry, of_xs = _backward_chunks(
            plan, operands, inputs, states, gates, of_results.states, carry
        )
    of_state, of_params, of_reset_state = carry
    of_params = jax.tree.map(
        lambda parts, leaf: parts.sum(axis=0).astype(leaf.dtype), of_params, operands.params
    )
    return Operands(of_params, of_xs, of_state, of_reset_state)


def _backward_chunks(
    plan: Plan,
    operands: Operands,
    inputs: Inputs,
    states: State,
    gates: GateInputs | None,
    of_states: State,
    carry: tuple[State, GatedParams, State | None],
) -> tuple[Any, Array]:
    """Goes back through the chunks.

    Args:
      plan: cell, direction, chunks.
      operands: what the forward pass was called with.
      inputs: its inputs.
      states: the state after every step.
      gates: what the gates saw at every step, or None.
      of_states: cotangents of the states.
      carry: cotangents of the final state, and so far of the parameters, (parts, ...), and of the
        reset state.

    Returns:
      The carry, now with the cotangent of the initial state, and the cotangent of the inputs.
    """
    cell, params = plan.cell, operands.params
    num_steps = inputs.xs.shape[0]
    # Transposed once: inside the loop it would be done at every step.
    input_kernel, recurrent_kernel = params.input_kernel.T, params.recurrent_kernel.T

    def before(start, chunk_states: State) -> State:
        """The state before each step of a chunk."""
        size = jax.tree.leaves(chunk_states)[0].shape[0]
        outside, first = (start + size, num_steps) if plan.reverse else (start - 1, -1)

        def shifted(initial, whole, chunk):
            index = jnp.clip(outside, 0, num_steps - 1)
            edge = lax.dynamic_index_in_dim(whole, index, keepdims=True)
            edge = jnp.where(outside == first, initial[None], edge)
            parts = (chunk[1:], edge) if plan.reverse else (edge, chunk[:-1])
            return jnp.concatenate(parts)

        return jax.tree.map(shifted, operands.initial_state, states, chunk_states)

    def chunk_backward(carry, start, chunk):
        of_state, of_params, of_reset_state = carry
        inputs, chunk_states, chunk_gates, of_states = chunk
        xs, previous = without_garbage(inputs), before(start, chunk_states)
        if inputs.resets is not None:
            previous = jax.tree.map(
                lambda new, old: select(inputs.resets, jnp.broadcast_to(new[None], old.shape), old),
                operands.reset_state,
                previous,
            )
        if chunk_gates is None:
            chunk_gates = cell.gate_inputs(params, previous[0], cell.project(params, xs))
        pulls = _pulls(cell, previous, chunk_gates)

        def step(carry, at_step):
            of_state, of_reset_state = carry
            pull, of_output, valid, reset = at_step
            of_state = _add_known(of_state, of_output)
            of_new = of_state
            if valid is not None:
                of_new = jax.tree.map(lambda leaf: _where(valid, leaf), of_new)
            of_previous, of_gates = pull(of_new)
            of_gates = lax.optimization_barrier(of_gates)
            of_hidden = affine(_recurrent(of_gates), recurrent_kernel)
            of_previous = of_previous._replace(
                **{of_previous._fields[0]: of_previous[0] + of_hidden.astype(of_previous[0].dtype)}
            )
            if valid is not None:
                of_previous = jax.tree.map(
                    lambda leaf, kept: leaf + _where(~valid, kept), of_previous, of_state
                )
            if reset is not None:
                of_reset_state = jax.tree.map(
                    lambda total, leaf: total + _where(reset, leaf), of_reset_state, of_previous
                )
                of_previous = jax.tree.map(lambda leaf: _where(~reset, leaf), of_previous)
            of_previous = clipped(of_previous, plan.state_gradient_clip)
            return (of_previous, of_reset_state), of_gates

        (of_state, of_reset_state), of_gates = lax.scan(
            step,
            (of_state, of_reset_state),
            (lax.optimization_barrier(pulls), of_states, inputs.valid, inputs.resets),
            reverse=not plan.reverse,
        )
        of_drive = _joined(of_gates.total, of_gates.drive)
        of_xs = affine(of_drive, input_kernel)
        if inputs.valid is not None:
            of_xs = _where(inputs.valid, of_xs)
        here = GatedParams(
            input_kernel=_weight_gradient(xs, of_drive),
            recurrent_kernel=_weight_gradient(previous[0].astype(xs.dtype), _recurrent(of_gates)),
            bias=_sum_steps(of_drive),
            recurrent_bias=(
                None if params.recurrent_bias is None else _sum_steps(of_gates.recurrent)
            ),
            initial_state=None,
        )
        of_params = jax.tree.map(jnp.add, of_params, here)
        return (of_state, of_params, of_reset_state), of_xs.astype(xs.dtype)

    return scan_chunks(
        chunk_backward,
        carry,
        (inputs, states, gates, of_states),
        chunk_size=plan.chunk_size,
        reverse=not plan.reverse,
    )


def _pulls(cell: GatedCell, previous: State, gates: GateInputs) -> Callable[..., Any]:
    """Returns the transposed derivatives of `update` at every step of a chunk, steps first."""

    def pull(state, inputs):
        def update(state, inputs):
            new = cell.next_state(state, inputs)
            return jax.tree.map(lambda leaf, old: leaf.astype(old.dtype), new, state)

        return jax.vjp(update, state, inputs)[1]

    return jax.vmap(pull)(previous, lax.optimization_barrier(gates))


def _recurrent(of_gates: GateInputs) -> Array:
    return _joined(of_gates.total, of_gates.recurrent)


def _joined(total: Array, separate: Array | None) -> Array:
    return total if separate is None else jnp.concatenate([total, separate], axis=-1)


def _weight_gradient(inputs: Array, of_outputs: Array) -> Array:
    """Returns the sums over steps and each part of the batch of `inputs^T of_outputs`.

    Their shape is (parts, D, N).
    """
    inputs, of_outputs = in_parts(inputs), in_parts(of_outputs.astype(inputs.dtype))
    summed = (0, *range(2, inputs.ndim - 1))
    return lax.dot_general(
        inputs,
        of_outputs,
        ((summed, summed), ((1,), (1,))),
        preferred_element_type=jnp.promote_types(inputs.dtype, jnp.float32),
    )


def _sum_steps(x: Array) -> Array:
    """Returns the sums over steps and each part of the batch, (parts, N)."""
    x = in_parts(x)
    return x.sum(axis=(0, *range(2, x.ndim - 1)))


def _add_known(of_state: State, of_output: State) -> State:
    """Adds cotangents of the fields that have one."""
    parts = zip(of_state, of_output, strict=True)
    return type(of_state)(*(a if b is None else a + b for a, b in parts))


def _where(condition: Array, leaf: Array) -> Array:
    return select(condition, leaf, jnp.zeros_like(leaf))
