"""Decoding against the enumeration of every path."""

import collections
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqjax.decode import ctc_beam_search, ctc_collapse, ctc_greedy


def random_log_probs(seed, steps, symbols):
    logits = 2 * np.random.default_rng(seed).normal(size=(steps, symbols))
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def labelling(path, blank):
    """The definition, a symbol at a time."""
    found, before = [], None
    for symbol in path:
        if symbol not in (before, blank):
            found.append(symbol)
        before = symbol
    return tuple(found)


def enumerated(log_probs, blank=0):
    """The probability of every labelling, summed over all paths."""
    totals = collections.defaultdict(float)
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        log_prob = sum(row[symbol] for row, symbol in zip(log_probs, path, strict=True))
        totals[labelling(path, blank)] += math.exp(log_prob)
    return totals


SIZES = {
    "seed": st.integers(0, 10**6),
    "steps": st.integers(1, 5),
    "symbols": st.integers(2, 4),
    "blank": st.integers(0, 1),
}


@given(**SIZES)
def test_a_full_beam_gives_every_labelling_its_probability(seed, steps, symbols, blank):
    log_probs = random_log_probs(seed, steps, symbols)
    wanted = enumerated(log_probs, blank)
    found = ctc_beam_search(log_probs, 10_000, blank)
    assert {tuple(labels) for labels, _ in found} == set(wanted)
    for labels, log_prob in found:
        assert math.exp(log_prob) == pytest.approx(wanted[tuple(labels)])
    assert [p for _, p in found] == sorted((p for _, p in found), reverse=True)
    assert tuple(found[0][0]) == max(wanted, key=wanted.__getitem__)
    assert sum(math.exp(p) for _, p in found) == pytest.approx(1)


@given(**SIZES, width=st.integers(1, 4))
def test_a_narrow_beam_never_claims_too_much(seed, steps, symbols, blank, width):
    log_probs = random_log_probs(seed, steps, symbols)
    wanted = enumerated(log_probs, blank)
    found = ctc_beam_search(log_probs, width, blank)
    assert 1 <= len(found) <= width
    for labels, log_prob in found:
        assert math.exp(log_prob) <= wanted[tuple(labels)] * (1 + 1e-9)


@given(**SIZES)
def test_greedy_is_the_labelling_of_the_best_path(seed, steps, symbols, blank):
    log_probs = random_log_probs(seed, steps, symbols)
    paths = itertools.product(range(symbols), repeat=steps)
    best = max(paths, key=lambda path: sum(log_probs[range(steps), path]))
    padded = np.concatenate([log_probs, np.full((2, symbols), np.nan)])
    assert ctc_greedy(padded[None], [steps], blank) == [list(labelling(best, blank))]


@given(st.lists(st.integers(0, 3)), st.integers(0, 3))
def test_collapse_is_the_definition(path, blank):
    assert ctc_collapse(path, blank) == list(labelling(path, blank))


def test_a_repeated_label_needs_a_blank_between():
    sure = np.log(np.full((3, 3), 0.01) + 0.97 * np.eye(3)[[1, 0, 1]])
    assert ctc_beam_search(sure, 8)[0][0] == [1, 1]
    sure = np.log(np.full((3, 3), 0.01) + 0.97 * np.eye(3)[[1, 1, 1]])
    assert ctc_beam_search(sure, 8)[0][0] == [1]


def test_long_sequences_do_not_underflow():
    log_probs = random_log_probs(0, 3000, 4)
    labels, log_prob = ctc_beam_search(log_probs, 3)[0]
    assert labels
    assert -3000 * math.log(4) < log_prob < 0


def test_certainty_is_not_an_error():
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.eye(3)[[1, 0, 2]])
    assert ctc_beam_search(log_probs, 4) == [([1, 2], 0.0)]


def test_no_steps_no_labels():
    assert ctc_beam_search(np.zeros((0, 3)), 4) == [([], 0.0)]
    assert ctc_greedy(np.zeros((1, 4, 3)), [0]) == [[]]


@pytest.mark.parametrize(
    ("log_probs", "width", "message"),
    [
        (np.zeros(3), 1, r"must have shape \(T, K\), got \(3,\)"),
        (np.log([[0.5, 0.5]]), 0, "`beam_width` must be an integer of at least 1, got 0"),
        (np.array([[0.0, -99], [1.0, 2.0]]), 1, "must add up to 1, got 10.* at frame 1"),
        (np.array([[np.nan, 0.0]]), 1, "must add up to 1, got nan at frame 0"),
    ],
)
def test_mistakes_are_named(log_probs, width, message):
    with pytest.raises(ValueError, match=message):
        ctc_beam_search(log_probs, width)
    with pytest.raises(ValueError, match=r"must have shapes \(B, T, K\) and \(B,\)"):
        ctc_greedy(np.zeros((2, 3, 4)), [3])
