"""The sequential executor: a scan over time, any cell, any mask, both directions."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqjax.cells.base import Cell
from seqjax.unroll.padding import select


class Inputs(NamedTuple):
    """What an executor reads at each step, every leaf with time first.

    Attributes:
      xs: inputs, shape (T, *B, D).
      valid: which steps are real, booleans (T, *B), or None where all are.
      resets: before which steps the state starts anew, booleans (T, *B), or None.
    """

    xs: Array
    valid: Array | None
    resets: Array | None


def run_sequential(
    cell: Cell,
    params: Any,
    inputs: Inputs,
    initial_state: Any,
    reset_state: Any,
    *,
    reverse: bool,
    chunk_size: int,
) -> tuple[Any, Any]:
    """Runs a cell step after step; see `seqjax.unroll` for the semantics.

    The input is projected `chunk_size` steps at a time: one large product per chunk, without the
    (T, *B, gates * H) temporary of projecting everything at once, whose memory traffic costs more
    than it saves.

    Args:
      cell: the cell.
      params: its parameters.
      inputs: inputs, masks and resets.
      initial_state: the state before the first step.
      reset_state: the state that a reset puts in place.
      reverse: whether time runs from the last step to the first.
      chunk_size: steps projected together.

    Returns:
      The final state, and the state after every step with time first.
    """

    def step(state, at_step):
        drive, valid, reset = at_step
        if reset is not None:
            state = jax.tree.map(lambda new, old: select(reset, new, old), reset_state, state)
        new = cell.step(params, state, drive)
        new = jax.tree.map(lambda leaf, old: leaf.astype(old.dtype), new, state)
        if valid is not None:
            new = jax.tree.map(lambda leaf, old: select(valid, leaf, old), new, state)
        return new, new

    def chunk(state, inputs: Inputs):
        xs, valid, resets = inputs
        if valid is not None:
            # The garbage goes before the arithmetic, not after it: a NaN that is only masked out
            # of the result would still poison the gradient.
            xs = select(valid, xs, jnp.zeros_like(xs))
        return lax.scan(step, state, (cell.project(params, xs), valid, resets), reverse=reverse)

    num_steps = inputs.xs.shape[0]
    num_chunks, rest = divmod(num_steps, chunk_size)
    whole = num_chunks * chunk_size
    if num_chunks <= 1:
        return chunk(initial_state, inputs)

    def whole_chunks(state):
        split = jax.tree.map(
            lambda leaf: leaf[:whole].reshape(num_chunks, chunk_size, *leaf.shape[1:]), inputs
        )
        state, states = lax.scan(chunk, state, split, reverse=reverse)
        return state, jax.tree.map(lambda leaf: leaf.reshape(whole, *leaf.shape[2:]), states)

    if not rest:
        return whole_chunks(initial_state)
    tail = jax.tree.map(lambda leaf: leaf[whole:], inputs)
    if reverse:
        state, tail_states = chunk(initial_state, tail)
        state, states = whole_chunks(state)
    else:
        state, states = whole_chunks(initial_state)
        state, tail_states = chunk(state, tail)
    join = jax.tree.map(lambda first, last: jnp.concatenate([first, last]), states, tail_states)
    return state, join
