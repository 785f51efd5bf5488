"""Naive-Bayes-weighted logistic regression on n-grams: the linear floor of text classification.

A text is the set of its n-grams, up to some order. Each n-gram's presence is weighted by the log of
the ratio of its smoothed frequencies in the two classes, `r`, and a logistic regression with L2
penalty is fitted to these weighted features:

    logit(x) = sum of r_g w_g over the n-grams g of x, + b

Differs from naive Bayes by the learned `w` (all ones there), and from plain logistic regression by
`r`, which decides how freely each n-gram's weight may move.

Reference: Wang and Manning (2012), Baselines and Bigrams: Simple, Good Sentiment and Topic
Classification.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from seqjax._checks import check_sizes
from seqjax.data._checks import check_ids

_SMOOTHING = 1.0
_MIN_COUNT = 2  # An n-gram seen once tells a text apart, not a class.


@dataclass(frozen=True, eq=False)
class NaiveBayesLogistic:
    """A fitted model; see `fit_naive_bayes_logistic`.

    Attributes:
      ngrams: the known n-grams of each order.
      weights: of each n-gram, the log-count ratio included.
      bias: logit of a text without any known n-gram.
    """

    ngrams: "NGrams"
    weights: np.ndarray
    bias: float

    def logits(self, sequences: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the log-odds of label 1 for each sequence, float32 of shape (sequences,)."""
        return (self.ngrams.presence(sequences) @ self.weights + self.bias).astype(np.float32)

    def accuracy(self, sequences: Sequence[np.ndarray], labels: np.ndarray) -> float:
        """Returns the fraction of sequences on the right side of zero."""
        labels = _check_labels(sequences, labels)
        return float(np.mean((self.logits(sequences) > 0) == labels))


def fit_naive_bayes_logistic(
    sequences: Sequence[np.ndarray], labels: np.ndarray, order: int, *, l2: float = 3.0
) -> NaiveBayesLogistic:
    """Fits the model to token sequences.

    Args:
      sequences: integer token ids, one array of shape (length,) for each text.
      labels: 0 or 1 for each text; both must occur.
      order: the longest n-gram: 1, 2, 3 ...
      l2: penalty `l2 / 2 * |w|^2` beside the sum of the texts' losses. The default was chosen on
        5,000 training reviews of IMDB held out; from 0.3 to 10 it matters little.

    Returns:
      The model.

    Raises:
      ValueError: if the arguments do not fit each other.

    Example:
      >>> texts = [np.array([2, 3]), np.array([3, 2]), np.array([2, 3, 4]), np.array([4, 3, 2])]
      >>> labels = np.array([1, 0, 1, 0])
      >>> fit_naive_bayes_logistic(texts, labels, order=2).accuracy(texts, labels)
      1.0
    """
    labels = _check_labels(sequences, labels)
    if np.unique(labels).size != 2:
        raise ValueError("fit_naive_bayes_logistic: `labels` must hold both 0 and 1, got one only.")
    check_sizes("fit_naive_bayes_logistic", order=order)
    if not 0 < l2 < np.inf:
        raise ValueError(f"fit_naive_bayes_logistic: `l2` must be finite and above 0, got {l2}.")
    ngrams = NGrams.learn(sequences, order)
    weights, bias = fit_presence(ngrams.presence(sequences), labels, l2=l2)
    return NaiveBayesLogistic(ngrams, weights, bias)


def fit_presence(presence: Any, labels: np.ndarray, *, l2: float = 3.0) -> tuple[np.ndarray, float]:
    """Fits the model to texts that are given as the n-grams they hold.

    Args:
      presence: from `NGrams.presence`.
      labels: 0 or 1 for each text.
      l2: as in `fit_naive_bayes_logistic`.

    Returns:
      Weight of each n-gram, the log-count ratio included, and bias.
    """
    from sklearn.linear_model import LogisticRegression

    labels = np.asarray(labels).astype(bool)
    if labels.all() or not labels.any():  # a fold of very few texts: only the frequency is known
        odds = (1.0 + labels.sum()) / (1.0 + (~labels).sum())
        return np.zeros(presence.shape[1], np.float32), float(np.log(odds))
    ratio = _log_count_ratio(presence, labels)
    logistic: Any = LogisticRegression(C=1 / l2, tol=1e-6, max_iter=200)
    logistic.fit(presence @ sparse.diags(ratio, format="csr"), labels)
    return (ratio * logistic.coef_[0]).astype(np.float32), float(logistic.intercept_[0])


@dataclass(frozen=True, eq=False)
class NGrams:
    """The n-grams seen at least twice, numbered order after order.

    An n-gram of order k is the number of its first k-1 tokens among those of order k-1, times the
    number of tokens, plus its last token: an int64 at any order. One whose beginning is unknown is
    never looked at, since it cannot be more frequent than its beginning. `CountVectorizer` counts
    texts instead of occurrences, and its dict of trigrams takes several times the memory.

    Attributes:
      num_tokens: one more than the largest token id.
      keys: for each order, the sorted keys of its n-grams.
    """

    num_tokens: int
    keys: tuple[np.ndarray, ...]

    @classmethod
    def learn(cls, sequences: Sequence[np.ndarray], order: int) -> "NGrams":
        """Collects the n-grams of `sequences` up to `order`."""
        tokens, texts = _flatten(sequences)
        num_tokens = int(tokens.max(initial=0)) + 1
        keys: list[np.ndarray] = []
        known = cls(num_tokens, ())
        for _ in range(order):
            *_, (candidates, _) = known._walk(tokens, texts)
            distinct, counts = np.unique(candidates, return_counts=True)
            keys.append(distinct[counts >= _MIN_COUNT])
            known = cls(num_tokens, tuple(keys))
        return known

    def presence(self, sequences: Sequence[np.ndarray]) -> Any:
        """Returns the CSR matrix (sequences, n-grams) with 1 where the n-gram occurs."""
        tokens, texts = _flatten(sequences)
        rows, columns, first = [], [], 0
        for (candidates, positions), keys in zip(
            self._walk(tokens, texts), self.keys, strict=False
        ):
            numbers, is_known = _look_up(candidates, keys)
            rows.append(texts[positions[is_known]])
            columns.append(numbers[is_known] + first)
            first += len(keys)
        return _binary_csr(np.concatenate(rows), np.concatenate(columns), (len(sequences), first))

    def _walk(
        self, tokens: np.ndarray, texts: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields keys and starts of the candidates of each order, one order beyond `keys`."""
        positions = np.flatnonzero(tokens < self.num_tokens)
        candidates = tokens[positions]
        yield candidates, positions
        for order, keys in enumerate(self.keys, start=1):
            numbers, is_known = _look_up(candidates, keys)
            numbers, positions = numbers[is_known], positions[is_known]
            last = np.minimum(positions + order, len(tokens) - 1)
            inside = (
                (positions + order < len(tokens))
                & (texts[last] == texts[positions])
                & (tokens[last] < self.num_tokens)
            )
            positions = positions[inside]
            candidates = numbers[inside] * self.num_tokens + tokens[last[inside]]
            yield candidates, positions


def _flatten(sequences: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns all tokens end to end, and the number of the text each belongs to."""
    for sequence in sequences:
        check_ids("naive_bayes_logistic", "sequences", sequence)
    lengths = [len(sequence) for sequence in sequences]
    tokens = np.concatenate([np.zeros(0, np.int64), *sequences], dtype=np.int64)
    return tokens, np.repeat(np.arange(len(sequences), dtype=np.int32), lengths)


def _look_up(candidates: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns each candidate's place among the sorted `keys`, and whether it is there."""
    if not keys.size:
        return np.zeros(candidates.size, np.int64), np.zeros(candidates.size, bool)
    numbers = np.minimum(np.searchsorted(keys, candidates), keys.size - 1)
    return numbers, keys[numbers] == candidates


def _binary_csr(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> Any:
    ones = np.ones(rows.size, np.float32)
    matrix = sparse.csr_matrix((ones, (rows, columns.astype(np.int32))), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def _log_count_ratio(presence: Any, labels: np.ndarray) -> np.ndarray:
    positive = _SMOOTHING + presence.T @ labels.astype(np.float64)
    negative = _SMOOTHING + presence.T @ (~labels).astype(np.float64)
    return np.log((positive / positive.sum()) / (negative / negative.sum()))


def _check_labels(sequences: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != (len(sequences),) or not np.isin(labels, (0, 1)).all():
        raise ValueError(
            f"naive_bayes_logistic: `labels` must be 0 or 1 for each of the {len(sequences)} "
            f"sequences, got shape {labels.shape}."
        )
    return labels.astype(bool)
