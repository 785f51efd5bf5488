"""Samplers against enumeration, and how often they draw against how often they should."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from seqjax import decode

LOGITS = st.lists(
    st.sampled_from([-jnp.inf, -2.0, -0.5, 0.0, 0.25, 1.0, 3.0]), min_size=1, max_size=6
).filter(lambda logits: max(logits) > -np.inf)


def kept(filtered):
    return set(np.flatnonzero(np.isfinite(filtered)).tolist())


def by_rank(logits):
    return sorted(range(len(logits)), key=lambda i: (-logits[i], i))


@given(LOGITS, st.integers(1, 8))
def test_top_k_keeps_the_k_first(logits, k):
    wanted = {i for i in by_rank(logits)[:k] if logits[i] > -np.inf}
    found = decode.keep_top_k(jnp.array(logits), k)
    assert kept(found) == wanted
    for i in wanted:
        assert found[i] == logits[i]


@given(LOGITS, st.floats(0.01, 1.0))
def test_top_p_keeps_the_smallest_set_that_has_the_probability(logits, p):
    """Of all sets of tokens: the fewest that reach p, and of those the likeliest."""
    probabilities = np.exp(np.array(logits, np.float64))
    probabilities /= probabilities.sum()
    found = kept(decode.keep_top_p(jnp.array(logits), p))
    assert found
    real = [i for i in range(len(logits)) if probabilities[i] > 0]
    for size in range(1, len(real) + 1):
        sets = itertools.combinations(real, size)
        best = max(float(sum(probabilities[i] for i in chosen)) for chosen in sets)
        if best >= p - 1e-6:  # as many sizes may be right as rounding leaves open
            found_sum = sum(probabilities[i] for i in found)
            if abs(best - p) > 1e-6 and p < 1:
                assert len(found) == size
                assert found_sum == pytest.approx(best)
                assert found == set(by_rank(logits)[:size])
            break
    if p == 1:
        assert found == set(real)


def test_filters_take_any_batch():
    logits = jax.random.normal(jax.random.key(0), (2, 3, 7))
    for keep in (lambda x: decode.keep_top_k(x, 3), lambda x: decode.keep_top_p(x, 0.7)):
        whole = jax.jit(keep)(logits)
        for i, j in np.ndindex(2, 3):
            np.testing.assert_array_equal(whole[i, j], keep(logits[i, j]))


def test_top_p_keeps_at_least_one():
    sure = jnp.array([[0.0, 50.0, 0.0], [0.0, 0.0, 0.0]])
    assert np.isfinite(decode.keep_top_p(sure, 1e-9)).sum(axis=-1).tolist() == [1, 1]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 2.0, "top_k": 3},
        {"top_p": 0.8},
        {"temperature": 0.7, "top_k": 4, "top_p": 0.9},
    ],
)
def test_frequencies_are_the_probabilities(settings):
    logits = np.array([0.3, -1.0, 1.2, 0.0, -0.2, 0.9])
    scaled = logits / settings.get("temperature", 1.0)
    order = by_rank(scaled)[: settings.get("top_k", 6)]
    probabilities = np.exp(scaled[order])
    probabilities /= probabilities.sum()
    number = 1 + int(np.sum(np.cumsum(probabilities) < settings.get("top_p", 1.0) - 1e-9))
    order, probabilities = order[:number], probabilities[:number]
    draws = 4000
    sample = jax.jit(decode.make_sampler(**settings))
    tokens = sample(jax.random.key(1), jnp.broadcast_to(jnp.float32(logits), (draws, 6)))
    counts = np.bincount(tokens, minlength=6)
    assert counts[order].sum() == draws
    expected = draws * probabilities / probabilities.sum()
    assert stats.chisquare(counts[order], expected).pvalue > 1e-3


def test_no_temperature_is_greedy():
    logits = jax.random.normal(jax.random.key(0), (50, 9))
    likeliest = decode.greedy(None, logits)
    np.testing.assert_array_equal(likeliest, np.argmax(logits, axis=-1))
    for settings in ({"temperature": 0.0}, {"temperature": 1e-4}, {"top_k": 1}, {"top_p": 1e-6}):
        found = decode.make_sampler(**settings)(jax.random.key(3), logits)
        np.testing.assert_array_equal(found, likeliest)
        assert found.dtype == jnp.int32


def test_bits_are_drawn_with_their_probabilities():
    logits = jnp.array([-2.0, 0.0, 1.0])
    for temperature in (1.0, 0.5):
        sample = decode.make_bernoulli_sampler(temperature)
        bits = sample(jax.random.key(0), jnp.broadcast_to(logits, (4000, 3)))
        wanted = 1 / (1 + np.exp(-np.asarray(logits) / temperature))
        counts = np.asarray(bits).sum(axis=0)
        for count, probability in zip(counts, wanted, strict=True):
            assert stats.binomtest(int(count), 4000, float(probability)).pvalue > 1e-3
    assert decode.make_bernoulli_sampler(0.0)(None, logits).tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: decode.make_sampler(-0.1),
            "`temperature` must be a finite number of at least 0, got -0.1",
        ),
        (lambda: decode.make_sampler(top_k=0), "`k` must be an integer of at least 1, got 0"),
        (lambda: decode.make_sampler(top_p=0.0), r"`p` must lie in \(0, 1\], got 0.0"),
        (lambda: decode.make_sampler(top_p=1.5), r"`p` must lie in \(0, 1\], got 1.5"),
        (
            lambda: decode.make_bernoulli_sampler(-1.0),
            "`temperature` must be a finite number of at least 0, got -1",
        ),
    ],
)
def test_mistakes_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
