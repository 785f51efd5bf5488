"""Ridge regression in closed form."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

REGULARISATIONS = (0.0, *(10.0**power for power in range(-6, 3)))


class Ridge(NamedTuple):
    """A linear map.

    Attributes:
      weights: shape (features, outputs).
      intercept: shape (outputs,).
      regularisation: the one that was chosen.
    """

    weights: np.ndarray
    intercept: np.ndarray
    regularisation: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Returns `x W + b`, shape (..., outputs)."""
        return x @ self.weights + self.intercept


def fit_ridge(
    x: np.ndarray,
    y: np.ndarray,
    validation_x: np.ndarray,
    validation_y: np.ndarray,
    *,
    regularisations: Sequence[float] = REGULARISATIONS,
) -> Ridge:
    """Fits `min_W mean |y - b - z W|^2 + lambda |W|^2` and chooses lambda on validation.

    `z` are the features in standard units, so that lambda has none; b is not penalised. One
    decomposition serves every lambda, in the memory of the features. scikit-learn's `Ridge` gives
    the same numbers, but starts again for each lambda, which takes nine times the seconds on the
    windows of ETT.

    Args:
      x: shape (n, features).
      y: shape (n, outputs).
      validation_x: the same of other examples.
      validation_y: the same of other examples.
      regularisations: the lambdas to choose from.

    Returns:
      The map from (..., features) to (..., outputs) with the least squared error on the validation
      examples; it has `weights`, `intercept` and the `regularisation` that was chosen.

    Raises:
      ValueError: if the shapes do not fit each other.

    Example:
      >>> x = np.arange(6.0)[:, None]
      >>> round(fit_ridge(x, 2 * x + 1, x, 2 * x + 1)(np.array([[10.0]])).item(), 3)
      21.0

    Reference: Hoerl and Kennard (1970), Ridge regression.
    """
    for name, features, answers in (("x", x, y), ("validation_x", validation_x, validation_y)):
        if features.ndim != 2 or answers.ndim != 2 or len(features) != len(answers):
            raise ValueError(
                f"fit_ridge: `{name}` and its answers must have shapes (n, features) and (n, "
                f"outputs), got {features.shape} and {answers.shape}."
            )
    from sklearn import preprocessing

    scaler: Any = preprocessing.StandardScaler()
    standard = scaler.fit_transform(np.asarray(x, np.float64))
    y_mean = y.mean(axis=0, dtype=np.float64)
    if len(x) < standard.shape[1]:  # no more directions than examples
        _, singular, directions = np.linalg.svd(standard, full_matrices=False)
        values, vectors = singular**2 / len(x), directions.T
    else:
        values, vectors = np.linalg.eigh(standard.T @ standard / len(x))
    rotated = vectors.T @ (standard.T @ (y - y_mean) / len(x))
    del standard
    held_out = scaler.transform(np.asarray(validation_x, np.float64)) @ vectors
    best = None
    for regularisation in regularisations:
        # Directions in which the features hardly vary count for nothing: dividing by their
        # rounding errors would not be a fit.
        shrunk = values + regularisation
        solid = shrunk > 1e-10 * values.max(initial=0)
        weights = np.where(solid, 1 / np.where(solid, shrunk, 1), 0)[:, None] * rotated
        error = np.mean((held_out @ weights + y_mean - validation_y) ** 2)
        if best is None or error < best[0]:
            best = (error, regularisation, weights)
    if best is None:
        raise ValueError("fit_ridge: `regularisations` must hold at least one number, got none.")
    weights = vectors @ best[2] / scaler.scale_[:, None]
    return Ridge(weights, y_mean - scaler.mean_ @ weights, float(best[1]))


def fit_ridge_classes(
    x: np.ndarray, labels: np.ndarray, validation_x: np.ndarray, validation_labels: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Fits a ridge to an indicator of each class; see `fit_ridge`.

    Args:
      x: features, (n, features).
      labels: classes from 0, int (n,).
      validation_x: the same of other examples; they choose the regularisation.
      validation_labels: the same of other examples.

    Returns:
      A classifier, from features (n, features) to classes (n,).

    Example:
      >>> x, y = np.array([[0.0], [1.0], [9.0]]), np.array([0, 0, 1])
      >>> fit_ridge_classes(x, y, x, y)(x)
      array([0, 0, 1])

    Reference: Hastie, Tibshirani and Friedman (2009), The elements of statistical learning, 4.2.
    """
    indicators = np.eye(1 + max(labels.max(), validation_labels.max()))
    ridge = fit_ridge(x, indicators[labels], validation_x, indicators[validation_labels])
    return lambda features: ridge(features).argmax(axis=-1)


def lagged(inputs: np.ndarray, num_lags: int) -> np.ndarray:
    """Puts the last inputs beside each other at every step.

        z_t = (x_t, x_{t-1}, ..., x_{t-n+1}),   the first input standing for those before it

    Args:
      inputs: shape (B, T, D).
      num_lags: n, at least 1.

    Returns:
      Shape (B, T, n D).

    Raises:
      ValueError: if `num_lags` is below 1.

    Example:
      >>> lagged(np.arange(3.0).reshape(1, 3, 1), 2)[0].tolist()
      [[0.0, 0.0], [1.0, 0.0], [2.0, 1.0]]
    """
    if num_lags < 1:
        raise ValueError(f"lagged: `num_lags` must be at least 1, got {num_lags}.")
    steps = inputs.shape[1]
    padded = np.concatenate([np.repeat(inputs[:, :1], num_lags - 1, axis=1), inputs], axis=1)
    shifted = [padded[:, num_lags - 1 - lag :][:, :steps] for lag in range(num_lags)]
    return np.concatenate(shifted, axis=-1)
