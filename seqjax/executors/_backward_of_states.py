"""The backward pass of any cell along states that are known: one scan, then one product each.

With the step `f`, the cotangents `g` of the states follow a linear recurrence, from the last step
to the first. The gradients then need all steps at once::

    l_t = g_t + J_{t+1}^T l_{t+1},    d_params, d_xs = sum_t (df/d(params, x))_t^T l_t
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqjax._padding import select, zeros_unless
from seqjax.executors._chunks import shifted
from seqjax.executors._executor import Run
from seqjax.executors._own_backward import Operands, Results


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
