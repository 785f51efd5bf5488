"""The plain scan over time: any cell, any mask, both directions, differentiated by JAX."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqjax._unroll.clipping import clip_gradient
from seqjax._unroll.padding import known, select
from seqjax.cells._base import Cell

INLINED = 10  # steps in one pass of a loop that is not differentiated, at most


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


def run_scan(
    cell: Cell,
    params: Any,
    inputs: Inputs,
    initial_state: Any,
    reset_state: Any,
    *,
    reverse: bool,
    chunk_size: int,
    step: Callable[[Any, Any, Any], tuple[Any, Any]] | None = None,
    remat: bool = False,
    state_gradient_clip: float | None = None,
    differentiated: bool = True,
) -> tuple[Any, Any, Any]:
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
      step: used in place of `cell.step`; returns the new state and something to keep of the step.
      remat: whether only the states between chunks are kept for JAX's backward pass.
      state_gradient_clip: bound on what JAX's backward pass hands from a step to the one before.
      differentiated: whether JAX makes a backward pass of this. Otherwise the steps of a chunk are
        inlined in the loop, and results are written in place.

    Returns:
      The final state, the state after every step with time first, and what `step` kept.
    """

    def run_step(params, state, at_step):
        drive, valid, reset = at_step
        state = clip_gradient(state, state_gradient_clip)
        if reset is not None:
            state = jax.tree.map(lambda new, old: select(reset, new, old), reset_state, state)
        new, kept = step(params, state, drive) if step else (cell.step(params, state, drive), None)
        new = jax.tree.map(lambda leaf, old: leaf.astype(old.dtype), new, state)
        if valid is not None:
            new = jax.tree.map(lambda leaf, old: select(valid, leaf, old), new, state)
        return new, (new, kept)

    def run_chunk(state, _, chunk: Inputs):
        # JAX takes out of the loop what depends on parameters alone, such as the bias spread over
        # a chunk. Read back from memory at every step it keeps XLA on CPU from vectorising the
        # gates: a fifth of an LSTM's training step.
        here = params
        if not differentiated:
            here, state = lax.optimization_barrier((params, state))
        drives = cell.project(here, without_garbage(chunk))
        steps = drives, chunk.valid, chunk.resets
        # XLA on CPU does not vectorise a pointwise function of slices that move with the step.
        # Inlined they stand still, which took a third off the forward pass of an LSTM. A backward
        # pass made by JAX gets slower by it: it computes what it keeps once for each use.
        inlined = 1 if differentiated else min(chunk_size, INLINED)
        run = functools.partial(run_step, here)
        return lax.scan(run, state, steps, reverse=reverse, unroll=inlined)

    final, (states, kept) = scan_chunks(
        jax.checkpoint(run_chunk) if remat else run_chunk,
        initial_state,
        inputs,
        chunk_size=chunk_size,
        reverse=reverse,
        differentiated=differentiated,
    )
    return final, states, kept


def without_garbage(inputs: Inputs) -> Array:
    """Returns the inputs with zeros at the steps that are not real.

    The garbage goes before the arithmetic, not after it: a NaN that is only masked out of the
    result would still poison the gradient.
    """
    if inputs.valid is None:
        return inputs.xs
    return select(inputs.valid, inputs.xs, jnp.zeros_like(inputs.xs))


def scan_chunks(
    body: Callable[[Any, Any, Any], tuple[Any, Any]],
    carry: Any,
    inputs: Any,
    *,
    chunk_size: int,
    reverse: bool,
    differentiated: bool = True,
) -> tuple[Any, Any]:
    """A `lax.scan` whose body takes `chunk_size` steps at a time, and at the end of time the rest.

    Args:
      body: `body(carry, start, chunk) -> (carry, results)`; `start` is the index of the chunk's
        first step in time, leaves of `chunk` have the chunk's steps first, and the leading axes of
        `results` are joined.
      carry: the first carry.
      inputs: pytree whose leaves have time first.
      chunk_size: steps of a chunk.
      reverse: whether the chunks run from the last to the first.
      differentiated: whether JAX makes a backward pass of this. Otherwise steps that are left over
        cost no copy of inputs and results.

    Returns:
      The last carry and the results of all steps.
    """
    num_steps = jax.tree.leaves(inputs)[0].shape[0]
    num_chunks, rest = divmod(num_steps, chunk_size)
    whole = num_chunks * chunk_size
    if known(num_steps) and num_chunks <= 1 and not (num_chunks and rest):
        return body(carry, 0, inputs)

    def whole_chunks(carry):
        split = jax.tree.map(
            lambda leaf: leaf[:whole].reshape(num_chunks, chunk_size, *leaf.shape[1:]), inputs
        )
        starts = chunk_size * jnp.arange(num_chunks)
        carry, results = lax.scan(
            lambda carry, at: body(carry, *at), carry, (starts, split), reverse=reverse
        )
        merged = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), results)
        return carry, merged

    if not rest:
        return whole_chunks(carry)
    if not differentiated:
        return _scan_chunks_in_place(body, carry, inputs, chunk_size, reverse)
    tail = jax.tree.map(lambda leaf: leaf[whole:], inputs)
    if reverse:
        carry, last = body(carry, whole, tail)
        carry, first = whole_chunks(carry)
    else:
        carry, first = whole_chunks(carry)
        carry, last = body(carry, whole, tail)
    return carry, jax.tree.map(lambda first, last: jnp.concatenate([first, last]), first, last)


def _scan_chunks_in_place(
    body: Callable[[Any, Any, Any], tuple[Any, Any]],
    carry: Any,
    inputs: Any,
    chunk_size: int,
    reverse: bool,
) -> tuple[Any, Any]:
    """Does the same, reading chunks out of the whole inputs and writing them into whole results."""
    num_steps = jax.tree.leaves(inputs)[0].shape[0]
    num_chunks, rest = divmod(num_steps, chunk_size)

    def chunk_at(start, size):
        return jax.tree.map(lambda leaf: lax.dynamic_slice_in_dim(leaf, start, size), inputs)

    def shapes(size):
        return jax.eval_shape(lambda carry: body(carry, 0, chunk_at(0, size))[1], carry)

    # A chunk may have fewer results than steps, as a segment has one state before it.
    whole, last = shapes(chunk_size), shapes(rest)
    results = jax.tree.map(
        lambda a, b: jnp.zeros((num_chunks * a.shape[0] + b.shape[0], *a.shape[1:]), a.dtype),
        whole,
        last,
    )

    def run(state, start, size):
        carry, results = state
        carry, new = body(carry, start, chunk_at(start, size))
        place = start // chunk_size
        results = jax.tree.map(
            lambda all_, leaf, chunk: lax.dynamic_update_slice_in_dim(
                all_, leaf, place * chunk.shape[0], axis=0
            ),
            results,
            new,
            whole,
        )
        return carry, results

    state = carry, results
    if reverse:
        state = run(state, num_chunks * chunk_size, rest)
    starts = chunk_size * jnp.arange(num_chunks)
    state, _ = lax.scan(
        lambda state, start: (run(state, start, chunk_size), None), state, starts, reverse=reverse
    )
    return state if reverse else run(state, num_chunks * chunk_size, rest)
