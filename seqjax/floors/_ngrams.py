"""N-gram models of ids, each order interpolated with the one below."""

from typing import NamedTuple

import numpy as np

from seqjax._checks import check_sizes
from seqjax.data._checks import check_ids


class NGrams(NamedTuple):
    """Counts of a sequence; make one with `fit_ngrams`.

    Attributes:
      vocab_size: number of ids, V.
      codes: of every order n = 1, 2, ... the n-grams that occur, as numbers to the base V, rising.
      counts: how often each occurs.
    """

    vocab_size: int
    codes: tuple[np.ndarray, ...]
    counts: tuple[np.ndarray, ...]

    def up_to(self, order: int) -> "NGrams":
        """Returns the model of n-grams of at most `order`."""
        check_sizes("NGrams.up_to", order=order)
        return NGrams(self.vocab_size, self.codes[:order], self.counts[:order])

    def log_probabilities(self, ids: np.ndarray) -> np.ndarray:
        """Returns the logarithm of the probability of each id after those before it.

        Those at the beginning have a shorter past.

        Args:
          ids: integers of shape (N,).

        Returns:
          float64 of shape (N,).
        """
        ids = check_ids("NGrams.log_probabilities", "ids", ids, self.vocab_size)
        found = np.full(len(ids), 1 / self.vocab_size)
        for order, (codes, counts) in enumerate(zip(self.codes, self.counts, strict=True), 1):
            grams = _codes(ids, order, self.vocab_size)
            pasts, first = np.unique(codes // self.vocab_size, return_index=True)
            totals = np.add.reduceat(counts, first)
            kinds = np.diff(first, append=len(codes))
            # The ids with a past of this length; those whose past was never seen stay as they are.
            count = _looked_up(codes, counts, grams)
            past = grams // self.vocab_size
            total, kind = (_looked_up(pasts, values, past) for values in (totals, kinds))
            below = found[order - 1 :]
            mixed = (count + kind * below) / np.maximum(total + kind, 1)
            found[order - 1 :] = np.where(total > 0, mixed, below)
        return np.log(found)


def fit_ngrams(ids: np.ndarray, order: int, vocab_size: int) -> NGrams:
    """Counts n-grams; their probabilities are interpolated as Witten and Bell do.

        P_n(c | h) = (count(h c) + kinds(h) P_{n-1}(c | h')) / (count(h) + kinds(h))

    with h' the past h without its first id, `kinds(h)` the number of different ids that followed
    it, and P_0 = 1 / V. A past that was never seen leaves P_{n-1}.

    Args:
      ids: integers of shape (N,) from 0 to vocab_size - 1.
      order: the longest n-gram.
      vocab_size: number of ids, V.

    Returns:
      The model.

    Raises:
      ValueError: if `order` is below 1, V to its power does not fit 63 bits, or `ids` is empty or
        holds one that is not from 0 to V - 1.

    Example:
      >>> model = fit_ngrams(np.array([0, 1, 0, 1, 0]), 2, 2)
      >>> np.exp(model.log_probabilities(np.array([0, 1]))).round(3).tolist()
      [0.571, 0.81]

    Reference: Witten and Bell (1991), The zero-frequency problem (method C); Chen and Goodman
    (1999), An empirical study of smoothing techniques for language modeling (the interpolation).
    """
    check_sizes("fit_ngrams", order=order, vocab_size=vocab_size)
    if vocab_size**order >= 2**63:
        raise ValueError(
            f"fit_ngrams: vocab_size ** order must be below 2 ** 63, got {vocab_size} ** {order}. "
            "Choose a lower order."
        )
    ids = check_ids("fit_ngrams", "ids", ids, vocab_size)
    if not len(ids):
        raise ValueError("fit_ngrams: `ids` must hold at least one id, got none.")
    orders = range(1, min(order, len(ids)) + 1)
    tables = [np.unique(_codes(ids, n, vocab_size), return_counts=True) for n in orders]
    return NGrams(vocab_size, *(tuple(table[i] for table in tables) for i in (0, 1)))


def _codes(ids: np.ndarray, order: int, base: int) -> np.ndarray:
    """Returns the n-gram that ends at each id from the order-th on, as a number."""
    ids = ids.astype(np.int64)
    codes = np.zeros(max(0, len(ids) - order + 1), np.int64)
    for place in range(order):
        codes = codes * base + ids[place : place + len(codes)]
    return codes


def _looked_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Returns the value of each wanted key, 0 where there is none; keys rise."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)
