"""A `lax.scan` over chunks of steps."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqjax._axes import same_axes
from seqjax._padding import known
from seqjax.executors._parts import batch_parts

Body = Callable[[Any, Any, Any], tuple[Any, Any]]


def scan_chunks(
    body: Body, carry: Any, inputs: Any, *, chunk_size: int, reverse: bool
) -> tuple[Any, Any]:
    """Runs a `lax.scan` over chunks of `chunk_size` steps; the last chunk in time may be shorter.

    Args:
      body: `body(carry, start, chunk) -> (carry, results)`. `start` is the time index of the
        chunk's first step. The first axis of the leaves of `chunk` is the chunk's steps. The
        results of all chunks are joined along their first axis.
      carry: the initial carry.
      inputs: pytree with time as the first axis of every leaf.
      chunk_size: steps per chunk.
      reverse: whether to run the chunks from the last to the first.

    Returns:
      The final carry and the results of all chunks.
    """
    carry, inputs = same_axes(carry, inputs)
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
        # Not -1, which nothing determines where the batch or a field is empty.
        merged = jax.tree.map(
            lambda leaf: leaf.reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:]), results
        )
        return carry, merged

    if not rest:
        return whole_chunks(carry)
    tail = jax.tree.map(lambda leaf: leaf[whole:], inputs)
    if reverse:
        carry, last = body(carry, whole, tail)
        carry, first = whole_chunks(carry)
    else:
        carry, first = whole_chunks(carry)
        carry, last = body(carry, whole, tail)
    return carry, jax.tree.map(lambda first, last: jnp.concatenate([first, last]), first, last)


def scan_in_place(
    body: Body, carry: Any, inputs: Any, *, chunk_size: int, reverse: bool
) -> tuple[Any, Any]:
    """Does the same as `scan_chunks`, for a scan that JAX does not differentiate in reverse mode.

    A shorter last chunk costs no copy: chunks are slices of the inputs, and the results are written
    into preallocated arrays.
    """
    num_chunks, rest = divmod(jax.tree.leaves(inputs)[0].shape[0], chunk_size)
    if not rest or not num_chunks:
        return scan_chunks(body, carry, inputs, chunk_size=chunk_size, reverse=reverse)
    carry, inputs = same_axes(carry, inputs)

    def chunk_at(start, size):
        return jax.tree.map(lambda leaf: lax.dynamic_slice_in_dim(leaf, start, size), inputs)

    def shapes(size):
        return jax.eval_shape(lambda carry: body(carry, 0, chunk_at(0, size))[1], carry)

    # A chunk may have fewer results than steps: a segment, for example, has one boundary state.
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

    state, _ = same_axes((carry, results), inputs)
    if reverse:
        state = run(state, num_chunks * chunk_size, rest)
    starts = chunk_size * jnp.arange(num_chunks)
    state, _ = lax.scan(
        lambda state, start: (run(state, start, chunk_size), None), state, starts, reverse=reverse
    )
    return state if reverse else run(state, num_chunks * chunk_size, rest)


def shifted(states: Array, edge: Array, reverse: bool) -> Array:
    """Returns the state before each step, given that before all of them, (1, ...)."""
    return jnp.concatenate([states[1:], edge] if reverse else [edge, states[:-1]])


def before_chunk(states: Any, initial: Any, chunk: Any, start: Any, reverse: bool) -> Any:
    """Returns the state before each step of the chunk that begins at step `start`.

    Args:
      states: the state after every step of a run, leaves (T, ...).
      initial: the state before the first step.
      chunk: those of `states` that are in the chunk.
      start: the number of the chunk's first step.
      reverse: whether time runs from the last step to the first.
    """
    num_steps, size = (len(jax.tree.leaves(tree)[0]) for tree in (states, chunk))
    outside, first = (start + size, num_steps) if reverse else (start - 1, -1)

    def before(initial: Array, states: Array, chunk: Array) -> Array:
        index = jnp.clip(outside, 0, num_steps - 1)
        edge = lax.dynamic_index_in_dim(states, index, keepdims=True)
        return shifted(chunk, jnp.where(outside == first, initial[None], edge), reverse)

    return jax.tree.map(before, initial, states, chunk)


def default_chunk_size(
    num_steps: int, batch_shape: tuple[int, ...], *, rows: int = 512, most: int = 8
) -> int:
    """Returns how many steps to project together.

    With too few steps the product is too small to be fast; with too many, its result leaves the
    cache. For a gated cell on a CPU, 8 steps are best at batch sizes 16 to 64, and 2 at 288. A
    nearby size that divides `T` is preferred: a remainder needs a second body to compile, and a
    copy if JAX differentiates the scan.

    Args:
      num_steps: steps, `T`.
      batch_shape: batch axes.
      rows: target number of rows of a chunk's product on each device.
      most: largest chunk size before the search for a size that divides `T`.
    """
    if not known(num_steps):
        return 1  # divides any number of steps
    batch = math.prod(batch_shape) // batch_parts(batch_shape) if known(*batch_shape) else 1
    best = min(most, max(1, round(rows / max(1, batch))))
    near = range(max(1, (best + 1) // 2), best + best // 4 + 1)
    dividing = [size for size in near if num_steps % size == 0]
    return min(dividing, key=lambda size: abs(size - best), default=best)
