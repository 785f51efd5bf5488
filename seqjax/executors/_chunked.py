"""`Chunked` runs cells with a matrix as memory, and keeps the matrix between chunks only."""

import dataclasses
import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from seqjax._checks import check_optional_sizes
from seqjax._padding import select, zeros_unless
from seqjax.cells._cell import Cell
from seqjax.cells._matrix import MatrixCell, Memory, Writes, reads_by_query
from seqjax.executors._chunks import default_chunk_size, scan_chunks
from seqjax.executors._executor import Run
from seqjax.executors._parts import run_in_parts
from seqjax.executors._sequential import Sequential

FAR = -1e30
"""Stands for the logarithm of zero; sums and differences of it are finite."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chunked:
    """Runs a cell with a matrix as memory some steps at a time, by products of queries and keys.

        found_t = decay(0, t) S_0^T q_t + sum over s <= t of (q_t . decay(s, t) k_s) u_s

    `S_0` is the memory before the chunk. The sum runs over the steps of the chunk. No step's matrix
    is computed, so memory and time are near those of the projections. A cell that corrects what it
    has stored (`delta_net`) needs the `u` of earlier steps; they solve a triangular system (the WY
    form). Decays are added as logarithms, and nothing is divided by a decay. The backward pass
    keeps the memory between chunks and computes each chunk again.

    With `return_states` the cell runs as in `Sequential`.

    Attributes:
      chunk_size: steps of a chunk; by default about 16, or 8 for one decay a feature of the key.

    Raises:
      ValueError: if `chunk_size` is below 1.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.gla(4, heads=2)
      >>> params, xs = cell.init(jax.random.key(0), 3), jnp.ones((20, 2, 3))
      >>> ys, _ = seqjax.unroll(cell, params, xs, executor=seqjax.executors.Chunked())
      >>> bool(jnp.allclose(ys, seqjax.unroll(cell, params, xs, executor="scan")[0], atol=1e-5))
      True

    Reference: Yang et al. (2024), Gated linear attention transformers with hardware-efficient
    training; Yang et al. (2024), Parallelizing linear transformers with the delta rule over
    sequence length; Dao and Gu (2024), Transformers are SSMs.
    """

    chunk_size: int | None = None

    def __post_init__(self) -> None:
        """Refuses a size out of range."""
        check_optional_sizes("seqjax.executors.Chunked", chunk_size=self.chunk_size)

    def refusal(self, cell: Cell) -> str | None:
        """Refuses a cell without queries, and one that has a step or an output of its own."""
        if reads_by_query(cell):
            return None
        return f"it needs a cell that reads a matrix by a query, such as gla or mlstm, got {cell!r}"

    def run(self, run: Run) -> tuple[Any, Any]:
        """Runs the cell step by step, since the caller asks for states."""
        return Sequential().run(run)

    def run_outputs(self, run: Run) -> tuple[Any, Array]:
        """Returns the final state and the outputs, (T, *B, out_size)."""
        return run_in_parts(functools.partial(_run, self.chunk_size), run)


def _run(chunk_size: int | None, run: Run) -> tuple[Any, Array]:
    cell, params, inputs = cast(MatrixCell, run.cell), run.params, run.inputs
    xs = inputs.clean_xs()
    writes, query = cell.writes(params, xs), cell.query(params, xs)
    if inputs.valid is not None:
        writes = _without_invalid(writes, inputs.valid)
    if chunk_size is None:
        most = 16 if writes.log_decay.shape[-1] == 1 else 8
        chunk_size = default_chunk_size(xs.shape[0], (), rows=most, most=most)
    given = cell.as_memory(run.state), writes, query
    (memory, writes, query), spoilt = _without_spoilt(given, inputs.resets, run.reverse)

    def chunk(memory: Memory, _: Any, at: Any) -> tuple[Memory, Memory]:
        return _chunk(memory, at, run.reverse)

    body, along = jax.checkpoint(chunk, prevent_cse=False), (writes, query, inputs.resets)
    memory, found = scan_chunks(body, memory, along, chunk_size=chunk_size, reverse=run.reverse)

    def spoil(where: Array, tree: Any) -> Any:
        return jax.tree.map(lambda leaf: select(where, jnp.full_like(leaf, jnp.nan), leaf), tree)

    found, memory = spoil(spoilt, found), spoil(spoilt[0 if run.reverse else -1], memory)
    return cell.as_state(memory, run.state), cell.answer(params, found, xs)


def _without_invalid(writes: Writes, valid: Array) -> Writes:
    """Returns writes that do nothing at the invalid steps."""
    key, log_decay = zeros_unless(valid, (writes.key, writes.log_decay))
    writes = writes._replace(key=key, log_decay=log_decay)
    if writes.log_weight is None:
        return writes
    weight = select(valid, writes.log_weight, jnp.full_like(writes.log_weight, FAR))
    return writes._replace(log_weight=weight)


def _without_spoilt(
    given: tuple[Memory, Writes, Array], resets: Array | None, reverse: bool
) -> tuple[tuple[Memory, Writes, Array], Array]:
    """Replaces the steps that are not finite, and returns which outputs they spoil, (T, *B).

    Products mix all steps of a chunk, and zero times infinity is NaN. Without this, such a step
    would reach the outputs before it and those after a reset.
    """
    memory, writes, query = given
    # Without the barrier, XLA computes the check of an initial state of zeros while compiling.
    memory = lax.optimization_barrier(memory)
    lead = writes.key.ndim - 2

    def finite(leaf: Array, lead: int) -> Array:
        return jnp.isfinite(leaf).all(axis=tuple(range(lead, leaf.ndim)))

    start = finite(memory.matrix, lead - 1)
    sound = functools.reduce(
        jnp.logical_and, (finite(leaf, lead) for leaf in jax.tree.leaves((writes, query)))
    )
    given = zeros_unless(start, memory), *zeros_unless(sound, (writes, query))

    steps = jnp.arange(len(sound)).reshape(-1, *(1,) * (lead - 1))
    steps = jnp.broadcast_to(steps[::-1] if reverse else steps, sound.shape)
    last = functools.partial(lax.cummax, reverse=reverse)
    bad = jnp.where(sound, -2, steps)
    bad = last(jnp.maximum(bad, jnp.where(start, -2, -1)[None]))
    clear = jnp.full_like(steps, -2)
    if resets is not None:
        clear = last(jnp.where(resets, steps, -2))
    return given, (bad >= clear) & (bad > -2)


@functools.cache
def _sums(size: int) -> np.ndarray:
    """Returns the matrix (C, C * (C + 1)) that sums the logarithms between two steps.

    Column (t, s) has ones at the steps s, ..., t, without s - 1: the decay of what step s - 1 wrote
    and step t reads. Column (t, 0) starts before the chunk. A sum has no cancellation, which a
    difference of running sums would have.
    """
    step, to, since = np.ogrid[:size, :size, : size + 1]
    return ((step >= since) & (step <= to)).reshape(size, -1)


def _chunk(memory: Memory, at: Any, reverse: bool) -> tuple[Memory, Memory]:
    """Returns the memory after the steps of a chunk, and what its queries found."""
    writes, query, resets = jax.tree.map(lambda leaf: leaf[::-1], at) if reverse else at
    dtype = jnp.promote_types(memory.matrix.dtype, jnp.float32)
    product = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)

    def time_last(leaf: Array) -> Array:
        return jnp.moveaxis(leaf.astype(dtype), 0, -1)

    key, value, query = (
        jnp.moveaxis(x.astype(dtype), 0, -2) for x in (writes.key, writes.value, query)
    )
    size = key.shape[-2]
    log_decay = time_last(writes.log_decay)
    since = product("...r,rp->...p", log_decay, jnp.asarray(_sums(size), dtype))
    since = since.reshape(*log_decay.shape, size + 1)
    seen = jnp.tril(jnp.ones((size, size + 1), bool), 1)
    seen = seen[(None,) * (since.ndim - 2)]
    if resets is not None:
        count = jnp.moveaxis(jnp.cumsum(resets, axis=0), 0, -1)
        before = jnp.concatenate([jnp.zeros_like(count[..., :1]), count], axis=-1)
        same = count[..., :, None] == before[..., None, :]
        seen = seen & same[..., None, None, :, :]
    since = jnp.where(seen, since, FAR)
    scale = None
    if writes.log_weight is not None and memory.log_scale is not None:
        start = jnp.maximum(memory.log_scale.astype(dtype), FAR)[..., None]
        since = (
            since + jnp.concatenate([start, time_last(writes.log_weight)], axis=-1)[..., None, :]
        )
        scale = since.max(axis=-1)  # (*B, n, 1, C)
        since = since - scale[..., None]
    factors = jnp.where(seen, jnp.exp(since), 0)
    first, pairs = factors[..., 0], factors[..., 1:]  # (*B, n, K, C) and (*B, n, K, C, C)

    def scores(left: Array) -> Array:
        if pairs.shape[-3] == 1:
            return product("...tk,...sk->...ts", left, key) * pairs[..., 0, :, :]
        return product("...tk,...sk,...kts->...ts", left, key, pairs)

    def from_before(left: Array) -> Array:
        return product("...tk,...kv->...tv", left * jnp.swapaxes(first, -1, -2), memory.matrix)

    if writes.rate is not None:
        rate = jnp.moveaxis(writes.rate.astype(dtype), 0, -1)[..., None]
        lower = jnp.tril(rate * scores(key), -1)
        value = product("...ts,...sv->...tv", _inverse(lower), rate * (value - from_before(key)))
    found = product("...ts,...sv->...tv", scores(query), value) + from_before(query)
    kept = key * jnp.swapaxes(pairs[..., -1, :], -1, -2)
    matrix = first[..., -1:] * memory.matrix + product("...sk,...sv->...kv", kept, value)
    found = jnp.moveaxis(found, -2, 0)
    if scale is not None:
        scale = jnp.moveaxis(jnp.where(scale > FAR / 2, scale, -jnp.inf), -1, 0)
    found = Memory(
        found[::-1] if reverse else found, scale if scale is None or not reverse else scale[::-1]
    )
    after = Memory(matrix, None if scale is None else scale[-1])
    after = jax.tree.map(lambda new, old: new.astype(old.dtype), after, memory)
    return after, found


def _inverse(lower: Array) -> Array:
    """Returns the inverse of `I + lower` for strictly lower triangular matrices.

    Doubles the size of diagonal blocks that are inverted. A product of powers of `lower` would be
    shorter, but its terms can be far larger than the result.
    """
    size = lower.shape[-1]
    row, column = np.ogrid[:size, :size]
    inverse, block = jnp.broadcast_to(jnp.eye(size, dtype=lower.dtype), lower.shape), 1
    while block < size:
        joined = (row // (2 * block) == column // (2 * block)) & (row // block > column // block)
        part = jnp.where(joined[(None,) * (lower.ndim - 2)], lower, 0)
        if block > 1:
            part = jnp.matmul(
                inverse, jnp.matmul(part, inverse, precision="highest"), precision="highest"
            )
        inverse, block = inverse - part, 2 * block
    return inverse
