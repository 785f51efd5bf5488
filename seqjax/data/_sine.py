"""Sine waves of random frequency and phase, with or without noise."""

import numpy as np

from seqjax._checks import check_sizes
from seqjax.data._checks import check_numbers


def sine(
    rng: np.random.Generator, batch_size: int, length: int, *, noise: float = 0.0
) -> np.ndarray:
    """Draws waves `x_t = sin(2 pi t / p + phi) + noise e_t`.

    The period `p` is drawn from 10 to 50 steps, evenly in its logarithm, `phi` from the circle,
    `e_t` from the standard normal.

    Args:
      rng: the source of randomness; each call draws new data.
      batch_size: series, B.
      length: steps, T.
      noise: standard deviation of the noise.

    Returns:
      Series of shape (B, T, 1), float32.

    Example:
      >>> sine(np.random.default_rng(0), 2, 30).shape
      (2, 30, 1)
    """
    check_sizes("sine", batch_size=batch_size, length=length)
    check_numbers("sine", noise=noise)
    period = np.exp(rng.uniform(np.log(10), np.log(50), (batch_size, 1)))
    phase = rng.uniform(0, 2 * np.pi, (batch_size, 1))
    waves = np.sin(2 * np.pi * np.arange(length) / period + phase)
    waves += noise * rng.standard_normal(waves.shape)
    return waves[..., None].astype(np.float32)
