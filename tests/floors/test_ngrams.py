"""The floors of texts and of music, against counting by hand."""

import collections
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.generate.note_baselines import note_rates, note_repetition
from seqjax import floors


def by_hand(train, order, vocab_size):
    """`p(history, symbol)` from dictionaries, the recursion written out."""
    counts = collections.defaultdict(collections.Counter)
    for n in range(order):
        for place in range(n, len(train)):
            counts[tuple(train[place - n : place])][train[place]] += 1

    def p(history, symbol):
        below = p(history[1:], symbol) if history else 1 / vocab_size
        seen = counts.get(history)
        if not seen:
            return below
        total, kinds = sum(seen.values()), len(seen)
        return (seen[symbol] + kinds * below) / (total + kinds)

    return p


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=30),
    st.lists(st.integers(0, 2), min_size=1, max_size=12),
    st.integers(1, 4),
)
def test_ngrams_equal_counting(train, text, order):
    model = floors.fit_ngrams(np.array(train), order, 3)
    p = by_hand(train, order, 3)
    wanted = [
        p(tuple(text[max(0, place - order + 1) : place]), text[place]) for place in range(len(text))
    ]
    np.testing.assert_allclose(np.exp(model.log_probabilities(np.array(text))), wanted)
    if order > 1:
        lower = floors.fit_ngrams(np.array(train), order - 1, 3)
        np.testing.assert_array_equal(
            model.up_to(order - 1).log_probabilities(np.array(text)),
            lower.log_probabilities(np.array(text)),
        )


def test_ngrams_are_probabilities():
    """Over all texts of a length they sum to one."""
    train = np.random.default_rng(0).integers(0, 3, 50)
    model = floors.fit_ngrams(train, 3, 4)  # the id 3 never occurs
    texts = itertools.product(range(4), repeat=4)
    total = sum(np.exp(model.log_probabilities(np.array(text)).sum()) for text in texts)
    assert total == pytest.approx(1)


def test_ngrams_refuse_what_does_not_fit():
    for order, size, got in ((0, 3, "`order` .* got 0"), (20, 100, r"got 100 \*\* 20")):
        with pytest.raises(ValueError, match=got):
            floors.fit_ngrams(np.arange(3), order, size)


def test_notes_by_hand():
    train = [np.array([[1, 0], [1, 1], [0, 1]], float)]
    piece = [np.array([[1, 0], [1, 0]], float)]
    rates = np.array([2.5, 2.5]) / 4
    assert note_rates(train, piece) == pytest.approx(-np.log(rates[0]) - np.log(1 - rates[1]))
    # The first note: silent before once, and then on; sounding twice, and then on once.
    first = -np.log(1.5 / 2) - np.log(1.5 / 3)
    # The second: silent twice, and then on once; in the piece it is silent throughout.
    second = -2 * np.log(1 - 1.5 / 3)
    assert note_repetition(train, piece) == pytest.approx((first + second) / 2)
