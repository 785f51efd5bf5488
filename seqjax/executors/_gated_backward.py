"""The backward pass of a gated cell, derived from its pointwise functions alone.

When JAX differentiates a scan, it keeps every intermediate of every step and updates the weight
gradients at every step. This pass visits the chunks of the forward pass again, from the last to
the first, and computes:

1. the gate inputs, with one product for all steps of a chunk, unless the forward pass kept them;
2. the derivatives of `update`, for all steps of a chunk at once;
3. the chain of state cotangents, step by step, with one product and pointwise operations per step;
4. the gradients of the weights and the input, with one product each per chunk.

A cell with inner gates has one more product in 1, 3 and 4. In 2, `inner_state` joins `update`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqjax._padding import select, zeros_unless
from seqjax.cells._cell import State, project
from seqjax.cells._gated import GatedCell, GatedParams, GateInputs
from seqjax.cells._operations import affine
from seqjax.cells._product import (
    dropped,
    kernel_gradient,
    transposed_dropped,
    transposed_kernel,
    transposed_product,
)
from seqjax.executors._chunks import before_chunk, scan_in_place
from seqjax.executors._clipping import clipped
from seqjax.executors._executor import Run
from seqjax.executors._gated_forward import Kept, Plan, scan_forward
from seqjax.executors._own_backward import Operands, Results
from seqjax.executors._parts import batch_parts, in_parts, whole


def backward(plan: Plan, run: Run, kept: Kept, d_results: Results) -> Operands:
    """Returns the cotangents of the operands from the cotangents of the results."""
    states, gates = kept
    parts = batch_parts(run.inputs.xs.shape[1:-1])
    wide = jax.tree.map(
        lambda leaf: jnp.zeros((parts, *leaf.shape), jnp.promote_types(leaf.dtype, jnp.float32)),
        run.params,
    )
    carry = d_results.final, wide, jax.tree.map(jnp.zeros_like, run.reset_state)
    if plan.residuals == "boundaries":
        size = plan.segment_size(run.inputs.xs.shape[0])

        def segment(carry, start, chunk):
            inputs, d_states = chunk
            state = jax.tree.map(
                lambda leaf: lax.dynamic_index_in_dim(leaf, start // size, keepdims=False), states
            )
            here = dataclasses.replace(run, inputs=inputs, state=state)
            _, again, _ = scan_forward(plan, here)
            return _backward_chunks(plan, here, Kept(again, None), d_states, carry)

        along = run.inputs, d_results.states
        carry, d_xs = scan_in_place(segment, carry, along, chunk_size=size, reverse=not run.reverse)
    else:
        carry, d_xs = _backward_chunks(plan, run, Kept(states, gates), d_results.states, carry)
    d_state, d_params, d_reset_state = carry
    d_params = jax.tree.map(
        lambda parts, leaf: parts.sum(axis=0).astype(leaf.dtype), d_params, run.params
    )
    return Operands(d_params, d_xs, d_state, d_reset_state)


def _backward_chunks(
    plan: Plan, run: Run, kept: Kept, d_states: State, carry: tuple[State, GatedParams, Any]
) -> tuple[Any, Array]:
    """Runs the backward pass over all chunks.

    Args:
      plan: the plan of the run.
      run: the run, or a segment of it.
      kept: the state after every step, and the gate inputs if they were kept.
      d_states: cotangents of the states.
      carry: the cotangent of the final state, and the sums so far of the cotangents of the
        parameters, (parts, ...), and of the reset state.

    Returns:
      The carry, with the cotangent of the initial state, and the cotangent of `xs`.
    """
    cell, params = cast(GatedCell, run.cell), run.params
    # Transpose once, here. Inside the loop, every step would transpose again.
    input_kernel = params.input_kernel.T
    kernels = cell.recurrent_kernels(params, run.inputs.noise)
    turned = [transposed_kernel(kernel) for kernel in kernels]

    def chunk_backward(carry, start, chunk):
        d_state, d_params, d_reset_state = carry
        inputs, (chunk_states, chunk_gates), d_states = chunk
        xs = inputs.clean_xs()
        previous = before_chunk(kept.states, run.state, chunk_states, start, run.reverse)
        if inputs.resets is not None:
            previous = jax.tree.map(
                lambda new, old: select(inputs.resets, jnp.broadcast_to(new[None], old.shape), old),
                run.reset_state,
                previous,
            )
        if chunk_gates is None:
            drive = project(cell, params, xs, noise=inputs.noise)
            chunk_gates = cell.gate_inputs(params, previous, drive)
        else:
            chunk_gates = cell.with_units(params, chunk_gates, inputs.noise)
        middle, pulls = _pulls(cell, previous, chunk_gates)
        factors = cell.hidden_factors(inputs.noise, previous[0].dtype)

        def step(carry, at_step):
            d_state, d_reset_state = carry
            pull, d_output, valid, reset, factors = at_step
            d_state = _add_known(d_state, d_output)
            d_new = d_state
            if valid is not None:
                d_new = zeros_unless(valid, d_new)
            d_middle = None
            if middle is not None:
                # The cotangent of the inner state is known only after the inner product. So we
                # apply the pull-back twice: first with a zero cotangent, which gives the
                # cotangents of the inner gates, then with the real one.
                _, d_gates = pull((d_new, jnp.zeros(middle.shape[1:], middle.dtype)))
                d_inner = whole(lax.optimization_barrier(d_gates.inner), 0)
                d_middle = transposed_product(d_inner, turned[1])
                d_middle = transposed_dropped(d_middle, factors[1], cell.hidden_size)
                d_middle = d_middle.astype(middle.dtype)
            d_previous, d_gates = pull((d_new, d_middle))
            d_gates = d_gates._replace(units=cell.learned_units(d_gates))
            d_gates = lax.optimization_barrier(d_gates)
            if turned:
                d_hidden = transposed_product(whole(_first(d_gates), 0), turned[0])
                d_hidden = transposed_dropped(d_hidden, factors[0], cell.hidden_size)
                first = d_previous[0] + d_hidden.astype(d_previous[0].dtype)
                d_previous = d_previous._replace(**{d_previous._fields[0]: first})
            if valid is not None:
                d_previous = jax.tree.map(
                    lambda leaf, kept: leaf + zeros_unless(~valid, kept), d_previous, d_state
                )
            if reset is not None:
                d_reset_state = jax.tree.map(
                    lambda total, leaf: total + zeros_unless(reset, leaf), d_reset_state, d_previous
                )
                d_previous = zeros_unless(~reset, d_previous)
            d_previous = clipped(d_previous, plan.state_gradient_clip)
            return (d_previous, d_reset_state), d_gates

        (d_state, d_reset_state), d_gates = lax.scan(
            step,
            (d_state, d_reset_state),
            (lax.optimization_barrier(pulls), d_states, inputs.valid, inputs.resets, factors),
            reverse=not run.reverse,
        )
        d_drive = whole(_joined(d_gates.total, d_gates.inner, d_gates.drive), 1)
        d_kernels = []
        if kernels:
            hidden, first = dropped(previous[0], factors[0]), whole(_first(d_gates), 1)
            hidden = hidden.astype(xs.dtype)
            d_kernels.append(kernel_gradient(in_parts(hidden), in_parts(first), kernels[0]))
        if middle is not None:
            hidden, inner = dropped(middle, factors[1]), whole(d_gates.inner, 1)
            hidden = hidden.astype(xs.dtype)
            d_kernels.append(kernel_gradient(in_parts(hidden), in_parts(inner), kernels[1]))
        d_xs = affine(d_drive, input_kernel)
        if inputs.valid is not None:
            d_xs = zeros_unless(inputs.valid, d_xs)
        here = GatedParams(
            input_kernel=kernel_gradient(in_parts(xs), in_parts(d_drive), input_kernel.T),
            recurrent_kernel=cell.joined_kernels(d_kernels, inputs.noise),
            bias=None if params.bias is None else _sum_steps(d_drive),
            recurrent_bias=(
                None if params.recurrent_bias is None else _sum_steps(d_gates.recurrent)
            ),
            units=jax.tree.map(_sum_steps, d_gates.units),
        )
        d_params = jax.tree.map(jnp.add, d_params, here)
        return (d_state, d_params, d_reset_state), d_xs.astype(xs.dtype)

    along = run.inputs, kept, d_states
    return scan_in_place(
        chunk_backward, carry, along, chunk_size=plan.chunk_size, reverse=not run.reverse
    )


def _pulls(
    cell: GatedCell, previous: State, gates: GateInputs
) -> tuple[Array | None, Callable[..., Any]]:
    """Returns the inner state and the pull-back of every step of a chunk, steps first.

    A pull-back is the VJP of `update` and `inner_state` as one function. The inner state is None
    without inner gates.
    """

    def pull(state, inputs):
        def pointwise(state, inputs):
            new = cell.next_state(state, inputs)
            new = jax.tree.map(lambda leaf, old: leaf.astype(old.dtype), new, state)
            return new, cell.middle(state, inputs)

        (_, middle), pulls = jax.vjp(pointwise, state, inputs)
        return middle, pulls

    return jax.vmap(pull)(previous, lax.optimization_barrier(gates))


def _first(d_gates: GateInputs) -> Array:
    """Returns the cotangents of the columns of the first (outer) recurrent product."""
    return _joined(d_gates.total, d_gates.recurrent)


def _joined(*columns: Array | None) -> Array:
    given = [each for each in columns if each is not None]
    return given[0] if len(given) == 1 else jnp.concatenate(given, axis=-1)


def _sum_steps(x: Array) -> Array:
    """Returns `x` summed over the steps and within each part of the batch, (parts, N)."""
    x = in_parts(x)
    return x.sum(axis=(0, *range(2, x.ndim - 1)))


def _add_known(d_state: State, d_output: State) -> State:
    """Adds `d_output` to `d_state`; a field that is None adds nothing."""
    parts = zip(d_state, d_output, strict=True)
    return type(d_state)(*(a if b is None else a + b for a, b in parts))
