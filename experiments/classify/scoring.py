"""How classes are judged, and what costs next to nothing and must be beaten."""

import numpy as np
from scipy import special

from experiments.classify.inputs import WORDS
from experiments.classify.task import Task
from experiments.features import segment_means
from seqjax import data, floors

_SEGMENTS = 8  # of a sequence, for the floors, where lengths differ


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Judges logits (N, classes) by the true classes (N,).

    Returns:
      `accuracy`, `balanced_accuracy` (the mean recall of the classes that occur) and `loss` (the
      cross-entropy).
    """
    from sklearn import metrics

    # Not `log_loss`, which takes probabilities: it cannot tell a logit of -100 from one of -40.
    logs = special.log_softmax(logits.astype(np.float64), axis=-1)
    guesses, present = logits.argmax(-1), np.unique(labels)
    recall = metrics.recall_score(labels, guesses, labels=present, average="macro")
    return {
        "accuracy": float(np.mean(guesses == labels)),
        "balanced_accuracy": float(recall),
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
        "majority": np.bincount(y[0]).argmax(),
        "nearest_mean": nearest_mean(x[0], y[0], x[2]),
        "ridge": floors.fit_ridge_classes(x[0], y[0], x[1], y[1])(x[2]),
    }
    return {name: float(np.mean(guess == y[2])) for name, guess in guesses.items()}


def nearest_mean(x: np.ndarray, labels: np.ndarray, test_x: np.ndarray) -> np.ndarray:
    """Returns the class of the nearest mean, in standard units, for each row of `test_x`."""
    from sklearn import metrics, preprocessing

    # Not `NearestCentroid`, which warns of, or refuses, features that are constant in every class.
    means = np.stack([x[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
    scaler = preprocessing.StandardScaler().fit(x)
    return metrics.pairwise_distances_argmin(scaler.transform(test_x), scaler.transform(means))


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
