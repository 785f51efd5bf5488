"""Masks that hide parts of a sequence during training."""

import jax
import jax.numpy as jnp
from jax import Array

from seqjax._checks import check_sizes
from seqjax._padding import checked_lengths


def mask_steps(key: Array, xs: Array, lengths: Array, *, num: int, size: int) -> Array:
    """Replaces random spans of time with zeros, drawn separately for each sequence.

    A span has 0 to `size` steps, but at most a quarter of the sequence. Its width is uniform, and
    given the width, so is its position.

    Args:
      key: random key.
      xs: shape (B, T, D), scaled so that 0 is a neutral value.
      lengths: valid steps of each sequence, (B,).
      num: number of spans per sequence; they may overlap.
      size: largest width of a span.

    Returns:
      Array of the shape of `xs`.

    Raises:
      ValueError: if a shape does not fit, or `num` or `size` is negative.

    Example:
      >>> xs, lengths = jnp.ones((2, 40, 1)), jnp.array([40, 4])
      >>> masked = mask_steps(jax.random.key(0), xs, lengths, num=1, size=8)
      >>> bool(((masked == 0).sum(1)[:, 0] <= jnp.array([8, 1])).all())
      True

    Reference: Park et al. (2019), SpecAugment: a simple data augmentation method for automatic
    speech recognition.
    """
    _check("seqjax.nn.mask_steps", xs, num, size)
    lengths = checked_lengths("seqjax.nn.mask_steps", lengths, xs.shape[:1], xs.shape[1])
    hidden = _stretches(key, lengths, xs.shape[1], num, jnp.minimum(size, lengths // 4))
    return jnp.where(hidden[:, :, None], 0, xs)


def mask_features(key: Array, xs: Array, *, num: int, size: int) -> Array:
    """Replaces random spans of adjacent features with zeros, at all steps of a sequence.

    Args:
      key: random key.
      xs: shape (B, T, D), scaled so that 0 is a neutral value.
      num: number of spans per sequence; they may overlap.
      size: largest width of a span; the width is uniform from 0 to `size`.

    Returns:
      Array of the shape of `xs`.

    Raises:
      ValueError: if `xs` does not have three axes, or `num` or `size` is negative.

    Example:
      >>> masked = mask_features(jax.random.key(0), jnp.ones((2, 3, 40)), num=1, size=8)
      >>> bool((masked == masked[:, :1]).all())
      True

    Reference: Park et al. (2019), SpecAugment.
    """
    _check("seqjax.nn.mask_features", xs, num, size)
    whole = jnp.full(xs.shape[0], xs.shape[2])
    hidden = _stretches(key, whole, xs.shape[2], num, jnp.minimum(size, whole))
    return jnp.where(hidden[:, None, :], 0, xs)


def _check(where: str, xs: Array, num: int, size: int) -> None:
    check_sizes(where, at_least=0, num=num, size=size)
    if xs.ndim != 3:
        raise ValueError(f"{where}: `xs` must have shape (B, T, D), got {xs.shape}.")


def _stretches(key: Array, lengths: Array, total: int, num: int, size: Array) -> Array:
    """Draws random spans and returns True inside them, (B, total)."""
    width_key, start_key = jax.random.split(key)
    shape = (len(lengths), num)
    widths = jax.random.randint(width_key, shape, 0, size[:, None] + 1)
    starts = jax.random.randint(start_key, shape, 0, lengths[:, None] - widths + 1)
    steps = jnp.arange(total)[None, None]
    inside = (steps >= starts[..., None]) & (steps < (starts + widths)[..., None])
    return inside.any(axis=1)
