"""The copying problem: ten symbols to be remembered over a long blank."""

import math

import numpy as np

from seqjax._checks import check_sizes
from seqjax.data._sequences import Sequences, make_sequences

COPYING_SYMBOLS = 10
"""Eight symbols to remember (0 to 7), the blank (8) and the signal to repeat (9)."""
_DATA, _BLANK, _SIGNAL, _MEMORY = 8, 8, 9, 10


def copying_chance(delay: int) -> float:
    """Cross-entropy a step, in nats, of answering blanks and then guessing: `10 ln 8 / (T + 20)`.

    Example:
      >>> round(copying_chance(1000), 4)
      0.0204
    """
    return _MEMORY * math.log(_DATA) / (delay + 2 * _MEMORY)


def copying(rng: np.random.Generator, batch_size: int, delay: int) -> Sequences:
    """Draws the copying problem.

        inputs   s_1 ... s_10, T - 1 blanks, the signal, 10 blanks      s_i one of 8 symbols
        targets  T + 10 blanks, s_1 ... s_10

    Answering blanks and then guessing has a cross-entropy of 10 ln 8 / (T + 20) nats a step.

    Args:
      rng: the source of randomness; each call draws new data.
      batch_size: sequences, B.
      delay: T, at least 1.

    Returns:
      One-hot inputs (B, T + 20, 10), classes as targets, int32 (B, T + 20), an answer at every
      step.

    Raises:
      ValueError: if `delay` is below 1.

    Example:
      >>> task = copying(np.random.default_rng(0), 2, 30)
      >>> bool((task.inputs.argmax(-1)[:, :10] == task.targets[:, -10:]).all())
      True

    Reference: Hochreiter and Schmidhuber (1997), Long short-term memory; in this form Arjovsky et
    al. (2016), Unitary evolution recurrent neural networks.
    """
    check_sizes("copying", batch_size=batch_size, delay=delay)
    symbols = rng.integers(0, _DATA, (batch_size, _MEMORY))
    tokens = np.full((batch_size, delay + 2 * _MEMORY), _BLANK)
    tokens[:, :_MEMORY] = symbols
    tokens[:, delay + _MEMORY - 1] = _SIGNAL
    targets = np.full(tokens.shape, _BLANK, np.int32)
    targets[:, -_MEMORY:] = symbols
    inputs = np.eye(COPYING_SYMBOLS, dtype=np.float32)[tokens]
    return make_sequences(inputs, targets, every_step=True)
