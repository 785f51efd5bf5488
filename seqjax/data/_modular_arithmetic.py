"""Arithmetic modulo five: a chain of digits joined by plus, minus and times."""

import numpy as np

from seqjax.data._parity import draw_lengths
from seqjax.data._sequences import Sequences, make_sequences

MODULUS = 5
MODULAR_ARITHMETIC_CHANCE = 1 / MODULUS
"""Accuracy of guessing (zero is a little likelier than the others in short chains)."""


def modular_arithmetic(
    rng: np.random.Generator, batch_size: int, length: int, *, min_length: int | None = None
) -> Sequences:
    """Draws expressions without brackets, such as `3 - 4 * 2`, and asks for their value mod 5.

    Products bind before sums. The symbols are the digits 0 to 4, then +, - and *.

    Args:
      rng: the source of randomness; each call draws new data.
      batch_size: sequences, B.
      length: the most symbols, T; an expression has an odd number of them, so an even one is never
        used up.
      min_length: where given, each expression has a length drawn from `min_length` to `length`.

    Returns:
      One-hot inputs (B, T, 8), zero after a sequence's end; classes as targets, int32 (B,).

    Raises:
      ValueError: unless 1 <= min_length <= length.

    Example:
      >>> task = modular_arithmetic(np.random.default_rng(0), 4, 9, min_length=3)
      >>> task.inputs.shape, bool((task.lengths % 2 == 1).all())
      ((4, 9, 8), True)

    Reference: Deletang et al. (2023), Neural networks and the Chomsky hierarchy.
    """
    lengths = draw_lengths(rng, batch_size, length, min_length)
    lengths -= (lengths % 2 == 0).astype(np.int32)
    tokens = np.where(
        np.arange(length) % 2 == 0,
        rng.integers(0, MODULUS, (batch_size, length)),
        rng.integers(MODULUS, MODULUS + 3, (batch_size, length)),
    )
    real = np.arange(length) < lengths[:, None]
    # From left to right: the sum of the finished terms, and the term that is still growing.
    total = np.zeros(batch_size, np.int64)
    term = tokens[:, 0]
    for step in range(2, length, 2):
        operator, digit = tokens[:, step - 1], tokens[:, step]
        times = operator == MODULUS + 2
        sign = np.where(operator == MODULUS + 1, -1, 1)
        goes_on = real[:, step]
        total = np.where(goes_on & ~times, total + term, total)
        term = np.where(goes_on, np.where(times, term * digit, sign * digit), term) % MODULUS
    targets = ((total + term) % MODULUS).astype(np.int32)
    inputs = np.eye(MODULUS + 3, dtype=np.float32)[tokens] * real[..., None]
    return make_sequences(inputs.astype(np.float32), targets, lengths=lengths)
