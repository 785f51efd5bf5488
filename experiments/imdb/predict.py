"""Asks a finished run for the sentiment of a text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.batches import bucketed_batches, truncate
from experiments.finished import open_finished, read_saved, saved_vector
from experiments.imdb.config import Config
from experiments.imdb.linear import linear_logits, load_linear
from experiments.imdb.model import model_functions
from seqjax import data

ASKS = "a text whose sentiment the finished run is asked for"


def load_weights(path: Path, seeds: int) -> list[list[float]]:
    """Reads the weights of the network's and of the linear model's answer, of every seed.

    Raises:
      RunError: if the run's result is missing or damaged.
    """

    def make(result: dict[str, Any]) -> list[list[float]]:
        metrics = (result["metrics"][name] for name in ("network_weight", "linear_weight"))
        found = [saved_vector(metric["per_seed"], np.float64).tolist() for metric in metrics]
        if any(len(weights) != seeds for weights in found):
            raise ValueError(f"weights of {seeds} seeds are required")
        return found

    return read_saved(path / "result.json", make)


def predict(path: str | Path, text: str) -> float:
    """Returns the probability that a review is positive, the mean over the run's seeds.

    Args:
      path: folder of a finished run.
      text: the review.

    Returns:
      A number from 0 (negative) to 1 (positive).

    Raises:
      RunError: if there is no finished run in the folder, or it is damaged.
      DataError: if the folder's vocabulary is damaged, or the text holds no known word.
    """
    run = open_finished(path, Config)
    config, path = run.config, run.folder.path
    vocabulary = data.Vocabulary.load(path / "vocabulary.json")
    (ids,) = vocabulary.encode([text])
    ids = truncate(ids, config.max_length, config.keep)
    if not (ids > 1).any():
        raise data.DataError(f"--predict needs a text with a word the run has seen, got {text!r}.")
    offsets = np.zeros(1, np.float32)
    if config.linear_path:
        offsets = linear_logits(load_linear(path / "linear.npz"), [text])
    (batch,) = bucketed_batches([ids], [0], 1, [len(ids)], rng=None, offsets=offsets)
    functions = model_functions(config, len(vocabulary))
    network_weights, linear_weights = load_weights(path, config.seeds)
    probabilities = []
    for i, params in enumerate(run.params(functions)):
        network = network_weights[i] * functions.apply(params, batch)[0]
        linear = linear_weights[i] * batch.offsets[0]
        probabilities.append(jax.nn.sigmoid(network + linear))
    return float(np.mean(probabilities))


def answer_lines(workdir: str, text: str) -> Iterator[str]:
    """Yields the answer in words."""
    positive = predict(workdir, text)
    sentiment = "positive" if positive > 0.5 else "negative"
    yield f"{sentiment}: the probability of positive is {positive:.3f}"
