"""Steps and frames of sound, and changes of training inputs that leave the answer as it is."""

import dataclasses
from typing import Any

import jax

import seqjax
from experiments.command_line import setting
from experiments.settings import Settings


@dataclasses.dataclass(frozen=True)
class SoundSettings(Settings):
    """How frames are made of sound, and hidden in training."""

    num_mels: int = setting(40, "bands of a frame of sound", minimum=1)
    stack: int = setting(1, "neighbouring steps that are seen at once", minimum=1)
    stride: int = setting(1, "steps from one that is seen to the next", minimum=1)
    time_masks: int = setting(0, "stretches of time hidden from each training example", minimum=0)
    time_mask_size: int = setting(10, "steps of such a stretch at most", minimum=1)
    feature_masks: int = setting(
        0,
        "ranges of features hidden from each training example, in every frame of a stack",
        minimum=0,
    )
    feature_mask_size: int = setting(8, "features of such a range at most", minimum=1)
    noise: float = setting(
        0.0, "standard deviation of noise on training inputs, in standard units", minimum=0
    )


def augmented(settings: SoundSettings, xs: jax.Array, lengths: Any, key: jax.Array) -> jax.Array:
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
