"""The cells against Keras on the JAX backend: values, final states, masks and both directions."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from marks import with_usual

import seqjax
from seqjax import convert
from seqjax.nn import Bidirectional

os.environ.setdefault("KERAS_BACKEND", "jax")
keras = pytest.importorskip(
    "keras", reason="Keras is not installed: no parity with it", exc_type=ImportError
)
if keras.backend.backend() != "jax":
    pytest.skip("Keras runs on another backend", allow_module_level=True)

B, T, D, H = 4, 6, 3, 5
LENGTHS = np.array([6, 1, 4, 3])
XS = np.random.default_rng(0).normal(size=(B, T, D)).astype(np.float32)

LAYERS = {
    "rnn_tanh": (seqjax.elman(H), keras.layers.SimpleRNN, {}),
    "rnn_relu": (
        seqjax.elman(H, activation="relu"),
        keras.layers.SimpleRNN,
        {"activation": "relu"},
    ),
    "lstm": (seqjax.lstm(H), keras.layers.LSTM, {}),
    "gru_reset_after": (seqjax.gru(H), keras.layers.GRU, {"reset_after": True}),
    "gru_reset_before": (
        seqjax.gru(H, reset_after=False),
        keras.layers.GRU,
        {"reset_after": False},
    ),
}


@pytest.fixture(autouse=True)
def promotion_allowed():
    """Keras promotes ranks silently, which our own code may not."""
    with jax.numpy_rank_promotion("allow"):
        yield


def randomise(layer):
    rng = np.random.default_rng(2)
    layer.set_weights([0.5 * rng.normal(size=weight.shape) for weight in layer.weights])
    return [np.asarray(weight.value) for weight in layer.weights]


def make(name):
    cell, layer, options = LAYERS[name]
    options = {"return_sequences": True, **options}
    return cell, layer(H, **options, return_state=True), options


@pytest.mark.parametrize(
    "name",
    with_usual(LAYERS, ("lstm", "gru_reset_after")),
)
def test_values_and_gradients(name):
    """Each parameter's gradient stands in their layout."""
    cell, layer, _ = make(name)
    layer.build((B, T, D))
    weights = randomise(layer)
    expected, *final = layer(XS)

    @jax.jit
    def ours(weights, xs):
        def of(weights, xs):
            params = convert.load_params(cell, weights, "keras")
            ys, state = seqjax.unroll(cell, params, jnp.swapaxes(xs, 0, 1))
            return (ys**2).sum(), (jnp.swapaxes(ys, 0, 1), state)

        return jax.grad(of, (0, 1), has_aux=True)(weights, xs)

    gradients, (ys, state) = ours([jnp.asarray(weight) for weight in weights], jnp.asarray(XS))
    close(ys, expected)
    for leaf, wanted in zip(state, final, strict=True):
        close(leaf, wanted)

    variables = [variable.value for variable in layer.trainable_variables]
    others = [variable.value for variable in layer.non_trainable_variables]

    @jax.jit
    def theirs(variables, xs):
        def of(variables, xs):
            return (layer.stateless_call(variables, others, xs)[0][0] ** 2).sum()

        return jax.grad(of, (0, 1))(variables, xs)

    wanted = jax.tree.leaves(theirs(variables, jnp.asarray(XS)))
    for gradient, expected in zip(jax.tree.leaves(gradients), wanted, strict=True):
        close(gradient, expected)


@pytest.mark.parametrize(
    "name",
    [
        "lstm",
        *(
            pytest.param(name, marks=pytest.mark.extended)
            for name in ("gru_reset_after", "gru_reset_before")
        ),
    ],
)
def test_masked_bidirectional(name):
    """Where the padding is masked Keras agrees, once its outputs there are set aside."""
    cell, forward, options = make(name)
    layer = keras.layers.Bidirectional(type(forward)(H, **options))
    layer.build((B, T, D))
    weights = randomise(layer)
    module = Bidirectional(cell, D, rngs=nnx.Rngs(0))
    convert.load(module, weights, "keras")
    mask = np.arange(T) < LENGTHS[:, None]
    expected = np.asarray(layer(jnp.asarray(XS), mask=jnp.asarray(mask)))
    ys = np.asarray(module(np.where(mask[..., None], XS, np.nan), lengths=LENGTHS))
    close(ys[mask], expected[mask])


def close(got, expected):
    """Keras computes in float32 only, whatever dtype it is asked for."""
    scale = np.abs(np.asarray(expected)).max()
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=1e-5, atol=scale * 1e-5)
