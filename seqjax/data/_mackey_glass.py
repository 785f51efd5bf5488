"""The Mackey-Glass equation: chaos from one delay."""

import numpy as np

from seqjax._checks import check_sizes
from seqjax.data._checks import check_numbers

_STEPS = 10  # of the integration in a unit of time
_TRANSIENT = 300  # units of time that are thrown away


def mackey_glass(
    rng: np.random.Generator, batch_size: int, length: int, *, delay: float = 17.0
) -> np.ndarray:
    """Draws solutions of the Mackey-Glass equation, a value each unit of time.

        dx/dt = 0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x(t)

    Runge-Kutta of order four with ten steps in a unit of time, the delayed value half-way through
    a step being the mean of its ends; from a random history, after a transient of 300.

    Args:
      rng: the source of randomness; each call draws new data.
      batch_size: series, B.
      length: values, T.
      delay: tau, at least 0.1, to the nearest tenth; from 17 on the solutions are chaotic.

    Returns:
      Series of shape (B, T, 1), float32.

    Raises:
      ValueError: if `delay` is below 0.1.

    Example:
      >>> series = mackey_glass(np.random.default_rng(0), 2, 50)
      >>> series.shape, bool((series > 0.2).all() and (series < 1.5).all())
      ((2, 50, 1), True)

    Reference: Mackey and Glass (1977), Oscillation and chaos in physiological control systems.
    """
    check_sizes("mackey_glass", batch_size=batch_size, length=length)
    check_numbers("mackey_glass", at_least=1 / _STEPS, delay=delay)
    lag = round(delay * _STEPS)
    step = 1 / _STEPS
    total = (_TRANSIENT + length) * _STEPS
    x = np.empty((lag + total + 1, batch_size))  # time first: one step is one row
    x[: lag + 1] = rng.uniform(0.5, 1.3, batch_size)

    def production(delayed: np.ndarray) -> np.ndarray:
        square = delayed * delayed
        fourth = square * square
        return 0.2 * delayed / (1 + fourth * fourth * square)

    begin = production(x[0])
    for t in range(lag, lag + total):
        now, end = x[t], production(x[t - lag + 1])
        middle = production((x[t - lag] + x[t - lag + 1]) / 2)
        k1 = begin - 0.1 * now
        k2 = middle - 0.1 * (now + step / 2 * k1)
        k3 = middle - 0.1 * (now + step / 2 * k2)
        k4 = end - 0.1 * (now + step * k3)
        x[t + 1] = now + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        begin = end
    kept = x[lag + _TRANSIENT * _STEPS :: _STEPS][:length]
    return kept.T[..., None].astype(np.float32)
