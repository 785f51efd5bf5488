"""`unroll`: the one entry through which every cell is run in time."""

import math
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from seqjax._unroll.gated import gates_fit, run_gated
from seqjax._unroll.gated_plan import Operands, Plan
from seqjax._unroll.padding import (
    as_array,
    boolean_steps,
    check_batch,
    known,
    select,
    valid_steps,
)
from seqjax._unroll.parts import batch_parts, run_in_parts
from seqjax._unroll.sequential import Inputs, run_scan
from seqjax._unroll.truncation import run_truncated
from seqjax.cells._base import Cell, GatedCell

EXECUTORS = ("auto", "sequential", "scan")
RESIDUALS = ("auto", "gates", "states", "boundaries")


@overload
def unroll(
    cell: Cell,
    params: Any,
    xs: ArrayLike,
    *,
    initial_state: Any = None,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reverse: bool = False,
    return_states: Literal[False] = False,
    dtype: DTypeLike | None = None,
    carry_dtype: DTypeLike | None = None,
    chunk_size: int | None = None,
    executor: str = "auto",
    residuals: str = "auto",
    truncation: int | tuple[int, int] | None = None,
    state_gradient_clip: float | None = None,
) -> tuple[Array, Any]: ...


@overload
def unroll(
    cell: Cell,
    params: Any,
    xs: ArrayLike,
    *,
    initial_state: Any = None,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reverse: bool = False,
    return_states: Literal[True],
    dtype: DTypeLike | None = None,
    carry_dtype: DTypeLike | None = None,
    chunk_size: int | None = None,
    executor: str = "auto",
    residuals: str = "auto",
    truncation: int | tuple[int, int] | None = None,
    state_gradient_clip: float | None = None,
) -> tuple[Array, Any, Any]: ...


def unroll(
    cell: Cell,
    params: Any,
    xs: ArrayLike,
    *,
    initial_state: Any = None,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reverse: bool = False,
    return_states: bool = False,
    dtype: DTypeLike | None = None,
    carry_dtype: DTypeLike | None = None,
    chunk_size: int | None = None,
    executor: str = "auto",
    residuals: str = "auto",
    truncation: int | tuple[int, int] | None = None,
    state_gradient_clip: float | None = None,
) -> tuple[Array, Any] | tuple[Array, Any, Any]:
    """Runs a cell over sequences, time first.

    A step that is masked out, or lies at or after its sequence's length, leaves the state as it
    was and outputs zero; whatever stands in the input there, NaN included, reaches no output, no
    state and no gradient. The final state is that of the last valid step; a sequence of length 0
    returns the initial state. Two calls with the state carried over equal one call.

    Args:
      cell: the cell.
      params: its parameters, as `cell.init` makes them.
      xs: inputs, shape (T, *B, D), with any number of batch axes, also none.
      initial_state: the state before the first step; by default `cell.initial_state`.
      lengths: valid steps of each sequence, integers of shape (*B,), 0 <= length <= T.
      mask: True at the valid steps, booleans of shape (T, *B). Valid steps need not be adjacent;
        with `lengths` both must hold.
      resets: True where the state becomes `cell.initial_state` before that step is run, booleans
        of shape (T, *B), for packed sequences and episodes. A reset at a masked step counts. With
        `reverse` a step's predecessor is the one after it in time, so packed sequences there need
        a reset at each sequence's last step.
      reverse: whether each sequence runs from its last valid step to its first. Outputs stay at
        their own time index.
      return_states: whether the states after every step are returned too.
      dtype: the dtype of the products; by default that of `xs`. Parameters are cast to it.
      carry_dtype: the dtype of the state; by default `dtype` promoted with float32, so that low
        precision accumulates in float32.
      chunk_size: steps whose input is projected together; by default so many that the projection
        of a chunk has about 512 rows on each device, at most 10.
      executor: "auto", "sequential" (step after step; a `GatedCell` with a backward pass of its
        own) or "scan" (a `lax.scan` that JAX differentiates). All give the same numbers.
      residuals: what is kept for the backward pass beside `xs`. For a `GatedCell`: the inputs of
        the "gates" and the states, the least time; the "states" alone; or of the states only those
        at the "boundaries" of segments of about sqrt(T) steps, the least memory, by the operations
        of "states" in their order (the same bits, unless a compiler fuses the two programs
        differently). "auto" keeps the gates' up to 64 MiB, and beyond that the states. For other
        cells "boundaries" rematerialises (`jax.checkpoint`) each segment.
      truncation: truncated back-propagation through time: `(k1, k2)` lets the gradient of each
        block of k1 steps flow back to at most k2 steps before the block's end, k1 <= k2; `k` is
        `(k, k)`. The values stay those of the full run.
      state_gradient_clip: every element of the gradient that a step hands back to the step before
        it is clipped to at most this magnitude.

    Returns:
      `(ys, state)`: outputs of shape (T, *B, H) in `dtype`, and the final state in `carry_dtype`.
      With `return_states`, `(ys, state, states)`, where the leaves of `states` are (T, *B, ...).

    Raises:
      ValueError: if a shape does not fit, lengths known while tracing are out of range, or the
        executor, the residuals or the truncation are unknown.
      TypeError: if `xs` is not floating, `lengths` not integer, or `mask` or `resets` not boolean.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.lstm(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> xs = jnp.ones((5, 2, 3))
      >>> ys, state = seqjax.unroll(cell, params, xs, lengths=jnp.array([5, 2]))
      >>> ys.shape, bool((ys[2:, 1] == 0).all()), bool((state.hidden[1] == ys[1, 1]).all())
      ((5, 2, 4), True, True)
    """
    if executor not in EXECUTORS:
        raise ValueError(
            f"seqjax.unroll: unknown executor {executor!r}; the known executors are "
            f"{', '.join(EXECUTORS)}."
        )
    if residuals not in RESIDUALS:
        raise ValueError(
            f"seqjax.unroll: `residuals` must be one of {', '.join(RESIDUALS)}, got {residuals!r}."
        )
    if state_gradient_clip is not None and not _number(state_gradient_clip, above=0):
        raise ValueError(
            "seqjax.unroll: `state_gradient_clip` must be a number above 0, got "
            f"{state_gradient_clip!r}. None clips nothing."
        )
    blocks = check_truncation(truncation)
    if chunk_size is not None and not _integer(chunk_size, at_least=1):
        raise ValueError(
            f"seqjax.unroll: `chunk_size` must be an integer of at least 1, got {chunk_size!r}."
        )
    gated = cell if isinstance(cell, GatedCell) and executor != "scan" else None
    xs = as_array("xs", xs)
    if xs.ndim < 2:
        raise ValueError(
            f"seqjax.unroll: `xs` must have shape (T, *B, D), got {xs.shape}. "
            "A sequence of numbers needs xs[:, None]."
        )
    dtype = xs.dtype if dtype is None else _dtype("dtype", dtype)
    if not jnp.issubdtype(dtype, jnp.floating) or jnp.iscomplexobj(xs):
        got = xs.dtype if jnp.iscomplexobj(xs) else dtype
        raise TypeError(
            f"seqjax.unroll: `xs` must be floating, got {got}. Embed token ids first, or pass "
            "xs.astype(float)."
        )
    if carry_dtype is None:
        carry_dtype = jnp.promote_types(dtype, jnp.float32)
    carry_dtype = _dtype("carry_dtype", carry_dtype)
    if not jnp.issubdtype(carry_dtype, jnp.floating):
        raise TypeError(f"seqjax.unroll: `carry_dtype` must be floating, got {carry_dtype}.")
    num_steps, batch_shape = xs.shape[0], xs.shape[1:-1]
    if chunk_size is None:
        chunk_size = default_chunk_size(num_steps, batch_shape)
        if residuals == "boundaries" and gated is None:
            chunk_size = math.ceil(math.sqrt(max(1, num_steps)))
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    valid = valid_steps(num_steps, batch_shape, lengths, mask)
    if resets is not None:
        resets = boolean_steps("resets", resets, num_steps, batch_shape)

    reset_state = cell.initial_state(params, batch_shape, carry_dtype)
    state = reset_state
    if initial_state is not None:
        check_state(cell, initial_state, reset_state, batch_shape)
        state = jax.tree.map(lambda leaf: jnp.asarray(leaf, carry_dtype), initial_state)

    def run(inputs: Inputs, state, reset_state, *, reverse=False, frozen=False, all_states=True):
        fixed = jax.lax.stop_gradient(params) if frozen else params
        if gated is not None and inputs.xs.shape[0]:
            kept = residuals
            if kept == "auto":
                kept = "gates" if gates_fit(inputs.xs, params) else "states"
            plan = Plan(gated, reverse, chunk_size, kept, all_states, state_gradient_clip)
            reset_state = None if inputs.resets is None else reset_state
            fixed = fixed._replace(initial_state=None)
            operands = Operands(fixed, inputs.xs, state, reset_state)
            return run_gated(plan, operands, inputs.valid, inputs.resets)

        def plain(params, inputs, state, reset_state):
            return run_scan(
                cell,
                params,
                inputs,
                state,
                reset_state,
                reverse=reverse,
                chunk_size=chunk_size,
                remat=residuals == "boundaries",
                state_gradient_clip=state_gradient_clip,
            )[:2]

        return run_in_parts(plain, fixed, inputs, state, reset_state)

    inputs = Inputs(xs.astype(dtype), valid, resets)
    if blocks is None or max(blocks) >= num_steps:
        final, states = run(inputs, state, reset_state, reverse=reverse, all_states=return_states)
    else:
        final, states = run_truncated(
            run, inputs, state, reset_state, truncation=blocks, reverse=reverse
        )
    ys = cell.output(states).astype(dtype)
    if valid is not None:
        ys = select(valid, ys, jnp.zeros_like(ys))
    return (ys, final, states) if return_states else (ys, final)


def default_chunk_size(num_steps: int, batch_shape: tuple[int, ...]) -> int:
    """Returns how many steps are projected together.

    Few leave the product too small to be fast, many push its result out of the cache: on a CPU 8
    steps are best for 16 to 64 rows, 2 for 288. A number that divides the steps is preferred to one
    near it: what is left over is one more body to compile, and a copy where JAX differentiates.
    """
    if not known(num_steps):
        return 1  # of any number of steps nothing is left over
    rows = math.prod(batch_shape) // batch_parts(batch_shape) if known(*batch_shape) else 1
    best = min(8, max(1, round(512 / max(1, rows))))
    near = range(max(1, (best + 1) // 2), best + best // 4 + 1)
    dividing = [size for size in near if num_steps % size == 0]
    return min(dividing, key=lambda size: abs(size - best), default=best)


def check_truncation(truncation: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """Returns `(k1, k2)`, or None for the full gradient; refuses what is neither."""
    if truncation is None:
        return None
    blocks = truncation if isinstance(truncation, tuple | list) else (truncation, truncation)
    sound = len(blocks) == 2 and all(_integer(block, at_least=1) for block in blocks)
    if not (sound and blocks[0] <= blocks[1]):
        raise ValueError(
            "seqjax.unroll: `truncation` must be integers (k1, k2) with 1 <= k1 <= k2, or one for "
            f"both, got {truncation!r}."
        )
    return blocks[0], blocks[1]


def _integer(value: Any, *, at_least: int) -> bool:
    return isinstance(value, int | np.integer) and bool(value >= at_least)


def _number(value: Any, *, above: float) -> bool:
    return isinstance(value, int | float | np.number) and bool(value > above)


def _dtype(name: str, value: Any) -> jnp.dtype:
    try:
        return jnp.dtype(value)
    except TypeError:
        raise TypeError(f"seqjax.unroll: `{name}` must be a dtype, got {value!r}.") from None


def check_state(cell: Cell, got: Any, expected: Any, batch_shape: tuple[int, ...]) -> None:
    """Refuses an initial state of another structure or batch than the cell's."""
    if jax.tree.structure(got) != jax.tree.structure(expected):
        raise ValueError(
            f"seqjax.unroll: `initial_state` must be a {type(expected).__name__} as {cell.name} "
            f"makes it, got {type(got).__name__}. Start from cell.initial_state(params, batch)."
        )
    for leaf, wanted in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        if jnp.shape(leaf) != wanted.shape:
            check_batch("initial_state", jnp.shape(leaf)[: len(batch_shape)], batch_shape)
            raise ValueError(
                f"seqjax.unroll: `initial_state` must have leaves of shape {wanted.shape} for "
                f"{cell!r}, got {jnp.shape(leaf)}. Start from cell.initial_state(params, batch)."
            )
