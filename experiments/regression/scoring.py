"""How predictions are judged, and what costs next to nothing and must be beaten."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from experiments.features import segment_means
from experiments.regression.config import Config
from experiments.regression.task import Task
from seqjax import data, floors

_SEGMENTS = 8  # of a sequence, for the ridge, where lengths differ
_RIDGE_EXAMPLES = 20_000  # images: as many decide a ridge on 784 pixels


def scores(predictions: np.ndarray, truth: data.Sequences, num_classes: int) -> dict[str, float]:
    """Judges predictions; what has weight 0 does not count.

    Args:
      predictions: of the shape of the targets; of classes their logits.
      truth: the sequences with their targets.
      num_classes: 0 where the answers are numbers, 1 for a binary class.

    Returns:
      Of numbers `loss` (the mean squared error), `mse`, `mae` and `median` (of the sequences' mean
      squared errors); of classes `loss` (the cross-entropy) and `accuracy`.
    """
    weights = np.asarray(truth.weights, np.float64)
    if not num_classes:
        errors = predictions - np.asarray(truth.targets, np.float64)
        axes = tuple(range(weights.ndim, errors.ndim))
        squares = (errors**2).mean(axis=axes)
        each = squares if squares.ndim == 1 else np.average(squares, axis=1, weights=weights)
        mse = float(np.average(squares, weights=weights))
        mae = float(np.average(np.abs(errors).mean(axis=axes), weights=weights))
        return {"loss": mse, "mse": mse, "mae": mae, "median": float(np.median(each))}
    if num_classes == 1:
        signs = np.where(truth.targets > 0, 1.0, -1.0)
        losses, right = np.logaddexp(0, -signs * predictions), (predictions > 0) == (signs > 0)
    else:
        logs = special.log_softmax(predictions.astype(np.float64), axis=-1)
        losses = -np.take_along_axis(logs, truth.targets[..., None], axis=-1)[..., 0]
        right = predictions.argmax(-1) == truth.targets
    return {
        "loss": float(np.average(losses, weights=weights)),
        "accuracy": float(np.average(right, weights=weights)),
    }


def errors_by_step(predictions: np.ndarray, truth: data.Sequences) -> np.ndarray:
    """Returns the mean squared error of every step, (T,), of answers of shape (B, T, K)."""
    errors = (predictions - np.asarray(truth.targets, np.float64)) ** 2
    if truth.weights.ndim == 2:
        weights = np.broadcast_to(truth.weights[..., None], errors.shape)
        return np.average(errors, axis=(0, 2), weights=weights)
    return errors.mean(axis=(0, 2))


class Floors(NamedTuple):
    """What must be beaten.

    Attributes:
      values: name to test error (accuracy of classes).
      predictions: name to test predictions; numbers only.
    """

    values: dict[str, float]
    predictions: dict[str, np.ndarray]


def fit_floors(config: Config, task: Task) -> Floors:
    """Fits the floors of a task.

    Args:
      config: the settings.
      task: the data.

    Returns:
      The floors: the mean; of forecasts the last value, the last season (`period`) and a ridge on
      lags; of answers at every step a ridge on lags of the inputs; of classes the majority and the
      sign or largest of a ridge.
    """
    if task.num_classes:
        return Floors(class_floors(task), {})
    sample, validation, test = task.sample, task.validation, task.test
    mean = sample.targets.mean(axis=tuple(range(sample.targets.ndim - 1)), dtype=np.float64)
    found = {"mean": np.broadcast_to(mean, test.targets.shape)}
    columns = task.scales.columns
    if config.forecasts:
        found["persistence"] = floors.persistence(test.inputs, config.horizon)[..., columns]
        if config.period:
            seasonal = floors.seasonal(test.inputs, config.horizon, config.period)
            found["seasonal"] = seasonal[..., columns]
        if config.ridge_lags:
            name, prediction = ridge_forecast(config, task)
            found[name] = prediction
    elif config.model == "steps":
        if config.task == "half_cheetah":
            found["persistence"] = test.inputs
        for lags in sorted({1, config.ridge_lags} - {0}):
            x, y = floors.lagged(sample.inputs, lags), sample.targets
            x, y = (values.reshape(-1, values.shape[-1]) for values in (x, y))
            # As published, by least squares: the validation traces of half_cheetah fall over.
            fitted = floors.fit_ridge(x, y, x, y, regularisations=(0.0,))
            found[f"linear_{lags}"] = fitted(floors.lagged(test.inputs, lags))
    elif config.ridge_lags:
        x = flat([sample, validation, test])
        fitted = floors.fit_ridge(x[0], sample.targets, x[1], validation.targets)
        found["ridge"] = fitted(x[2])
    values = {name: scores(found[name], test, 0)["mse"] for name in found}
    return Floors(values, found)


def ridge_forecast(config: Config, task: Task) -> tuple[str, np.ndarray]:
    """Fits the ridge on lags, which may look further back than the network."""
    parts = [task.sample, task.validation, task.test]
    lags = config.ridge_lags
    if config.task == "ett" and lags > config.lookback:
        splits = data.load_ett(config.data_dir, lookback=lags, horizon=config.horizon).splits
        parts = list(splits)
    lags = min(lags, parts[0].inputs.shape[1])
    columns = task.scales.columns
    seen = [part.inputs[:, -lags:][..., columns] for part in parts]
    fitted = floors.fit_ridge_forecast((seen[0], parts[0].targets), (seen[1], parts[1].targets))
    return f"ridge_{lags}", fitted(seen[2])


def flat(parts: Sequence[data.Sequences]) -> list[np.ndarray]:
    """Returns the numbers of each sequence as features, of unequal ones the means of equal parts.

    Args:
      parts: sequences.

    Returns:
      Of each part shape (sequences, features).
    """
    if len(np.unique(np.concatenate([part.lengths for part in parts]))) == 1:
        return [part.inputs.reshape(len(part.inputs), -1) for part in parts]
    found = []
    for part in parts:
        rows = zip(part.inputs, part.lengths, strict=True)
        found.append(np.stack([segment_means(steps[:n], _SEGMENTS) for steps, n in rows]))
    return found


def class_floors(task: Task) -> dict[str, float]:
    """Returns the accuracy of the majority, and of a ridge on all numbers of a sequence."""
    parts = [task.sample, task.validation, task.test]
    parts[0] = parts[0].take(np.arange(min(_RIDGE_EXAMPLES, len(parts[0].inputs))))
    x = [features.astype(np.float64) for features in flat(parts)]
    ridge = floors.fit_ridge_classes(x[0], parts[0].targets, x[1], parts[1].targets)
    guesses = {"majority": np.bincount(task.sample.targets).argmax(), "ridge": ridge(x[2])}
    return {name: float(np.mean(task.test.targets == guess)) for name, guess in guesses.items()}
