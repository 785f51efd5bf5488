"""Truncated back-propagation through time."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from seqjax._padding import select
from seqjax.executors._executor import Run


def run_truncated(
    function: Callable[[Run], tuple[Any, Any]], run: Run, truncation: tuple[int, int]
) -> tuple[Any, Any]:
    """Runs a cell and limits how far the gradient of each block of steps flows back.

    With `truncation = (k1, k2)`, the steps are divided into blocks of `k1`. The gradient from a
    block's outputs flows back to at most `k2` steps before the end of the block. Outputs and states
    are the same as in a full run.

    A first pass, without gradient, computes the states. Each block then ends a window of `k2`
    steps. Given the states, the windows are independent, so they run in parallel along an extra
    batch axis. The backward pass is therefore `k2` steps long, not `T`.

    Args:
      function: `function(run) -> (final, states)`, for any number of batch axes.
      run: what to run. Its state receives the gradient of every window that reaches it.
      truncation: `(k1, k2)`, 1 <= k1 <= k2.

    Returns:
      The final state and the state after every step.

    Reference: Williams and Peng (1990), An efficient gradient-based algorithm for on-line training
    of recurrent network trajectories.
    """
    inputs = run.inputs
    if run.reverse:
        inputs = jax.tree.map(lambda leaf: leaf[::-1], inputs)
    forward = dataclasses.replace(run, inputs=inputs, reverse=False, all_states=True)
    block, window = truncation
    num_steps = inputs.xs.shape[0]
    num_blocks = -(-num_steps // block)
    _, states = function(lax.stop_gradient(forward))
    states = lax.stop_gradient(states)

    # Steps before the first step and after the last step are masked, so they keep the state.
    front, back = window - block, num_blocks * block - num_steps
    valid = inputs.valid
    if valid is None and (front or back):
        valid = jnp.ones(inputs.xs.shape[:-1], bool)
    padded = jax.tree.map(
        lambda leaf: jnp.pad(leaf, [(front, back)] + [(0, 0)] * (leaf.ndim - 1)),
        inputs._replace(valid=valid),
    )
    first = block * jnp.arange(num_blocks)
    windows = jax.tree.map(lambda leaf: leaf[first[None] + jnp.arange(window)[:, None]], padded)
    start = first - front

    def state_before(initial, after):
        before = after[jnp.clip(start - 1, 0)]
        return select(start <= 0, jnp.broadcast_to(initial[None], before.shape), before)

    starts = jax.tree.map(state_before, run.state, states)
    resets = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf[None], (num_blocks, *leaf.shape)), run.reset_state
    )
    finals, found = function(
        dataclasses.replace(forward, inputs=windows, state=starts, reset_state=resets)
    )

    def in_order(leaf):
        blocks = jnp.moveaxis(leaf[-block:], 0, 1)
        steps = blocks.reshape(num_blocks * block, *blocks.shape[2:])[:num_steps]
        return steps[::-1] if run.reverse else steps

    final = jax.tree.map(lambda leaf: leaf[-1], finals)
    return final, jax.tree.map(in_order, found)
