"""Asks a finished run for the sentiment of a text."""

import json
from pathlib import Path

import jax
import numpy as np

from experiments import command_line
from experiments.imdb.config import Config
from experiments.imdb.linear import linear_logits, load_linear
from experiments.imdb.model import make_functions
from seqjax import data, train


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
    path = Path(path)
    if not (path / "result.json").exists():
        raise train.RunError(
            f"--predict needs a finished run, and {path} holds none. Train it first with the same "
            "flags without --predict, or name its folder with --workdir."
        )
    settings = json.loads((path / "config.json").read_text("utf-8"))
    config = command_line.from_mapping(Config, settings)
    vocabulary = data.Vocabulary.load(path / "vocabulary.json")
    (ids,) = vocabulary.encode([text])
    ids = data.truncate(ids, config.max_length, config.keep)
    if not (ids > 1).any():
        raise data.DataError(f"--predict needs a text with a word the run has seen, got {text!r}.")
    offsets = np.zeros(1, np.float32)
    if config.linear_path:
        offsets = linear_logits(load_linear(path / "linear.npz"), [text])
    (batch,) = data.bucketed_batches([ids], [0], 1, [len(ids)], rng=None, offsets=offsets)
    functions = make_functions(config, len(vocabulary))
    like = functions.init(jax.random.key(0))
    folder = train.open_run(path, settings, resume=True)
    metrics = folder.result()["metrics"]
    probabilities = []
    for i in range(config.seeds):
        params = train.best_params(folder, config.seed + i, like)
        network = metrics["network_weight"]["per_seed"][i] * functions.logits(params, batch)[0]
        linear = metrics["linear_weight"]["per_seed"][i] * batch.offsets[0]
        probabilities.append(jax.nn.sigmoid(network + linear))
    return float(np.mean(probabilities))
