"""What a class can be guessed from without a network."""

from typing import NamedTuple

import numpy as np

from seqjax.floors._ridge import Ridge, fit_ridge


def majority_class(labels: np.ndarray) -> int:
    """Returns the commonest class, the smallest of several.

    Example:
      >>> majority_class(np.array([2, 0, 2, 1]))
      2
    """
    return int(np.bincount(labels).argmax())


class NearestMean(NamedTuple):
    """Classes by their means, in standard units of the features.

    Attributes:
      centre: mean of all examples, (features,).
      unit: standard deviation likewise.
      means: of each class in these units, (classes, features).
    """

    centre: np.ndarray
    unit: np.ndarray
    means: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Returns the class whose mean is nearest, (n,), of features (n, features)."""
        standard = (x - self.centre) / self.unit
        # |x - m|^2 without |x|^2, which no class has to itself.
        distances = (self.means**2).sum(axis=1)[None] - 2 * standard @ self.means.T
        return distances.argmin(axis=1)


def fit_nearest_mean(x: np.ndarray, labels: np.ndarray) -> NearestMean:
    """Fits the mean of every class.

    Args:
      x: features, (n, features).
      labels: classes from 0, each of them there, int (n,).

    Returns:
      A classifier, from features (n, features) to classes (n,).

    Example:
      >>> fit_nearest_mean(np.array([[0.0], [1.0], [9.0]]), np.array([0, 0, 1]))(np.array([[4.0]]))
      array([0])
    """
    unit = x.std(axis=0, dtype=np.float64)
    unit = np.where(unit > 0, unit, 1)
    centre = x.mean(axis=0, dtype=np.float64)
    means = np.stack([x[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
    return NearestMean(centre, unit, (means - centre) / unit)


class RidgeClasses(NamedTuple):
    """Classes by the largest output of a linear map."""

    ridge: Ridge

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Returns the class, (n,), of features (n, features)."""
        return self.ridge(x).argmax(axis=-1)


def fit_ridge_classes(
    x: np.ndarray, labels: np.ndarray, validation_x: np.ndarray, validation_labels: np.ndarray
) -> RidgeClasses:
    """Fits a ridge to an indicator of each class; see `fit_ridge`.

    Args:
      x: features, (n, features).
      labels: classes from 0, int (n,).
      validation_x: likewise, of other examples; they choose the regularisation.
      validation_labels: likewise.

    Returns:
      A classifier, from features (n, features) to classes (n,).

    Example:
      >>> x, y = np.array([[0.0], [1.0], [9.0]]), np.array([0, 0, 1])
      >>> fit_ridge_classes(x, y, x, y)(x)
      array([0, 0, 1])

    Reference: Hastie, Tibshirani and Friedman (2009), The elements of statistical learning, 4.2.
    """
    number = 1 + max(labels.max(), validation_labels.max())
    indicators = np.eye(number)
    ridge = fit_ridge(x, indicators[labels], validation_x, indicators[validation_labels])
    return RidgeClasses(ridge)


def segment_means(sequence: np.ndarray, num_segments: int) -> np.ndarray:
    """Returns the means of equal parts of a sequence, whatever its length, one after the other.

    Args:
      sequence: shape (T, D), T at least 1.
      num_segments: parts; where there are more than steps, neighbours share a step.

    Returns:
      Shape (num_segments D,).

    Example:
      >>> segment_means(np.array([[1.0], [3.0], [5.0], [7.0]]), 2).tolist()
      [2.0, 6.0]
    """
    steps = len(sequence)
    ends = np.linspace(0, steps, num_segments + 1)
    first = np.minimum(ends[:-1].astype(int), steps - 1)
    last = np.maximum(np.ceil(ends[1:]).astype(int), first + 1)
    return np.concatenate([sequence[a:b].mean(axis=0) for a, b in zip(first, last, strict=True)])
