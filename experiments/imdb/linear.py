"""The linear model of the sentiment experiment: its floor, and the path the network adds to."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.imdb.cache import cache_folder, encode_reviews, read_entry, write_entry
from experiments.imdb.cross_fitting import cross_fit
from experiments.splitting import text_hashes
from seqjax import data
from seqjax.floors import NaiveBayesLogistic, fit_naive_bayes_logistic
from seqjax.floors._naive_bayes_logistic import NGrams

VOCAB_SIZE = 200_000  # every word there is; n-grams seen only once are left out anyway
ORDER = 3
VERSION = 2  # of the cached fit; raised when the same data would give other numbers


class Linear(NamedTuple):
    """The linear model, and what it says of every review.

    Attributes:
      train_logits: calibrated, each from a fit without that review's fold.
      test_logits: calibrated, from the fit to all training reviews.
      floors: test accuracy by name.
      arrays: the model itself, for `linear_logits`.
    """

    train_logits: np.ndarray
    test_logits: np.ndarray
    floors: dict[str, float]
    arrays: dict[str, np.ndarray]


def fit_linear(
    reviews: data.Reviews, cache_dir: str | None, notify: Callable[[str], None]
) -> Linear:
    """Fits the naive-Bayes-weighted logistic regression, or reads an earlier fit to this data.

    Args:
      reviews: the data.
      cache_dir: where fits are kept.
      notify: receives what a user must know.

    Returns:
      The model, its logits and the floors.
    """
    key = f"linear v{VERSION} {reviews.sha256}"
    entry = cache_folder(cache_dir) / f"{reviews.name}-linear-{reviews.sha256[:16]}.npz"
    arrays = read_entry(entry, key, notify)
    if arrays is None:
        notify("Fitting the linear model on n-grams, once for this data (IMDB: minutes) ...")
        arrays = _fit(reviews, cache_dir, notify)
        try:
            write_entry(entry, key, arrays)
        except OSError as error:
            notify(f"cache: cannot write {entry} ({error.strerror or error}); going on without it.")
    names = json.loads(arrays.pop("floor_names").tobytes())
    return Linear(
        train_logits=arrays.pop("train_logits"),
        test_logits=arrays.pop("test_logits"),
        floors=dict(zip(names, arrays.pop("floor_values").tolist(), strict=True)),
        arrays=arrays,
    )


def linear_logits(arrays: dict[str, np.ndarray], texts: Sequence[str]) -> np.ndarray:
    """Returns the calibrated logits of new texts, float32 of shape (texts,).

    Args:
      arrays: `Linear.arrays`.
      texts: the texts.
    """
    vocabulary = data.Vocabulary.from_json(arrays["vocabulary"].tobytes().decode("utf-8"))
    keys = tuple(arrays[f"keys_{order}"] for order in range(1, ORDER + 1))
    model = NaiveBayesLogistic(
        NGrams(int(arrays["num_tokens"]), keys),
        arrays["weights"],
        float(arrays["bias"]),
    )
    return np.float32(arrays["scale"]) * model.logits(vocabulary.encode(texts))


def _fit(
    reviews: data.Reviews, cache_dir: str | None, notify: Callable[[str], None]
) -> dict[str, np.ndarray]:
    encoded = encode_reviews(reviews, VOCAB_SIZE, cache_dir=cache_dir, notify=notify)
    labels, test_labels = encoded.train_labels, encoded.test_labels
    accuracies = {"majority_class": max(np.mean(test_labels == 0), np.mean(test_labels == 1))}
    for order, name in ((1, "unigram"), (2, "bigram")):
        model = fit_naive_bayes_logistic(encoded.train, labels, order)
        accuracies[f"nb_logistic_{name}"] = model.accuracy(encoded.test, test_labels)
    groups = text_hashes(reviews.train_texts)
    crossed = cross_fit(encoded.train, labels, ORDER, groups=groups)
    test_logits = crossed.logits(encoded.test)
    accuracies["nb_logistic_trigram"] = np.mean((test_logits > 0) == test_labels)
    ngrams = crossed.model.ngrams
    return {
        "train_logits": crossed.out_of_fold,
        "test_logits": test_logits,
        "floor_names": _bytes(json.dumps(list(accuracies))),
        "floor_values": np.array(list(accuracies.values()), np.float64),
        "vocabulary": _bytes(encoded.vocabulary.to_json()),
        "num_tokens": np.array(ngrams.num_tokens),
        **{f"keys_{order}": keys for order, keys in enumerate(ngrams.keys, start=1)},
        "weights": crossed.model.weights.astype(np.float32),
        "bias": np.array(crossed.model.bias),
        "scale": np.array(crossed.scale),
    }


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-8"), np.uint8)


def save_linear(path: Path, linear: Linear) -> None:
    """Writes the model where `load_linear` finds it."""
    write_entry(path, "linear", linear.arrays)


def load_linear(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays that `save_linear` wrote.

    Raises:
      DataError: if the file is missing or damaged.
    """
    arrays = read_entry(path, "linear", lambda line: None)
    if arrays is None:
        raise data.DataError(f"{path} is missing or damaged; train the run again.")
    keys = [f"keys_{order}" for order in range(1, ORDER + 1)]
    wanted = dict.fromkeys(("vocabulary", *keys, "weights"), 1)
    wanted |= dict.fromkeys(("num_tokens", "bias", "scale"), 0)
    found = {name: array.ndim for name, array in arrays.items() if array.dtype.kind in "iuf"}
    if found != wanted or len(arrays["weights"]) != sum(len(arrays[key]) for key in keys):
        raise data.DataError(f"{path} does not hold a linear model; train the run again.")
    return arrays
