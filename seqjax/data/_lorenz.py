"""The Lorenz system: three variables, two wings."""

import numpy as np

from seqjax._checks import check_sizes
from seqjax.data._checks import check_numbers

_STEP = 0.01
_TRANSIENT = 500  # steps that are thrown away


def lorenz(
    rng: np.random.Generator, batch_size: int, length: int, *, interval: float = 0.05
) -> np.ndarray:
    """Draws solutions of the Lorenz equations.

        dx/dt = 10 (y - x),   dy/dt = x (28 - z) - y,   dz/dt = x y - 8/3 z

    Runge-Kutta of order four with steps of 0.01, from random points, after a transient of 5 units
    of time.

    Args:
      rng: the source of randomness; each call draws new data.
      batch_size: series, B.
      length: values, T.
      interval: time between two values, to the nearest hundredth, at least 0.01.

    Returns:
      Series of shape (B, T, 3), float32, in the system's own units.

    Raises:
      ValueError: if `interval` is below 0.01.

    Example:
      >>> lorenz(np.random.default_rng(0), 2, 50).shape
      (2, 50, 3)

    Reference: Lorenz (1963), Deterministic nonperiodic flow.
    """
    check_sizes("lorenz", batch_size=batch_size, length=length)
    check_numbers("lorenz", at_least=_STEP, interval=interval)
    every = round(interval / _STEP)
    state = rng.normal(size=(3, batch_size)) * 8 + np.array([[0.0], [0.0], [25.0]])
    series = np.empty((length, 3, batch_size))
    for step in range(_TRANSIENT + every * (length - 1) + 1):
        number, rest = divmod(step - _TRANSIENT, every)
        if number >= 0 and rest == 0:
            series[number] = state
        k1 = _slope(state)
        k2 = _slope(state + _STEP / 2 * k1)
        k3 = _slope(state + _STEP / 2 * k2)
        k4 = _slope(state + _STEP * k3)
        state = state + _STEP / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return series.transpose(2, 0, 1).astype(np.float32)


def _slope(state: np.ndarray) -> np.ndarray:
    x, y, z = state
    return np.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])
