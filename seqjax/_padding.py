"""Lengths and masks of padded batches."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from seqjax._checks import check_integers, check_range, check_shape

UNROLL = "seqjax.unroll"


def valid_steps(
    num_steps: int,
    batch_shape: tuple[int, ...],
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    *,
    where: str = UNROLL,
) -> Array | None:
    """Returns which steps are valid: before the sequence's length and not masked out.

    Args:
      num_steps: padded length, `T`.
      batch_shape: batch axes, `B`.
      lengths: valid steps of each sequence, integers of shape (*B,), 0 <= length <= T, or None.
      mask: True at the valid steps, booleans of shape (T, *B), or None.
      where: the function or layer that is called, for messages.

    Returns:
      Booleans of shape (T, *B), or None if both arguments are None and every step is valid.

    Raises:
      ValueError: if a shape is wrong, or a length known while tracing is out of range.
      TypeError: if `lengths` is not integer or `mask` is not boolean.

    Example:
      >>> import jax.numpy as jnp
      >>> valid_steps(3, (2,), lengths=jnp.array([1, 3])).T.tolist()
      [[True, False, False], [True, True, True]]
    """
    valid = None
    if lengths is not None:
        lengths = checked_lengths(where, lengths, batch_shape, num_steps)
        steps = jnp.arange(num_steps).reshape(-1, *(1 for _ in batch_shape))
        valid = steps < lengths[None]
    if mask is not None:
        mask = boolean_steps("mask", mask, num_steps, batch_shape)
        valid = mask if valid is None else valid & mask
    return valid


def checked_lengths(
    where: str, lengths: ArrayLike, batch_shape: tuple[int, ...], num_steps: int
) -> Array:
    """Returns lengths as an array after checking dtype, shape and, if known, range."""
    given, lengths = lengths, as_array("lengths", lengths, where)
    check_integers(where, "lengths", lengths)
    check_shape(where, "lengths", lengths, "(*B,)", batch_shape, hint(where))
    advice = " Truncate the sequences or pad the batch further."
    check_range(where, "lengths", given, num_steps, "T", advice)
    return lengths


def hint(where: str) -> str:
    """Returns what to do about other axes; a layer is batch first, so there it is nothing."""
    return " Batch-first data needs jnp.swapaxes(x, 0, 1) first." if where == UNROLL else ""


def as_array(name: str, value: ArrayLike, where: str = UNROLL) -> Array:
    """Returns an argument as an array, or raises if it is not an array of numbers."""
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(
            f"{where}: `{name}` must be an array of numbers, got {type(value).__name__}."
        ) from None


def boolean_steps(
    name: str, steps: ArrayLike, num_steps: int, batch_shape: tuple[int, ...]
) -> Array:
    """Returns `steps` as an array after checking that it is boolean and has shape (T, *B)."""
    steps = as_array(name, steps)
    if steps.dtype != jnp.bool_:
        raise TypeError(
            f"seqjax.unroll: `{name}` must be boolean, got {steps.dtype}. Pass {name}.astype(bool)."
        )
    check_shape(UNROLL, name, steps, "(T, *B)", (num_steps, *batch_shape), hint(UNROLL))
    return steps


def known(*sizes: int) -> bool:
    """Returns whether all sizes are numbers, not the symbolic dimensions of `jax.export`."""
    return all(isinstance(size, int) for size in sizes)


def select(condition: Array, on_true: Array, on_false: Array) -> Array:
    """Applies `jnp.where`, with the condition broadcast over the trailing feature axes."""
    trailing = on_true.ndim - condition.ndim
    condition = condition.reshape(condition.shape + (1,) * trailing)
    return jnp.where(condition, on_true, on_false)


def choose(condition: Array | None, on_true: Any, on_false: Any) -> Any:
    """Applies `select` to the leaves of two trees; a condition of None holds everywhere."""
    if condition is None:
        return on_true
    return jax.tree.map(functools.partial(select, condition), on_true, on_false)


def zeros_unless(condition: Array | None, tree: Any) -> Any:
    """Returns a tree with zeros where the condition does not hold; None holds everywhere."""
    if condition is None:
        return tree
    return choose(condition, tree, jax.tree.map(jnp.zeros_like, tree))


def first_steps(
    fresh: Array, valid: Array | None, resets: Array | None, num_steps: int, *, reverse: bool
) -> tuple[Array, Array]:
    """Returns where sequences start, and whether a start is still pending after each step.

    Args:
      fresh: whether the incoming state has seen no valid step, booleans (*B,).
      valid: which steps are valid, booleans (T, *B), or None.
      resets: True where the state is reset before the step, booleans (T, *B), or None.
      num_steps: steps, `T`.
      reverse: whether time runs from the last step to the first.

    Returns:
      `(starts, fresh)`, both booleans (T, *B). `starts` is True at the first valid step of a
      sequence and at the first valid step after a reset. `fresh` is True after a step if no valid
      step has come since the start or the last reset.

    Example:
      >>> import jax.numpy as jnp
      >>> valid = jnp.array([False, True, True, False, True])[:, None]
      >>> resets = jnp.array([False, False, False, True, False])[:, None]
      >>> starts, _ = first_steps(jnp.array([True]), valid, resets, 5, reverse=False)
      >>> starts[:, 0].tolist()
      [False, True, False, False, True]
    """
    shape = (num_steps, *fresh.shape)
    valid = jnp.ones(shape, bool) if valid is None else valid
    resets = jnp.zeros(shape, bool) if resets is None else resets
    if reverse:
        valid, resets = valid[::-1], resets[::-1]
    step = jnp.broadcast_to(jnp.arange(num_steps).reshape(-1, *(1 for _ in fresh.shape)), shape)
    last_reset = lax.cummax(jnp.where(resets, step, -1))
    last_valid = lax.cummax(jnp.where(valid, step, -1))
    valid_before = jnp.concatenate([jnp.full_like(last_valid[:1], -1), last_valid[:-1]])
    waiting = (last_reset > valid_before) | ((valid_before < 0) & fresh[None])
    starts, after = waiting & valid, waiting & ~valid
    return (starts[::-1], after[::-1]) if reverse else (starts, after)


def last_valid(ys: Array, valid: Array | None, *, reverse: bool = False) -> Array:
    """Returns the output at the last valid step of a run, (*B, N); zeros if no step is valid.

    Args:
      ys: outputs of `unroll`, shape (T, *B, N), zero at the invalid steps.
      valid: which steps are valid, booleans (T, *B), or None.
      reverse: whether the run goes backwards in time. Its last step is then the first valid step.
    """
    if not ys.shape[0]:
        return jnp.zeros(ys.shape[1:], ys.dtype)
    if valid is None:
        return ys[0 if reverse else -1]
    first = jnp.argmax(valid if reverse else valid[::-1], axis=0)
    step = first if reverse else ys.shape[0] - 1 - first
    return jnp.take_along_axis(ys, step[None, ..., None], axis=0)[0]
