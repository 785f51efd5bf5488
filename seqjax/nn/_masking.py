"""Masks that hide parts of a sequence in training."""

import jax
import jax.numpy as jnp
from jax import Array


def mask_steps(key: Array, xs: Array, lengths: Array, *, num: int, size: int) -> Array:
    """Replaces stretches of time by zeros, drawn anew for every sequence.

    Each stretch has 0 to `size` steps, at most a quarter of the sequence, all widths and then all
    places being equally likely.

    Args:
      key: PRNG key.
      xs: shape (B, T, D), in units in which 0 says nothing.
      lengths: real steps of each sequence, (B,).
      num: stretches a sequence; they may overlap.
      size: the longest.

    Returns:
      Array of the shape of `xs`.

    Example:
      >>> xs, lengths = jnp.ones((2, 40, 1)), jnp.array([40, 4])
      >>> masked = mask_steps(jax.random.key(0), xs, lengths, num=1, size=8)
      >>> bool(((masked == 0).sum(1)[:, 0] <= jnp.array([8, 1])).all())
      True

    Reference: Park et al. (2019), SpecAugment: a simple data augmentation method for automatic
    speech recognition.
    """
    hidden = _stretches(key, lengths, xs.shape[1], num, jnp.minimum(size, lengths // 4))
    return jnp.where(hidden[:, :, None], 0, xs)


def mask_features(key: Array, xs: Array, *, num: int, size: int) -> Array:
    """Replaces neighbouring features by zeros, at all steps of a sequence alike.

    Args:
      key: PRNG key.
      xs: shape (B, T, D), in units in which 0 says nothing.
      num: stretches of features a sequence; they may overlap.
      size: the widest, 0 to `size` being equally likely.

    Returns:
      Array of the shape of `xs`.

    Example:
      >>> masked = mask_features(jax.random.key(0), jnp.ones((2, 3, 40)), num=1, size=8)
      >>> bool((masked == masked[:, :1]).all())
      True

    Reference: Park et al. (2019), SpecAugment.
    """
    whole = jnp.full(xs.shape[0], xs.shape[2])
    hidden = _stretches(key, whole, xs.shape[2], num, jnp.minimum(size, whole))
    return jnp.where(hidden[:, None, :], 0, xs)


def _stretches(key: Array, lengths: Array, total: int, num: int, size: Array) -> Array:
    """Returns True inside drawn stretches, (B, total)."""
    width_key, start_key = jax.random.split(key)
    shape = (len(lengths), num)
    widths = jax.random.randint(width_key, shape, 0, size[:, None] + 1)
    starts = jax.random.randint(start_key, shape, 0, lengths[:, None] - widths + 1)
    steps = jnp.arange(total)[None, None]
    inside = (steps >= starts[..., None]) & (steps < (starts + widths)[..., None])
    return inside.any(axis=1)
