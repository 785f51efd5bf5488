"""The backward pass of a gated cell, derived from its pointwise functions alone.

Differentiating a scan step by step keeps every intermediate of every step, and adds to the weight
gradients at every step. This pass goes through the chunks of the forward pass once more, from the
last to the first:

1. what the gates saw, for all steps of a chunk by one product (or read back where it was kept);
2. the derivatives of `update`, for all steps of a chunk at once;
3. the chain of state cotangents, step after step: nothing but one product and pointwise sums;
4. the gradients of weights and input, one product each per chunk.

A cell with a second product has one more in 1, 3 and 4, and `middle` beside `update` in 2.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqjax._unroll.clipping import clipped
from seqjax._unroll.gated_plan import Operands, Plan, Residuals, Results, scan_forward
from seqjax._unroll.padding import select
from seqjax._unroll.parts import batch_parts, in_parts, whole
from seqjax._unroll.sequential import Inputs, scan_chunks, without_garbage
from seqjax.cells._base import GatedCell, GatedParams, GateInputs, State, affine


def backward(plan: Plan, residuals: Residuals, of_results: Results) -> Operands:
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
            _, again, _ = scan_forward(plan, operands, inputs, state)
            here = operands._replace(xs=inputs.xs, initial_state=state)
            return _backward_chunks(plan, here, inputs, again, None, of_states, carry)

        carry, of_xs = scan_chunks(
            segment,
            carry,
            (inputs, of_results.states),
            chunk_size=size,
            reverse=not plan.reverse,
            differentiated=False,
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
    input_kernel = params.input_kernel.T
    first_kernel, *second_kernel = (kernel.T for kernel in cell.recurrent_kernels(params))

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
            chunk_gates = cell.gate_inputs(params, previous, cell.project(params, xs))
        middle, pulls = _pulls(cell, previous, chunk_gates)

        def step(carry, at_step):
            of_state, of_reset_state = carry
            pull, of_output, valid, reset = at_step
            of_state = _add_known(of_state, of_output)
            of_new = of_state
            if valid is not None:
                of_new = jax.tree.map(lambda leaf: _where(valid, leaf), of_new)
            of_middle = None
            if middle is not None:
                # What `middle` hands back is known only behind the second product: until then the
                # derivatives are read without it, and only where it has no part in them.
                _, of_gates = pull((of_new, jnp.zeros(middle.shape[1:], middle.dtype)))
                of_second = whole(lax.optimization_barrier(of_gates.second), 0)
                of_middle = affine(of_second, *second_kernel).astype(middle.dtype)
            of_previous, of_gates = pull((of_new, of_middle))
            of_gates = lax.optimization_barrier(of_gates)
            of_hidden = affine(whole(_first(of_gates), 0), first_kernel)
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
        of_drive = whole(_joined(of_gates.total, of_gates.second, of_gates.drive), 1)
        kernels = [_weight_gradient(previous[0].astype(xs.dtype), whole(_first(of_gates), 1))]
        if middle is not None:
            of_second = whole(of_gates.second, 1)
            kernels.append(_weight_gradient(middle.astype(xs.dtype), of_second))
        of_xs = affine(of_drive, input_kernel)
        if inputs.valid is not None:
            of_xs = _where(inputs.valid, of_xs)
        here = GatedParams(
            input_kernel=_weight_gradient(xs, of_drive),
            recurrent_kernel=cell.joined_kernels(kernels),
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
        differentiated=False,
    )


def _pulls(
    cell: GatedCell, previous: State, gates: GateInputs
) -> tuple[Array | None, Callable[..., Any]]:
    """Returns at every step of a chunk, steps first, what `middle` gives and the derivatives.

    They are the transposed ones of `update` and `middle` together, `middle` None without a second
    product.
    """

    def pull(state, inputs):
        def pointwise(state, inputs):
            new = cell.next_state(state, inputs)
            new = jax.tree.map(lambda leaf, old: leaf.astype(old.dtype), new, state)
            return new, cell.middle_state(state, inputs)

        (_, middle), pulls = jax.vjp(pointwise, state, inputs)
        return middle, pulls

    return jax.vmap(pull)(previous, lax.optimization_barrier(gates))


def _first(of_gates: GateInputs) -> Array:
    """Returns what the first product hands back: all columns but those of the second."""
    return _joined(of_gates.total, of_gates.recurrent)


def _joined(*columns: Array | None) -> Array:
    given = [each for each in columns if each is not None]
    return given[0] if len(given) == 1 else jnp.concatenate(given, axis=-1)


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
