"""How classes are judged, and what costs next to nothing and must be beaten."""

import numpy as np
from scipy import special

from experiments.classify.inputs import WORDS
from experiments.classify.task import Task
from seqjax import data, floors
from seqjax.floors._classes import majority_class, segment_means

_SEGMENTS = 8  # of a sequence, for the floors, where lengths differ


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Judges logits (N, classes) by the true classes (N,).

    Returns:
      `accuracy`, `balanced_accuracy` (the mean of the classes' recalls) and `loss` (the
      cross-entropy).
    """
    logs = special.log_softmax(logits.astype(np.float64), axis=-1)
    right = logits.argmax(-1) == labels
    recalls = [right[labels == label].mean() for label in np.unique(labels)]
    return {
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean(recalls)),
        "loss": float(-logs[np.arange(len(labels)), labels].mean()),
    }


def fit_floors(task: Task) -> dict[str, float]:
    """Returns the test accuracy of the majority, of nearest means and of a ridge.

    The last two see all numbers of sequences that are all as long, else the means of eight equal
    parts of each; of texts, how often each word occurs.
    """
    x = [simple_features(task, part) for part in (task.train, task.validation, task.test)]
    y = [part.targets for part in (task.train, task.validation, task.test)]
    guesses = {
        "majority": majority_class(y[0]),
        "nearest_mean": floors.fit_nearest_mean(x[0], y[0])(x[2]),
        "ridge": floors.fit_ridge_classes(x[0], y[0], x[1], y[1])(x[2]),
    }
    return {name: float(np.mean(guess == y[2])) for name, guess in guesses.items()}


def simple_features(task: Task, part: data.RaggedSequences) -> np.ndarray:
    """Returns the features of the floors, (N, features)."""
    if task.inputs.kind == WORDS:
        # Of the most frequent words only: a ridge takes the cube of their number.
        number = min(task.inputs.in_size, 1000)
        counts = [np.bincount(ids[ids < number], minlength=number) for ids in part.inputs]
        return np.log1p(np.stack(counts))
    if task.inputs.steps:
        return np.stack([steps.ravel() for steps in part.inputs]).astype(np.float64)
    means = [segment_means(steps, _SEGMENTS) for steps in part.inputs]
    return np.stack(means).astype(np.float64)
