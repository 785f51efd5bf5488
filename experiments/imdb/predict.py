"""Asks a finished run for the sentiment of a text."""

from pathlib import Path

import jax
import numpy as np

from experiments.finished import open_finished
from experiments.imdb.config import Config
from experiments.imdb.linear import linear_logits, load_linear
from experiments.imdb.model import model_functions
from seqjax import data


def predict(path: str | Path, text: str) -> float:
    """Returns the probability that a review is positive, the mean over the run's seeds.

    Args:
      path: folder of a finished run.
      text: the review.

    Returns:
      A number from 0 (negative) to 1 (positive).

    Raises:
      RunError: if there is no finished run in the folder.
      DataError: if the folder's vocabulary is damaged, or the text holds no known word.
    """
    run = open_finished(path, Config)
    config, path = run.config, run.folder.path
    vocabulary = data.Vocabulary.load(path / "vocabulary.json")
    (ids,) = vocabulary.encode([text])
    ids = data.truncate(ids, config.max_length, config.keep)
    if not (ids > 1).any():
        raise data.DataError(f"--predict needs a text with a word the run has seen, got {text!r}.")
    offsets = np.zeros(1, np.float32)
    if config.linear_path:
        offsets = linear_logits(load_linear(path / "linear.npz"), [text])
    (batch,) = data.bucketed_batches([ids], [0], 1, [len(ids)], rng=None, offsets=offsets)
    functions = model_functions(config, len(vocabulary))
    metrics = run.folder.result()["metrics"]
    probabilities = []
    for i, params in enumerate(run.params(functions)):
        network = metrics["network_weight"]["per_seed"][i] * functions.apply(params, batch)[0]
        linear = metrics["linear_weight"]["per_seed"][i] * batch.offsets[0]
        probabilities.append(jax.nn.sigmoid(network + linear))
    return float(np.mean(probabilities))
