"""`SequenceClassifier`: from tokens to logits, by hand and in segments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import seqjax
from seqjax.nn import RNN, Bidirectional, Embedding, SequenceClassifier, Stack
from seqjax.nn._classifier import to_segments

pytestmark = pytest.mark.usefixtures("shared_programs")

VOCAB, D, H = 20, 3, 4
GRU = seqjax.gru(H)
TOKENS = np.random.default_rng(0).integers(1, VOCAB, (4, 7))
LENGTHS = np.array([7, 0, 3, 5])


def classifier(recurrent=None, *, embedding=None, **options):
    rngs = nnx.Rngs(0)
    recurrent = recurrent or Bidirectional(GRU, D, rngs=rngs)
    embedding = Embedding(VOCAB, D, rngs=rngs, **(embedding or {}))
    model = SequenceClassifier(embedding, recurrent, num_classes=2, rngs=rngs, **options)
    rng = np.random.default_rng(1)
    state = nnx.state(model, nnx.Param)
    random = jax.tree.map(lambda x: jnp.asarray(0.5 * rng.normal(size=x.shape), x.dtype), state)
    nnx.update(model, random)
    return model


def call(model, tokens=TOKENS, lengths=LENGTHS, key=None):
    return np.asarray(model(jnp.asarray(tokens), jnp.asarray(lengths), key=key))


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def read_out(model, features):
    """Head, after the hidden layer where there is one."""
    layers = [model.head] if model.hidden is None else [model.hidden, model.head]
    for index, layer in enumerate(layers):
        features = np.maximum(features, 0) if index else features
        features = features @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])
    return features


@pytest.mark.parametrize("hidden_size", [None, 5])
def test_last_equals_parts_by_hand(hidden_size):
    model = classifier(hidden_size=hidden_size)
    vectors = model.embedding(jnp.asarray(TOKENS))
    outputs = np.asarray(model.recurrent(vectors, lengths=LENGTHS))
    last = np.zeros((4, 2 * H), np.float32)
    for b, length in enumerate(LENGTHS):
        if length:
            last[b] = np.concatenate([outputs[b, length - 1, :H], outputs[b, 0, H:]])
    close(call(model), read_out(model, last))


def test_pooling_equals_parts_by_hand():
    model = classifier(pooling="mean_max")
    outputs = np.asarray(model.recurrent(model.embedding(jnp.asarray(TOKENS)), lengths=LENGTHS))
    pooled = np.zeros((4, 4 * H), np.float32)
    for b, length in enumerate(LENGTHS):
        if length:
            steps = outputs[b, :length]
            pooled[b] = np.concatenate([steps.mean(axis=0), steps.max(axis=0)])
    close(call(model), read_out(model, pooled))


def test_segments_equal_parts_by_hand():
    """Segments of 3 steps: each is run from the initial state, all are pooled together."""
    model = classifier(pooling="mean_max", segment_length=3)
    pooled = np.zeros((4, 4 * H), np.float32)
    for b, length in enumerate(LENGTHS):
        pieces = []
        for start in range(0, length, 3):
            tokens = jnp.asarray(TOKENS[b : b + 1, start : min(start + 3, length)])
            pieces.append(np.asarray(model.recurrent(model.embedding(tokens)))[0])
        if pieces:
            steps = np.concatenate(pieces)
            pooled[b] = np.concatenate([steps.mean(axis=0), steps.max(axis=0)])
    close(call(model), read_out(model, pooled))


def test_one_long_segment_is_no_segment():
    whole = call(classifier(pooling="mean_max"))
    close(call(classifier(pooling="mean_max", segment_length=7)), whole)
    close(call(classifier(pooling="mean_max", segment_length=50)), whole)


def test_to_segments():
    xs = jnp.arange(14.0).reshape(2, 7, 1)
    segments = to_segments(xs, 3)
    assert segments.shape == (2, 3, 3, 1)
    np.testing.assert_array_equal(segments[1, :, :, 0], [[7, 8, 9], [10, 11, 12], [13, 0, 0]])


@pytest.mark.parametrize(
    ("pooling", "segment_length"),
    [("last", None), ("attention", None), ("mean_max", 3)],
)
def test_padding_changes_nothing(pooling, segment_length):
    """Neither its tokens nor its amount."""
    model = classifier(pooling=pooling, segment_length=segment_length)
    expected = call(model)
    other = np.where(np.arange(7) < LENGTHS[:, None], TOKENS, 11)
    np.testing.assert_array_equal(call(model, other), expected)
    longer = np.pad(TOKENS, ((0, 0), (0, 4)), constant_values=5)
    close(call(model, longer), expected)


def stack():
    rngs = nnx.Rngs(0)
    return Stack([RNN(GRU, size, rngs=rngs) for size in (D, H)], dropout=0.5)


def test_deterministic_without_a_key():
    """With a key every dropout acts, the same way for the same key."""
    rates = {"dropout": 0.5, "token_dropout": 0.5}
    model = classifier(stack(), embedding=rates, dropout=0.5)
    plain = call(model)
    np.testing.assert_array_equal(plain, call(model))
    one, again, other = (call(model, key=jax.random.key(k)) for k in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3
    undropped = classifier(stack())
    nnx.update(undropped, nnx.state(model))
    np.testing.assert_array_equal(plain, call(undropped))


@pytest.mark.parametrize("where", ["embedding", "stack", "read-out"])
def test_each_dropout_acts_by_itself(where):
    recurrent = stack() if where == "stack" else RNN(GRU, D, rngs=nnx.Rngs(0))
    model = classifier(
        recurrent,
        embedding={"dropout": 0.5 if where == "embedding" else 0.0},
        dropout=0.5 if where == "read-out" else 0.0,
    )
    assert np.abs(call(model, key=jax.random.key(1)) - call(model)).max() > 1e-3


def test_last_and_segments():
    with pytest.raises(ValueError, match='must not be "last" with `segment_length`'):
        classifier(segment_length=3)


def test_unknown_pooling():
    with pytest.raises(ValueError, match="`kind` must be one of last, middle"):
        classifier(pooling="first")


def test_pair_of_outputs():
    pair = Bidirectional(seqjax.gru(4), 3, merge="none", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match='`recurrent` must return one array, got merge="none"'):
        SequenceClassifier(Embedding(5, 3, rngs=nnx.Rngs(0)), pair, num_classes=1, rngs=nnx.Rngs(0))
