"""Parity: whether the ones in a sequence of bits are odd in number."""

import numpy as np

from seqjax._checks import check_sizes
from seqjax.data._sequences import Sequences, make_sequences

PARITY_CHANCE = 0.5
"""Accuracy of guessing."""


def parity(
    rng: np.random.Generator,
    batch_size: int,
    length: int,
    *,
    min_length: int | None = None,
    every_step: bool = False,
) -> Sequences:
    """Draws sequences of bits and asks for `y = (sum_t b_t) mod 2`.

    Args:
      rng: the source of randomness; each call draws new data.
      batch_size: sequences, B.
      length: the most steps, T.
      min_length: where given, each sequence has a length drawn from `min_length` to `length`.
      every_step: whether the parity of the bits so far is asked for at every step.

    Returns:
      One-hot inputs (B, T, 2), zero after a sequence's end; classes as targets, int32 (B,), or
      with `every_step` (B, T).

    Raises:
      ValueError: unless 1 <= min_length <= length.

    Example:
      >>> task = parity(np.random.default_rng(0), 4, 9)
      >>> bool((task.inputs[..., 1].sum(1) % 2 == task.targets).all())
      True

    Reference: Deletang et al. (2023), Neural networks and the Chomsky hierarchy.
    """
    lengths = draw_lengths(rng, batch_size, length, min_length)
    real = np.arange(length) < lengths[:, None]
    bits = rng.integers(0, 2, (batch_size, length))
    inputs = np.eye(2, dtype=np.float32)[bits] * real[..., None].astype(np.float32)
    targets = ((bits * real).cumsum(1) % 2).astype(np.int32)
    if not every_step:
        return make_sequences(inputs, targets[:, -1], lengths=lengths)
    return make_sequences(
        inputs, targets, weights=real.astype(np.float32), lengths=lengths, every_step=True
    )


def draw_lengths(
    rng: np.random.Generator, batch_size: int, length: int, min_length: int | None
) -> np.ndarray:
    """Draws lengths, int32 (B,), from `min_length` (by default `length`) to `length`.

    Raises:
      ValueError: unless 1 <= min_length <= length.
    """
    least = length if min_length is None else min_length
    check_sizes("seqjax.data", batch_size=batch_size, length=length, min_length=least)
    if not 1 <= least <= length:
        raise ValueError(
            f"seqjax.data: 1 <= min_length <= length is required, got {least} and {length}."
        )
    return rng.integers(least, length + 1, batch_size).astype(np.int32)
