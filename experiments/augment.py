"""Training inputs changed in ways that leave the answer as it is."""

from typing import Any, Protocol

import jax

import seqjax


class Settings(Protocol):
    """What a configuration says of it."""

    @property
    def stack(self) -> int:
        """Frames that a step has beside each other."""
        ...

    @property
    def time_masks(self) -> int:
        """Stretches of time hidden from each sequence."""
        ...

    @property
    def time_mask_size(self) -> int:
        """Steps of such a stretch at most."""
        ...

    @property
    def feature_masks(self) -> int:
        """Ranges of features hidden from each sequence."""
        ...

    @property
    def feature_mask_size(self) -> int:
        """Features of such a range at most."""
        ...

    @property
    def noise(self) -> float:
        """Standard deviation of added noise."""
        ...


def augmented(settings: Settings, xs: jax.Array, lengths: Any, key: jax.Array) -> jax.Array:
    """Returns features with noise, and with parts of them hidden.

    Args:
      settings: how much of it.
      xs: features in standard units, shape (B, T, D).
      lengths: real steps of each sequence, (B,).
      key: PRNG key.

    Returns:
      Array of the shape of `xs`.
    """
    keys = jax.random.split(key, 3)
    if settings.noise:
        xs = xs + settings.noise * jax.random.normal(keys[0], xs.shape, xs.dtype)
    if settings.time_masks:
        xs = seqjax.nn.mask_steps(
            keys[1], xs, lengths, num=settings.time_masks, size=settings.time_mask_size
        )
    if settings.feature_masks:
        # The same range in every frame of a stack: what one hides another must not show.
        frames = xs.reshape(len(xs), xs.shape[1] * settings.stack, -1)
        frames = seqjax.nn.mask_features(
            keys[2], frames, num=settings.feature_masks, size=settings.feature_mask_size
        )
        xs = frames.reshape(xs.shape)
    return xs
