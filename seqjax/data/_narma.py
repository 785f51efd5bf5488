"""NARMA-10: a nonlinear system of order ten, to be imitated from its input."""

import numpy as np

from seqjax._checks import check_sizes
from seqjax.data._sequences import Sequences, make_sequences

_ORDER = 10


def narma10(rng: np.random.Generator, batch_size: int, length: int) -> Sequences:
    """Draws the nonlinear autoregressive moving average of order ten.

        y_{t+1} = 0.3 y_t + 0.05 y_t (y_t + ... + y_{t-9}) + 1.5 u_t u_{t-9} + 0.1,  u_t ~ U(0, 0.5)

    The system starts at rest, u and y being 0 before the first step. Seldom it runs away; such a
    sequence (|y| above 1) is drawn again.

    Args:
      rng: the source of randomness; each call draws new data.
      batch_size: sequences, B.
      length: steps, T.

    Returns:
      Inputs u_t (B, T, 1), targets y_{t+1} (B, T, 1), an answer at every step.

    Example:
      >>> task = narma10(np.random.default_rng(0), 3, 100)
      >>> task.inputs.shape, task.targets.shape
      ((3, 100, 1), (3, 100, 1))

    Reference: Atiya and Parlos (2000), New results on recurrent network training.
    """
    check_sizes("narma10", batch_size=batch_size, length=length)
    inputs = np.zeros((batch_size, length))
    targets = np.zeros((batch_size, length))
    missing = np.arange(batch_size)
    while len(missing):
        u = rng.uniform(0, 0.5, (len(missing), length))
        y = _respond(u)
        inputs[missing], targets[missing] = u, y
        missing = missing[~(np.abs(y).max(axis=1) <= 1)]
    return make_sequences(
        inputs[..., None].astype(np.float32), targets[..., None].astype(np.float32), every_step=True
    )


def _respond(u: np.ndarray) -> np.ndarray:
    padded = np.pad(u, ((0, 0), (_ORDER - 1, 0)))
    y = np.zeros((len(u), u.shape[1] + _ORDER))  # y_t stands at t + 9
    with np.errstate(over="ignore", invalid="ignore"):  # of one that runs away
        for t in range(u.shape[1]):
            now = y[:, t + _ORDER - 1]
            memory = y[:, t : t + _ORDER].sum(axis=1)
            drive = padded[:, t + _ORDER - 1] * padded[:, t]
            y[:, t + _ORDER] = 0.3 * now + 0.05 * now * memory + 1.5 * drive + 0.1
    return y[:, _ORDER:]
