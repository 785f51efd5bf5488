"""Forecasts that cost next to nothing: the last value, the last season, a map of the lags."""

from collections.abc import Callable

import numpy as np

from seqjax.floors._ridge import fit_ridge


def persistence(inputs: np.ndarray, horizon: int) -> np.ndarray:
    """Foretells that everything stays as it is: `y_{t+k} = x_t`.

    Args:
      inputs: what was seen, shape (B, T, D).
      horizon: steps to predict.

    Returns:
      Shape (B, horizon, D).

    Example:
      >>> persistence(np.arange(3.0).reshape(1, 3, 1), 2)[0, :, 0].tolist()
      [2.0, 2.0]
    """
    return np.repeat(inputs[:, -1:], horizon, axis=1)


def seasonal(inputs: np.ndarray, horizon: int, period: int) -> np.ndarray:
    """Foretells that the last season comes again: `y_{t+k} = x_{t+k-p}`, and so on round.

    Args:
      inputs: what was seen, shape (B, T, D).
      horizon: steps to predict.
      period: steps of a season, p: 24 repeats yesterday in hourly data.

    Returns:
      Shape (B, horizon, D).

    Raises:
      ValueError: unless 1 <= period <= T.

    Example:
      >>> seasonal(np.arange(5.0).reshape(1, 5, 1), 4, 3)[0, :, 0].tolist()
      [2.0, 3.0, 4.0, 2.0]
    """
    steps = inputs.shape[1]
    if not 1 <= period <= steps:
        raise ValueError(
            f"seasonal: 1 <= period <= {steps}, the steps that were seen, is required; got "
            f"{period}. Look further back, or choose a shorter season."
        )
    return inputs[:, steps - period + np.arange(horizon) % period]


def fit_ridge_forecast(
    train: tuple[np.ndarray, np.ndarray], validation: tuple[np.ndarray, np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    """Fits one ridge for all variables, each predicted from its own lags less its last value.

        y_{t+k} - x_t = b_k + sum_j w_{kj} (x_{t-j} - x_t)

    Args:
      train: inputs (B, T, D) and targets (B, horizon, D).
      validation: the same of other examples; chooses the regularisation.

    Returns:
      A map from inputs (B, T, D) to forecasts (B, horizon, D).

    Example:
      >>> series = np.arange(40.0)
      >>> windows = np.stack([series[i : i + 5] for i in range(30)])[..., None]
      >>> examples = windows[:, :4], windows[:, 4:]
      >>> forecast = fit_ridge_forecast(examples, examples)
      >>> forecast(np.array([[[1.0], [2.0], [3.0], [4.0]]])).round(3).tolist()
      [[[5.0]]]
    """
    ridge = fit_ridge(*_examples(*train), *_examples(*validation))

    def forecast(inputs: np.ndarray) -> np.ndarray:
        x, last = _differences(inputs)
        return (ridge(x) + last).swapaxes(1, 2)

    return forecast


def _differences(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = inputs.swapaxes(1, 2)  # (B, D, T): every variable is an example
    last = x[..., -1:]
    return x[..., :-1] - last, last


def _examples(inputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, last = _differences(inputs)
    y = targets.swapaxes(1, 2) - last
    return x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
