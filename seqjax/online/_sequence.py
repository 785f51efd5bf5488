"""A method as an executor: the usual run, and a backward pass that goes forwards in time."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqjax.cells._cell import Cell
from seqjax.executors._executor import Inputs
from seqjax.executors._scan import Scan
from seqjax.online import _batch as batched
from seqjax.online._step import Step, as_cotangents, gradient_leaves, inexact_leaves, to_vector

if TYPE_CHECKING:
    from seqjax.online._method import Method


def _plain(
    method: "Method",
    cell: Cell,
    reverse: bool,
    params: Any,
    inputs: Inputs,
    state: Any,
    reset_state: Any,
) -> tuple[Any, Any]:
    """Returns the final state and all states; their gradient is that of the method."""
    inputs = inputs._replace(key=None)
    return Scan().run(cell, params, inputs, state, reset_state, reverse=reverse, all_states=True)


def _forwards(method, cell, reverse, params, inputs, state, reset_state):
    final, states = _plain(method, cell, reverse, params, inputs, state, reset_state)
    return (final, states), (params, inputs, state, reset_state, states)


def _backwards(method, cell, reverse, residuals, cotangents):
    """Goes through the steps again in their order, with the traces of the method.

    The parameters' gradient is summed up on the way. That of an input is the one within its step.
    """
    params, inputs, state, reset_state, states = residuals
    num_steps, key = inputs.xs.shape[0], inputs.key
    if method.needs_key and key is None:
        raise ValueError(
            f"seqjax.online.{type(method).__name__}: its gradient needs a random key. Pass `key` "
            "to seqjax.unroll or to the layer."
        )
    d_states = gradient_leaves(states, cotangents[1])
    d_final = gradient_leaves(state, cotangents[0])
    zeros = [jnp.zeros_like(leaf) for leaf in d_final]
    sums = [
        jnp.zeros(leaf.shape, jnp.promote_types(leaf.dtype, jnp.float32))
        for leaf in inexact_leaves(params)
    ]
    if not num_steps:
        return _returned(params, inputs, state, reset_state, sums, inputs.xs, d_final, zeros)
    # The final state is the state after the last step, even if that step is not valid.
    last = 0 if reverse else num_steps - 1
    d_states = [each.at[last].add(end) for each, end in zip(d_states, d_final, strict=True)]

    def step_key(number: Any) -> Array | None:
        return None if key is None else jax.random.fold_in(key, number)

    def run_step(carry: Any, at_step: Any) -> Any:
        before, trace, restarted, sums, d_first, d_again = carry
        number, x, valid, reset, start, noise, after, d_after = at_step
        own, begin_key = batched.two_keys(step_key(number))
        if reset is not None:
            started = batched.begin(method, cell, params, reset_state, x, begin_key)
            trace = batched.chosen(reset, started, trace)
            before = batched.chosen(reset, reset_state, before)
            restarted |= reset

        def of_example(x, state, start, noise, trace, key, d_after):
            step = Step(cell, params, state, x, start, noise)
            _, pull = jax.vjp(lambda x: to_vector(step._replace(x=x).new_state()), x)
            return method.advance(step, trace, key), pull(to_vector(d_after))[0]

        arguments = before, start, noise, trace, batched.keys(own, x), d_after
        new, d_x = batched.over_batch(of_example, x, *arguments)
        trace = batched.chosen(valid, new, trace)
        d_x = batched.chosen(valid, d_x, jnp.zeros_like(d_x))
        d_params, d_start = batched.pull(method, cell, params, x, after, trace, d_after)
        sums = _added(sums, d_params)
        nothing = [jnp.zeros_like(leaf) for leaf in d_start]
        d_first = _added(d_first, batched.chosen(restarted, nothing, d_start))
        d_again = _added(d_again, batched.chosen(restarted, d_start, nothing))
        return (after, trace, restarted, sums, d_first, d_again), d_x

    xs = inputs.clean_xs()
    trace = batched.begin(method, cell, params, state, xs[0], step_key(num_steps))
    carry = state, trace, jnp.zeros(xs.shape[1:-1], bool), sums, zeros, zeros
    steps = (jnp.arange(num_steps), xs, *inputs[1:5], states, d_states)
    (*_, sums, d_first, d_again), d_xs = lax.scan(run_step, carry, steps, reverse=reverse)
    return _returned(params, inputs, state, reset_state, sums, d_xs, d_first, d_again)


run = jax.custom_vjp(_plain, nondiff_argnums=(0, 1, 2))
run.defvjp(_forwards, _backwards)


def _returned(params, inputs, state, reset_state, sums, d_xs, d_first, d_again):
    return (
        as_cotangents(params, sums),
        Inputs(d_xs, *[None] * (len(inputs) - 1)),  # pyright: ignore[reportArgumentType]
        as_cotangents(state, d_first),
        as_cotangents(reset_state, d_again),
    )


def _added(sums: list[Array], terms: list[Array]) -> list[Array]:
    return [total + term for total, term in zip(sums, terms, strict=True)]
