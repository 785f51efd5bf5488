"""Beam search against enumeration of every sequence, on small random models."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqjax import decode

END, VOCAB, MAX_LENGTH, BATCH = 1, 3, 4, 2


def tables(seed, vocab=VOCAB, batch=BATCH):
    """Log-probabilities by row, last token and the one before it: a model with a state."""
    logits = 2 * np.random.default_rng(seed).normal(size=(batch, vocab, vocab, vocab))
    return np.asarray(jax.nn.log_softmax(jnp.asarray(logits, jnp.float32)))


@functools.partial(jax.jit, static_argnames=("width", "alpha", "max_length"))
def search(table, start, *, width, alpha=0.0, max_length=MAX_LENGTH):
    rows = jnp.arange(len(table))[:, None]

    def step(state, tokens):
        return {"before": tokens}, table[rows, state["before"], tokens]

    return decode.beam_search(
        step,
        {"before": jnp.zeros(len(table), int)},
        start,
        end_id=END,
        width=width,
        max_length=max_length,
        alpha=alpha,
    )


def enumerate_all(table, start, alpha, max_length=MAX_LENGTH):
    """Returns every ended sequence of one input with its score, the best first."""
    vocab = len(table)
    others = [token for token in range(vocab) if token != END]
    found = []
    for length in range(1, max_length + 1):
        for tokens in itertools.product(others, repeat=length - 1):
            tokens = (*tokens, END)
            before, last, total = 0, start, 0.0
            for token in tokens:
                total += float(table[before, last, token])
                before, last = last, token
            found.append((total / ((5 + length) / 6) ** alpha, total, tokens))
    return sorted(found, reverse=True)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 1.5]))
def test_full_width_is_exhaustive(seed, alpha):
    table, width = tables(seed), 24  # as many as the continuations of eight prefixes of three
    start = np.array([0, 2])
    found = search(table, start, width=width, alpha=alpha)
    for row in range(BATCH):
        wanted = enumerate_all(table[row], start[row], alpha)
        assert int(found.ended[row].sum()) == len(wanted) == 15
        np.testing.assert_allclose(found.scores[row, :15], [w[0] for w in wanted], rtol=1e-4)
        np.testing.assert_allclose(found.log_probs[row, :15], [w[1] for w in wanted], rtol=1e-4)
        for place, (_, _, tokens) in enumerate(wanted[:3]):
            length = int(found.lengths[row, place])
            written = found.tokens[row, place]
            assert tuple(written[:length].tolist()) == tokens
            assert (written[length:] == END).all()


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_width_one_is_greedy(seed):
    table, start = tables(seed, vocab=5), np.array([0, 2])
    found = search(table, start, width=1)
    for row in range(BATCH):
        before, last, tokens = 0, start[row], []
        while len(tokens) < MAX_LENGTH and END not in tokens:
            tokens.append(int(table[row, before, last].argmax()))
            before, last = last, tokens[-1]
        assert found.lengths[row, 0] == len(tokens)
        assert bool(found.ended[row, 0]) == (END in tokens)
        assert found.tokens[row, 0].tolist() == tokens + [END] * (MAX_LENGTH - len(tokens))


def test_greedy_search_is_the_beam_of_one():
    table = jnp.asarray(tables(3))
    rows = jnp.arange(BATCH)[:, None]

    def step(state, tokens):
        return tokens, table[rows, state, tokens]

    start = jnp.array([0, 2])
    found = decode.greedy_search(
        step, jnp.zeros(BATCH, int), start, end_id=END, max_length=MAX_LENGTH
    )
    for one, other in zip(found, search(table, start, width=1), strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 1.0]))
def test_rows_do_not_depend_on_each_other(seed, alpha):
    """The search of one input may go on while another's could stop: it must not show."""
    table, start, width = tables(seed, vocab=4), np.array([0, 2]), 2
    together = search(table, start, width=width, alpha=alpha)
    for row in range(BATCH):
        twice = search(
            np.stack([table[row]] * BATCH), np.repeat(start[row], BATCH), width=width, alpha=alpha
        )
        ended = np.asarray(together.ended[row])
        np.testing.assert_array_equal(together.ended[row], twice.ended[0])
        np.testing.assert_array_equal(together.tokens[row][ended], twice.tokens[0][ended])
        np.testing.assert_allclose(together.scores[row][ended], twice.scores[0][ended], rtol=1e-5)


def test_a_wider_beam_and_the_penalty_find_longer_sequences():
    """A first token that is likely but leads nowhere; and an end that is likely at once."""
    # 0 first is likelier, but then all is uniform; 2 first makes the end certain.
    probabilities = np.full((3, 3), 1 / 3)
    probabilities[2] = [0.02, 0.96, 0.02]
    first = np.array([0.5, 0.05, 0.45])
    table = np.log(np.stack([np.stack([probabilities[0], probabilities[1], first])] * 3))
    table[:, 0], table[:, 2] = np.log(probabilities[0]), np.log(probabilities[2])
    table[0, 2] = np.log(first)  # the start: token 2 with 0 before it
    table = np.stack([table]).astype(np.float32)
    start = np.array([2])
    assert search(table, start, width=1).tokens[0, 0, 0] == 0
    assert search(table, start, width=2).tokens[0, 0].tolist() == [2, END, END, END]
    short = np.log(np.broadcast_to([0.64, 0.36, 1e-9], (1, 3, 3, 3))).astype(np.float32)
    lengths = [
        int(search(short, np.array([0]), width=4, alpha=alpha).lengths[0, 0])
        for alpha in (0.0, 6.0)
    ]
    assert lengths == [1, MAX_LENGTH]


def test_the_search_stops_early():
    calls = []

    def step(state, tokens):
        jax.debug.callback(lambda: calls.append(1), ordered=False)
        log_probs = jnp.log(jnp.array([0.05, 0.9, 0.05]))
        return state, jnp.broadcast_to(log_probs, (*tokens.shape, 3))

    found = jax.jit(
        lambda: decode.beam_search(
            step, (), jnp.zeros(2, int), end_id=END, width=1, max_length=50, alpha=0.0
        )
    )()
    jax.block_until_ready(found)
    jax.effects_barrier()
    assert found.lengths.tolist() == [[1], [1]]
    assert len(calls) == 1


def test_what_has_not_ended_comes_last():
    log_probs = np.log(np.array([0.5, 1e-6, 0.5], np.float32))
    table = np.broadcast_to(log_probs, (1, 3, 3, 3))
    found = search(table, np.array([0]), width=2, max_length=3)
    assert found.ended.tolist() == [[False, False]]
    assert found.lengths.tolist() == [[3, 3]]
    np.testing.assert_allclose(found.log_probs, 3 * np.log(0.5), rtol=1e-5)
    log_probs = np.log(np.array([0.4, 0.3, 0.3], np.float32))
    found = search(np.broadcast_to(log_probs, (1, 3, 3, 3)), np.array([0]), width=3, max_length=1)
    assert found.ended.tolist() == [[True, False, False]]
    assert found.tokens[0, :, 0].tolist() == [END, 0, 2]


def test_errors():
    for options in ({"width": 0}, {"width": 1, "alpha": -1.0}, {"width": 1, "max_length": 0}):
        with pytest.raises(ValueError, match=r"of at least [01]"):
            search(tables(0), np.array([0, 2]), **options)
