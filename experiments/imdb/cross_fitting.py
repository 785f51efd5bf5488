"""Logits of a linear model on its own training texts, as if it had never seen them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize

from seqjax.floors._naive_bayes_logistic import NaiveBayesLogistic, NGrams, fit_presence


class CrossFit(NamedTuple):
    """A linear model, and what it would say of its training texts if they were new to it.

    Attributes:
      model: fitted to all training texts; for texts that are new.
      out_of_fold: calibrated logit of each training text, from a fit without its fold, float32.
      scale: factor by which the logits of the model are to be multiplied, so that they are
        probabilities that hold on new texts.
    """

    model: NaiveBayesLogistic
    out_of_fold: np.ndarray
    scale: float

    def logits(self, sequences: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the calibrated logits of new texts, float32 of shape (sequences,)."""
        return np.float32(self.scale) * self.model.logits(sequences)


def cross_fit(
    sequences: Sequence[np.ndarray],
    labels: np.ndarray,
    order: int,
    *,
    groups: np.ndarray | None = None,
    folds: int = 5,
) -> CrossFit:
    """Fits the naive-Bayes-weighted logistic regression and its out-of-fold logits.

    A model that is to be trained on top of a linear one must see the mistakes the linear one makes
    on new texts. On the texts it was fitted to it makes none, and nothing would be left to learn.

    Args:
      sequences: integer token ids, one array of shape (length,) for each text.
      labels: 0 or 1 for each text.
      order: the longest n-gram.
      groups: one value for each text; those of equal value share a fold, so that a copy of a text
        does not give its label away. Each text by itself where not given.
      folds: number of folds, at least 2.

    Returns:
      The model, the out-of-fold logits and the scale that calibrates them.

    Raises:
      ValueError: if `folds` is below 2 or above the number of groups.

    Example:
      >>> texts = [np.array([2, 3]), np.array([3, 2])] * 10
      >>> fit = cross_fit(texts, np.array([1, 0] * 10), order=2)
      >>> bool(((fit.out_of_fold > 0) == np.array([1, 0] * 10)).all())
      True

    Reference: Wolpert (1992), Stacked generalization; Platt (1999), Probabilistic outputs for
    support vector machines (calibration, here without an intercept).
    """
    labels = np.asarray(labels)
    groups = np.arange(labels.size) if groups is None else np.asarray(groups)
    _, group = np.unique(groups, return_inverse=True)
    if not 2 <= folds <= group.max(initial=-1) + 1:
        raise ValueError(
            f"cross_fit: `folds` must lie between 2 and the number of groups, "
            f"{group.max(initial=-1) + 1}; got {folds}."
        )
    # Not `GroupKFold`, whose folds are others: every published number would move.
    fold = np.random.default_rng(0).permutation(group.max() + 1)[group] % folds
    # Which n-grams there are says nothing of the labels, so they are counted once for all folds.
    ngrams = NGrams.learn(sequences, order)
    presence = ngrams.presence(sequences)
    raw = np.zeros(labels.size, np.float32)
    for number in range(folds):
        inside, outside = fold == number, fold != number
        weights, bias = fit_presence(presence[outside], labels[outside])
        raw[inside] = presence[inside] @ weights + bias
    scale = calibration(raw, labels)
    whole = NaiveBayesLogistic(ngrams, *fit_presence(presence, labels))
    return CrossFit(whole, np.float32(scale) * raw, scale)


def calibration(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the factor by which logits give the labels the greatest likelihood.

    Args:
      logits: log-odds of label 1, from a model that has not seen the labels.
      labels: 0 or 1.

    Returns:
      The factor, between 0 and 10, both exclusive: 0 would forget on which side a logit lies.

    Example:
      >>> round(calibration(np.array([9.0, 9.0, 9.0, 9.0]), np.array([1, 1, 1, 0])) * 9, 2)
      1.1
    """
    margins = np.where(np.asarray(labels) > 0, 1.0, -1.0) * logits
    found = optimize.minimize_scalar(
        lambda scale: np.logaddexp(0.0, -scale * margins).mean(), bounds=(0, 10), method="bounded"
    )
    return float(found.x)


def stacking_weights(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the weights, none negative, by which logits of several models are best summed.

    Args:
      logits: log-odds of label 1 by each model, shape (examples, models), on examples that no
        model has seen.
      labels: 0 or 1 for each example.

    Returns:
      Weights that give the labels the greatest likelihood, shape (models,).

    Raises:
      ValueError: if the shapes do not fit.

    Example:
      >>> good, bad = np.array([4.0, -4.0, 4.0, 4.0]), np.array([3.0, 3.0, -3.0, 3.0])
      >>> weights = stacking_weights(np.stack([good, bad], axis=1), np.array([1, 0, 1, 0]))
      >>> bool(weights[0] > 0), float(weights[1])
      (True, 0.0)

    Reference: Wolpert (1992), Stacked generalization; Breiman (1996), Stacked regressions (weights
    that are not negative).
    """
    labels = np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            "stacking_weights: `logits` must have shape (examples, models) and `labels` (examples,"
            f"), got {logits.shape} and {labels.shape}."
        )
    signed = np.where(labels > 0, 1.0, -1.0)[:, None] * logits

    def loss_and_gradient(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margins = signed @ weights
        slope = -1.0 / (1.0 + np.exp(np.clip(margins, -50.0, 50.0)))
        return np.logaddexp(0.0, -margins).mean(), signed.T @ slope / len(slope)

    found = optimize.minimize(
        loss_and_gradient,
        np.full(logits.shape[1], 0.5),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, 20.0)] * logits.shape[1],
    )
    return found.x
