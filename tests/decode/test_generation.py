"""Generation: scanned, streamed, and against the logits of the whole sequence."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqjax
from seqjax import decode

V, H, B, PROMPT, STOP = 7, 5, 3, 4, 3


@pytest.fixture(
    scope="module",
    params=[
        *(pytest.param(name, marks=pytest.mark.extended) for name in ("rnn", "gru")),
        *("lstm", "min_gru"),
    ],
)
def model(request):
    """A language model of one cell as `(read, step)`, the tokens one-hot."""
    cell = seqjax.make_cell(request.param, H)
    keys = jax.random.split(jax.random.key(0))
    params = cell.init(keys[0], V)
    read_out = 2 * jax.random.normal(keys[1], (H, V))

    def read(tokens, state=None):
        """Logits (B, T, V) after each of the tokens (B, T), and the last state."""
        xs = jax.nn.one_hot(tokens.T, V)
        ys, state = seqjax.unroll(cell, params, xs, initial_state=state)
        return jnp.moveaxis(ys @ read_out, 0, 1), state

    def step(state, tokens):
        logits, state = read(tokens[:, None], state)
        return state, logits[:, 0]

    return jax.jit(read), step


@pytest.fixture(scope="module")
def prompted(model):
    read, _ = model
    prompt = jax.random.randint(jax.random.key(5), (B, PROMPT), 0, V)
    logits, state = read(prompt)
    return prompt, state, logits[:, -1]


SAMPLE = decode.make_sampler(0.9, top_k=5)


def test_carried_state_gives_the_logits_of_the_whole_sequence(model, prompted):
    """Every token is the one that the whole text up to it, read anew, would have led to."""
    (read, step), (prompt, state, logits) = model, prompted
    key = jax.random.key(2)
    found = decode.generate(step, state, logits, key=key, num_steps=6, sample=SAMPLE)
    assert found.tokens.shape == (B, 6)
    text = jnp.concatenate([prompt, found.tokens], axis=1)
    whole, last = read(text)
    for number in range(6):
        drawn = SAMPLE(jax.random.fold_in(key, number), whole[:, PROMPT - 1 + number])
        np.testing.assert_array_equal(drawn, found.tokens[:, number])
    np.testing.assert_allclose(found.logits, whole[:, -1], rtol=1e-5, atol=1e-5)
    for carried, wanted in zip(jax.tree.leaves(found.state), jax.tree.leaves(last), strict=True):
        np.testing.assert_allclose(carried, wanted, rtol=1e-5, atol=1e-5)


def test_streamed_equals_scanned(model, prompted):
    (_, step), (_, state, logits) = model, prompted
    settings = {"key": jax.random.key(2), "num_steps": 12, "sample": SAMPLE}
    for stop_token in (None, STOP):
        found = decode.generate(step, state, logits, stop_token=stop_token, **settings)
        streamed = list(decode.stream(step, state, logits, stop_token=stop_token, **settings))
        tokens = np.stack(streamed, axis=1)
        number = 12 if stop_token is None else int(found.lengths.max())
        assert tokens.shape[1] == number
        np.testing.assert_array_equal(tokens, found.tokens[:, :number])


def test_a_stopped_sequence_stays(model, prompted):
    (read, step), (prompt, state, logits) = model, prompted
    settings = {"key": jax.random.key(2), "num_steps": 12, "sample": SAMPLE}
    free = decode.generate(step, state, logits, **settings)
    stop = int(free.tokens[0, 4])  # one that is met
    found = decode.generate(step, state, logits, stop_token=stop, **settings)
    assert free.lengths.tolist() == [12] * B
    for row in range(B):
        tokens = free.tokens[row].tolist()
        length = tokens.index(stop) + 1 if stop in tokens else 12
        assert found.lengths[row] == length
        assert found.tokens[row].tolist() == tokens[:length] + [stop] * (12 - length)
        text = jnp.concatenate([prompt[row], found.tokens[row, :length]])
        whole, last = read(text[None])
        np.testing.assert_allclose(found.logits[row], whole[0, -1], rtol=1e-5, atol=1e-5)
        for carried, wanted in zip(
            jax.tree.leaves(found.state), jax.tree.leaves(last), strict=True
        ):
            np.testing.assert_allclose(carried[row], wanted[0], rtol=1e-5, atol=1e-5)
    assert min(found.lengths.tolist()) < 12


def test_greedy_is_the_likeliest_at_every_step(model, prompted):
    (read, step), (prompt, state, logits) = model, prompted
    found = decode.generate(
        step, state, logits, key=jax.random.key(0), num_steps=5, sample=decode.greedy
    )
    text = prompt
    for number in range(5):
        likeliest = np.argmax(read(text)[0][:, -1], axis=-1)
        np.testing.assert_array_equal(found.tokens[:, number], likeliest)
        text = jnp.concatenate([text, likeliest[:, None]], axis=1)


def test_without_an_end_it_goes_on():
    def step(state, tokens):
        return state + 1, jax.nn.one_hot(state % 4, 4)

    first = jax.nn.one_hot(0, 4)
    endless = decode.stream(step, jnp.int32(1), first, key=jax.random.key(0), sample=decode.greedy)
    assert [int(token) for token in itertools.islice(endless, 9)] == [0, 1, 2, 3, 0, 1, 2, 3, 0]


def test_tokens_may_be_vectors_of_bits():
    def step(state, bits):
        return state, 100 * (0.5 - bits)  # what sounds is silent next

    first = jnp.array([[100.0, -100.0]])
    sample = decode.make_bernoulli_sampler()
    settings = {"key": jax.random.key(0), "num_steps": 3, "sample": sample}
    found = decode.generate(step, (), first, **settings)
    assert found.tokens[0].tolist() == [[1, 0], [0, 1], [1, 0]]
    with pytest.raises(ValueError, match="`stop_token` needs a sampler of ids"):
        decode.generate(step, (), first, stop_token=0, **settings)


def test_it_generates_at_least_one():
    with pytest.raises(ValueError, match="`num_steps` must be an integer of at least 1, got 0"):
        decode.generate(
            lambda state, tokens: (state, tokens), (), jnp.zeros((1, 3)),
            key=jax.random.key(0), num_steps=0, sample=decode.greedy,
        )  # fmt: skip
