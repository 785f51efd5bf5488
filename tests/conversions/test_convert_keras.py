"""Keras's weights to ours and back, as a list and by path."""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import BY_NAME, HIDDEN, IN, Problem, reference
from flax import nnx
from marks import with_usual

import seqjax
from seqjax import convert
from seqjax.nn import RNN, Bidirectional, Stack

os.environ.setdefault("KERAS_BACKEND", "jax")
keras = pytest.importorskip(
    "keras", reason="Keras is not installed: no parity with it", exc_type=ImportError
)
if keras.backend.backend() != "jax":
    pytest.skip("Keras runs on another backend", allow_module_level=True)

# Keras's own `get_weights` meets NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STEPS, BATCH = 3, 2
XS = np.random.default_rng(0).normal(size=(BATCH, STEPS, IN)).astype(np.float32)
KINDS = {
    "elman_tanh": functools.partial(keras.layers.SimpleRNN, HIDDEN),
    "elman_relu": functools.partial(keras.layers.SimpleRNN, HIDDEN, activation="relu"),
    "lstm": functools.partial(keras.layers.LSTM, HIDDEN),
    "gru": functools.partial(keras.layers.GRU, HIDDEN, reset_after=True),
    "gru_reset_before": functools.partial(keras.layers.GRU, HIDDEN, reset_after=False),
}


@pytest.fixture(autouse=True)
def promotion_allowed():
    """Keras promotes ranks silently, which our own code may not."""
    with jax.numpy_rank_promotion("allow"):
        yield


def randomise(model, seed):
    rng = np.random.default_rng(seed)
    model.set_weights([0.5 * rng.normal(size=weight.shape) for weight in model.weights])


def by_path(model):
    return {weight.path: np.asarray(weight) for weight in model.weights}


def our_outputs(kind, sides, xs):
    """One layer, by plain loops over steps and sequences."""
    xs = np.swapaxes(xs, 0, 1)
    plain = Problem(
        xs, np.full(BATCH, STEPS), np.ones((STEPS, BATCH), bool), np.zeros((STEPS, BATCH), bool)
    )
    with jax.enable_x64(True):
        ys = [
            reference(BY_NAME[kind], side.cell_params(), plain, reverse=side.reverse)[0]
            for side in sides
        ]
    return np.swapaxes(np.concatenate(ys, axis=-1), 0, 1)


@pytest.mark.parametrize(
    "kind",
    with_usual(KINDS, ("elman_tanh", "gru")),
)
def test_both_ways(kind):
    """A layer of each direction on top of one of both."""
    inputs = keras.Input((STEPS, IN))
    both = keras.layers.Bidirectional(KINDS[kind](return_sequences=True))(inputs)
    model = keras.Model(inputs, [both, KINDS[kind](return_sequences=True, name="upper")(both)])
    rngs = nnx.Rngs(0)
    cell = BY_NAME[kind].cell
    lower, upper = Bidirectional(cell, IN, rngs=rngs), RNN(cell, 2 * HIDDEN, rngs=rngs)
    module = Stack([lower, upper])
    bidirectional = model.layers[1].name
    for seed in range(2):
        randomise(model, seed)
        expected = [np.asarray(ys) for ys in model(XS)]
        for weights, names in (
            (model.get_weights(), None),
            (by_path(model), {"layers.1": "upper", "layers.0": bidirectional}),
        ):
            convert.load(module, weights, "keras", names=names)
            ys = our_outputs(kind, [lower.forward, lower.backward], XS)
            close(ys, expected[0])
            close(our_outputs(kind, [upper], ys), expected[1])
            back = convert.dump(module, "keras", names=names, like=weights)
            assert type(back) is type(weights)
            # The two biases of an update or reset gate come back as their sum.
            model.set_weights(list(back.values() if isinstance(back, dict) else back))
            for got, wanted in zip(model(XS), expected, strict=True):
                close(np.asarray(got), wanted)
        for got, wanted in zip(convert.dump(module, "keras"), model.get_weights(), strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_without_biases():
    layer = keras.layers.GRU(HIDDEN, use_bias=False)
    layer.build((BATCH, STEPS, IN))
    params = convert.load_params(BY_NAME["gru"].cell, layer.get_weights(), "keras")
    assert not params.bias.any()
    assert not params.recurrent_bias.any()
    like = convert.dump_params(BY_NAME["gru"].cell, params, "keras", like=layer.get_weights())
    assert len(like) == 2
    biased = params._replace(bias=params.bias + 1)
    with pytest.raises(convert.ConvertError, match="got a bias of the gate 'update'"):
        convert.dump_params(BY_NAME["gru"].cell, biased, "keras", like=layer.get_weights())


def test_a_module_of_ones_own_needs_an_order():
    """Flax sorts the attributes of a module when it compiles it: their order says nothing."""
    rngs = nnx.Rngs(0)
    ours = nnx.Dict(
        words=seqjax.nn.Embedding(5, IN, rngs=rngs),
        recurrent=RNN(seqjax.elman(HIDDEN), IN, rngs=rngs),
        last=nnx.Linear(HIDDEN, 2, rngs=rngs),
    )
    order = {"words": "", "recurrent": "", "last": ""}
    weights = convert.dump(ours, "keras", names=order)
    assert [array.shape for array in weights[:2]] == [(5, IN), (IN, HIDDEN)]
    convert.load(ours, [array + 1 for array in weights], "keras", names=order)
    np.testing.assert_array_equal(convert.dump(ours, "keras", names=order)[-1], weights[-1] + 1)


@pytest.mark.extended
def test_trained_model():
    """The classic script: its predictions are ours to 1e-5, and ours, trained on, are theirs."""
    rng = np.random.default_rng(1)
    tokens = rng.integers(1, 20, size=(16, 7))
    labels = (tokens[:, 0] > 10).astype(np.float32)
    theirs = keras.Sequential(
        [
            keras.layers.Embedding(20, 8),
            keras.layers.Bidirectional(keras.layers.LSTM(6)),
            keras.layers.Dense(1),
        ]
    )
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    theirs.compile(optimizer=keras.optimizers.Adam(0.01), loss=loss)
    before = float(theirs.train_on_batch(tokens, labels))
    for _ in range(5):
        after = float(theirs.train_on_batch(tokens, labels))
    assert after < before

    rngs = nnx.Rngs(0)
    ours = seqjax.nn.SequenceClassifier(
        seqjax.nn.Embedding(20, 8, rngs=rngs),
        seqjax.nn.Bidirectional(seqjax.lstm(6), 8, rngs=rngs),
        num_classes=1,
        rngs=rngs,
    )
    lengths = jnp.full(16, 7)
    run = nnx.jit(lambda model: model(jnp.asarray(tokens), lengths))
    expected = np.asarray(theirs(tokens))
    for weights in (theirs.get_weights(), by_path(theirs)):
        ours.head.kernel[...] = jnp.zeros((12, 1))
        convert.load(ours, weights, "keras")
        np.testing.assert_allclose(run(ours), expected, atol=1e-5)

    ours.recurrent.forward.weights.bias[...] += 0.5
    ours.head.bias[...] += 1.0
    theirs.set_weights(convert.dump(ours, "keras"))
    changed = np.asarray(theirs(tokens))
    assert np.abs(changed - expected).max() > 0.1
    np.testing.assert_allclose(run(ours), changed, atol=1e-5)


def close(got, expected):
    """Keras computes in float32 only."""
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
