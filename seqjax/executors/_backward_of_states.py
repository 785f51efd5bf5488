"""The backward pass of any cell along states that are known: one scan, then one product each.

With the step `f`, the cotangents `g` of the states follow a linear recurrence, from the last step
to the first. The gradients then need all steps at once::

    l_t = g_t + J_{t+1}^T l_{t+1},    d_params, d_xs = sum_t (df/d(params, x))_t^T l_t
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqjax._padding import select
from seqjax.cells._cell import Cell
from seqjax.executors._executor import Inputs
from seqjax.executors._gated_forward import Operands, Results


def backward_of_states(
    cell: Cell,
    reverse: bool,
    operands: Operands,
    constants: Inputs,
    states: Any,
    d_results: Results,
) -> Operands:
    """Returns the cotangents of the operands from the cotangents of the results.

    Args:
      cell: a cell whose state has no integer fields.
      reverse: whether time runs from the last step to the first.
      operands: the operands of the forward pass.
      constants: its masks, resets and noise.
      states: the state after every step, leaves (T, *B, ...).
      d_results: the cotangents of the final state and of all states.
    """
    inputs = constants._replace(xs=operands.xs)

    def before(initial: Array, leaf: Array) -> Array:
        parts = [leaf[1:], initial[None]] if reverse else [initial[None], leaf[:-1]]
        return jnp.concatenate(parts)

    previous = jax.tree.map(before, operands.initial_state, states)
    if (resets := inputs.resets) is not None:
        previous = jax.tree.map(
            lambda reset, leaf: select(resets, jnp.broadcast_to(reset, leaf.shape), leaf),
            operands.reset_state,
            previous,
        )

    def advanced(params: Any, state: Any, drive: Any) -> Any:
        new = cell.step(params, state, drive)
        return jax.tree.map(lambda leaf, old: leaf.astype(old.dtype), new, state)

    def chosen(condition: Array | None, tree: Any) -> Any:
        if condition is None:
            return tree
        return jax.tree.map(lambda leaf: select(condition, leaf, jnp.zeros_like(leaf)), tree)

    def step(carry: Any, at_step: Any) -> tuple[Any, Any]:
        d_state, d_reset = carry
        state, drive, d_output, valid, reset = at_step
        d_state = jax.tree.map(jnp.add, d_state, d_output)
        d_new = chosen(valid, d_state)
        _, pull = jax.vjp(lambda state: advanced(operands.params, state, drive), state)
        (d_previous,) = pull(d_new)
        if valid is not None:
            d_previous = jax.tree.map(jnp.add, chosen(valid, d_previous), chosen(~valid, d_state))
        if reset is not None:
            d_reset = jax.tree.map(jnp.add, d_reset, chosen(reset, d_previous))
            d_previous = chosen(~reset, d_previous)
        return (d_previous, d_reset), d_new

    carry = d_results.final, jax.tree.map(jnp.zeros_like, operands.reset_state)
    along = previous, inputs.drives(cell, operands.params), d_results.states
    (d_initial, d_reset), d_new = lax.scan(
        step, carry, (*along, inputs.valid, inputs.resets), reverse=not reverse
    )

    def every_step(params: Any, xs: Array) -> Any:
        return advanced(params, previous, inputs._replace(xs=xs).drives(cell, params))

    _, pull = jax.vjp(every_step, operands.params, operands.xs)
    d_params, d_xs = pull(d_new)
    return Operands(d_params, d_xs, d_initial, d_reset)
