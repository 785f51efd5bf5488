"""The adding problem: two marked numbers among many, whose sum is the answer at the end."""

import numpy as np

from seqjax._checks import check_sizes
from seqjax.data._sequences import Sequences, make_sequences

ADDING_CHANCE = 1 / 6
"""Mean squared error of always answering 1, the variance of the sum of two uniform numbers."""


def adding(rng: np.random.Generator, batch_size: int, length: int) -> Sequences:
    """Draws the adding problem.

        x_t = (u_t, m_t),  u_t ~ U(0, 1),  m_t = 1 at one t < T // 2 and one t >= T // 2, else 0
        y = sum_t m_t u_t

    Always answering 1 has a mean squared error of 1/6, the variance of two uniform numbers' sum.

    Args:
      rng: the source of randomness; each call draws new data.
      batch_size: sequences, B.
      length: steps, T, at least 2.

    Returns:
      Inputs (B, T, 2), targets (B, 1).

    Raises:
      ValueError: if `length` is below 2.

    Example:
      >>> task = adding(np.random.default_rng(0), 3, 50)
      >>> value, mark = task.inputs[..., 0], task.inputs[..., 1]
      >>> bool(np.allclose((value * mark).sum(1), task.targets[:, 0]))
      True

    Reference: Hochreiter and Schmidhuber (1997), Long short-term memory; with the marks in two
    halves as in Arjovsky et al. (2016), Unitary evolution recurrent neural networks.
    """
    check_sizes("adding", batch_size=batch_size)
    check_sizes("adding", at_least=2, length=length)
    values = rng.random((batch_size, length), np.float32)
    rows, half = np.arange(batch_size), length // 2
    marks = np.zeros_like(values)
    marks[rows, rng.integers(0, half, batch_size)] = 1
    marks[rows, rng.integers(half, length, batch_size)] = 1
    targets = (values * marks).sum(1, keepdims=True)
    return make_sequences(np.stack([values, marks], axis=-1), targets)
