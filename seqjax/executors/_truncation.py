"""Truncated back-propagation through time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from seqjax._padding import select
from seqjax.executors._executor import Inputs


def run_truncated(
    run: Callable[..., tuple[Any, Any]],
    inputs: Inputs,
    initial_state: Any,
    reset_state: Any,
    *,
    truncation: tuple[int, int],
    reverse: bool,
) -> tuple[Any, Any]:
    """Runs a cell so that the gradient of a block of steps reaches only so far back.

    With `truncation = (k1, k2)` the steps fall into blocks of `k1`; what a loss says of a block's
    outputs flows back to at most `k2` steps before the block's end. The values are those of a full
    run. A first pass without gradient finds the states; then the windows of `k2` steps that end
    with the blocks are independent of each other and run side by side, as one more batch axis: the
    backward pass takes `k2` steps in a row, not `T`.

    Args:
      run: `run(inputs, initial_state, reset_state) -> (final, states)`, forward in time, for any
        number of batch axes.
      inputs: inputs, masks and resets.
      initial_state: the state before the first step, which gets the gradient of the windows that
        reach it.
      reset_state: the state that a reset puts in place.
      truncation: `(k1, k2)`, 1 <= k1 <= k2.
      reverse: whether time runs from the last step to the first.

    Returns:
      The final state and the state after every step.

    Reference: Williams and Peng (1990), An efficient gradient-based algorithm for on-line training
    of recurrent network trajectories.
    """
    if reverse:
        inputs = jax.tree.map(lambda leaf: leaf[::-1], inputs)
    block, window = truncation
    num_steps = inputs.xs.shape[0]
    num_blocks = -(-num_steps // block)
    fixed = lax.stop_gradient((inputs, initial_state, reset_state))
    _, states = run(*fixed, frozen=True)
    states = lax.stop_gradient(states)

    # Steps before the first and after the last one are masked, which leaves the state as it is.
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

    starts = jax.tree.map(state_before, initial_state, states)
    reset_states = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf[None], (num_blocks, *leaf.shape)), reset_state
    )
    finals, found = run(windows, starts, reset_states)

    def in_order(leaf):
        blocks = jnp.moveaxis(leaf[-block:], 0, 1)
        steps = blocks.reshape(num_blocks * block, *blocks.shape[2:])[:num_steps]
        return steps[::-1] if reverse else steps

    final = jax.tree.map(lambda leaf: leaf[-1], finals)
    return final, jax.tree.map(in_order, found)
