"""A method as an executor: the usual run, and a backward pass that goes forwards in time."""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqjax._padding import choose, zeros_unless
from seqjax.executors._executor import Inputs, Run
from seqjax.executors._scan import Scan
from seqjax.online import _batch as batched
from seqjax.online._step import Step, as_cotangents, gradient_leaves, inexact_leaves, to_vector

if TYPE_CHECKING:
    from seqjax.online._method import Method


def _plain(method: "Method", run: Run) -> tuple[Any, Any]:
    """Returns the final state and all states; their gradient is that of the method."""
    without_key = run.inputs._replace(key=None)
    return Scan().run(dataclasses.replace(run, inputs=without_key, all_states=True))


def _forwards(method, run):
    final, states = _plain(method, run)
    return (final, states), (run, states)


def _backwards(method, residuals, cotangents):
    """Goes through the steps again in their order, with the traces of the method.

    The parameters' gradient is summed up on the way. That of an input is the one within its step.
    """
    run, states = residuals
    cell, params, inputs, reset_state = run.cell, run.params, run.inputs, run.reset_state
    num_steps, key = inputs.xs.shape[0], inputs.key
    if method.needs_key and key is None:
        raise ValueError(
            f"seqjax.online.{type(method).__name__}: its gradient needs a random key. Pass `key` "
            "to seqjax.unroll or to the layer."
        )
    d_states = gradient_leaves(states, cotangents[1])
    d_final = gradient_leaves(run.state, cotangents[0])
    zeros = [jnp.zeros_like(leaf) for leaf in d_final]
    sums = [
        jnp.zeros(leaf.shape, jnp.promote_types(leaf.dtype, jnp.float32))
        for leaf in inexact_leaves(params)
    ]
    # The final state is the state after the last step, even if that step is not valid.
    last = 0 if run.reverse else num_steps - 1
    d_states = [each.at[last].add(end) for each, end in zip(d_states, d_final, strict=True)]

    def step_key(number: Any) -> Array | None:
        return None if key is None else jax.random.fold_in(key, number)

    def run_step(carry: Any, at_step: Any) -> Any:
        before, trace, restarted, sums, d_first, d_again = carry
        number, x, valid, reset, start, noise, after, d_after = at_step
        own, begin_key = batched.two_keys(step_key(number))
        if reset is not None:
            started = batched.begin(method, cell, params, reset_state, x, begin_key)
            trace = choose(reset, started, trace)
            before = choose(reset, reset_state, before)
            restarted |= reset

        def of_example(x, state, start, noise, trace, key, d_after):
            step = Step(cell, params, state, x, start, noise)
            _, pull = jax.vjp(lambda x: to_vector(step._replace(x=x).new_state()), x)
            return method.advance(step, trace, key), pull(to_vector(d_after))[0]

        arguments = before, start, noise, trace, batched.keys(own, x), d_after
        new, d_x = batched.over_batch(of_example, x, *arguments)
        trace = choose(valid, new, trace)
        d_x = zeros_unless(valid, d_x)
        d_params, d_start = batched.pull(method, cell, params, x, after, trace, d_after)
        sums = _added(sums, d_params)
        nothing = [jnp.zeros_like(leaf) for leaf in d_start]
        d_first = _added(d_first, choose(restarted, nothing, d_start))
        d_again = _added(d_again, choose(restarted, d_start, nothing))
        return (after, trace, restarted, sums, d_first, d_again), d_x

    xs = inputs.clean_xs()
    trace = batched.begin(method, cell, params, run.state, xs[0], step_key(num_steps))
    carry = run.state, trace, jnp.zeros(xs.shape[1:-1], bool), sums, zeros, zeros
    steps = (jnp.arange(num_steps), xs, *inputs[1:5], states, d_states)
    (*_, sums, d_first, d_again), d_xs = lax.scan(run_step, carry, steps, reverse=run.reverse)
    d_run = dataclasses.replace(
        run,
        params=as_cotangents(params, sums),
        inputs=Inputs(d_xs, *[None] * (len(inputs) - 1)),  # pyright: ignore[reportArgumentType]
        state=as_cotangents(run.state, d_first),
        reset_state=as_cotangents(reset_state, d_again),
    )
    return (d_run,)


run_with_method = jax.custom_vjp(_plain, nondiff_argnums=(0,))
run_with_method.defvjp(_forwards, _backwards)


def _added(sums: list[Array], terms: list[Array]) -> list[Array]:
    return [total + term for total, term in zip(sums, terms, strict=True)]
