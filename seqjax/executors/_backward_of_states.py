"""The backward pass of any cell along states that are known: one scan, then one product each.

With the step `f`, the cotangents `g` of the states follow a linear recurrence, from the last step
to the first. The gradients then need all steps at once::

    l_t = g_t + J_{t+1}^T l_{t+1},    d_params, d_xs = sum_t (df/d(params, x))_t^T l_t

If devices share the steps, an associative scan takes the place of the scan over the steps.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqjax._axes import same_axes
from seqjax._padding import select, zeros_unless
from seqjax.cells._cell import FlatState
from seqjax.executors._chunks import shifted
from seqjax.executors._executor import Run
from seqjax.executors._newton_solve import Blocks, matrix_product
from seqjax.executors._own_backward import Operands, Results
from seqjax.executors._time_axis import (
    AXIS,
    at_start,
    linear_part,
    over_parts,
    padded,
    padded_inputs,
    shifted_part,
)


def backward_of_states(run: Run, states: Any, d_results: Results) -> Operands:
    """Returns the cotangents of the operands from the cotangents of the results.

    Args:
      run: the run, of a cell whose state has no integer fields.
      states: the state after every step, leaves (T, *B, ...).
      d_results: the cotangents of the final state and of all states.
    """
    cell, inputs = run.cell, run.inputs

    def before(initial: Array, leaf: Array) -> Array:
        return shifted(leaf, initial[None], run.reverse)

    previous = jax.tree.map(before, run.state, states)
    if (resets := inputs.resets) is not None:
        previous = jax.tree.map(
            lambda reset, leaf: select(resets, jnp.broadcast_to(reset, leaf.shape), leaf),
            run.reset_state,
            previous,
        )

    def advanced(params: Any, state: Any, drive: Any) -> Any:
        new = cell.step(params, state, drive)
        return jax.tree.map(lambda leaf, old: leaf.astype(old.dtype), new, state)

    def step(carry: Any, at_step: Any) -> tuple[Any, Any]:
        d_state, d_reset = carry
        state, drive, d_output, valid, reset = at_step
        d_state = jax.tree.map(jnp.add, d_state, d_output)
        d_new = zeros_unless(valid, d_state)
        _, pull = jax.vjp(lambda state: advanced(run.params, state, drive), state)
        (d_previous,) = pull(d_new)
        if valid is not None:
            kept, passed = zeros_unless(valid, d_previous), zeros_unless(~valid, d_state)
            d_previous = jax.tree.map(jnp.add, kept, passed)
        if reset is not None:
            d_reset = jax.tree.map(jnp.add, d_reset, zeros_unless(reset, d_previous))
            d_previous = zeros_unless(~reset, d_previous)
        return (d_previous, d_reset), d_new

    carry = d_results.final, jax.tree.map(jnp.zeros_like, run.reset_state)
    along = previous, inputs.drives(cell, run.params), d_results.states
    (d_initial, d_reset), d_new = lax.scan(
        step, carry, (*along, inputs.valid, inputs.resets), reverse=not run.reverse
    )

    def every_step(params: Any, xs: Array) -> Any:
        return advanced(params, previous, inputs._replace(xs=xs).drives(cell, params))

    _, pull = jax.vjp(every_step, run.params, inputs.xs)
    d_params, d_xs = pull(d_new)
    return Operands(d_params, d_xs, d_initial, d_reset)


def backward_over_parts(run: Run, blocks: Blocks, states: Any, d_results: Results) -> Operands:
    """Does the same, with time split over the devices; `blocks` are those of the whole Jacobian.

    With `m_t = J_t^T l_t`, no device needs the Jacobian of a neighbour::

        m_t = J_t^T m_{t+1} + J_t^T g_t,    l_t = g_t + m_{t+1}
    """
    cell, reverse = run.cell, run.reverse
    form = FlatState(run.state, lead=run.inputs.xs.ndim - 2)
    wide = jnp.promote_types(form.flatten(states).dtype, jnp.float32)

    def flat(tree: Any) -> Array:
        return form.flatten(tree).astype(wide)

    def flat_cotangent(tree: Any) -> Array:
        # The cotangent of a complex number has the derivative by its imaginary part negated.
        return flat(jax.tree.map(jnp.conj, tree))

    def as_cotangent(vector: Array) -> Any:
        tree = jax.tree.map(jnp.conj, form.unflatten(vector))
        return jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), tree, run.state)

    def part(params: Any, along: Any, at_edges: Any) -> tuple[Any, Any, Any]:
        (inputs, states, d_states), (initial, reset_state, d_final) = along, at_edges
        params, _ = same_axes(params, inputs)
        cuts, valid, start = None, inputs.valid, flat(initial)
        previous = shifted_part(flat(states), start, reverse)
        if inputs.resets is not None:
            cuts = inputs.resets.reshape(*inputs.resets.shape, 1, 1, 1)
            again = jnp.broadcast_to(flat(reset_state), previous.shape)
            previous = select(inputs.resets, again, previous)

        def every_step(params: Any, xs: Array, previous: Array) -> Array:
            drives = inputs._replace(xs=xs).drives(cell, params)
            return flat(cell.step(params, form.unflatten(previous), drives))

        drives, lead = inputs.drives(cell, params), inputs.xs.ndim - 1
        jacobian = blocks.of_steps(params, form.unflatten(previous), drives, lead).astype(wide)
        if valid is not None:
            identity = jnp.broadcast_to(jnp.eye(jacobian.shape[-1], dtype=wide), jacobian.shape)
            jacobian = select(valid, jacobian, identity)
        turned, given = jnp.swapaxes(jacobian, -1, -2), blocks.split(flat_cotangent(d_states))
        own = matrix_product(turned, given)
        own = own if cuts is None else jnp.where(cuts, 0, own)
        last = blocks.split(flat_cotangent(d_final))
        moved, later = linear_part(not reverse, (turned, cuts), (own, last), matrix_product)
        d_new = blocks.joined(given + shifted(moved, later[None], not reverse))
        _, pull = jax.vjp(every_step, params, inputs.xs, previous)
        if valid is None:
            d_params, d_xs, d_previous = pull(d_new)
        else:
            d_params, d_xs, d_previous = pull(zeros_unless(valid, d_new))
            d_previous = select(valid, d_previous, d_new)
        d_reset = None
        if inputs.resets is not None:
            d_reset = zeros_unless(inputs.resets, d_previous).sum(axis=0)
            d_previous = zeros_unless(~inputs.resets, d_previous)
        # Integers have no cotangent to sum.
        d_params = jax.tree.map(
            lambda leaf: None if leaf.dtype == jax.dtypes.float0 else leaf, d_params
        )
        d_edges = lax.psum((at_start(d_previous, reverse), d_reset), AXIS)
        return d_params, d_xs, jax.tree.map(as_cotangent, d_edges)

    inputs = padded_inputs(run.inputs)
    num_steps, *batch = run.inputs.xs.shape[:-1]
    added = jnp.arange(inputs.xs.shape[0]) >= num_steps
    # In reverse, these steps come first.
    states = jax.tree.map(
        lambda leaf, start: select(added, jnp.broadcast_to(start, leaf.shape), leaf),
        padded(states),
        run.state,
    )
    along = inputs, states, padded(d_results.states)
    at_edges = run.state, run.reset_state, d_results.final
    found = over_parts(part, run.params, along, at_edges, tuple(batch))
    d_params, d_xs, (d_initial, d_reset) = found
    return Operands(d_params, d_xs[:num_steps], d_initial, d_reset)
