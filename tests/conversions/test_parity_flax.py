"""The cells against Flax NNX: values and gradients, as far as its biases allow.

Flax's GRU has no bias on the recurrent candidate, so ours is zero there (and nowhere else).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import seqjax
from seqjax import convert

pytestmark = pytest.mark.usefixtures("x64")

B, T, D, H = 4, 6, 3, 5
XS = np.random.default_rng(0).normal(size=(B, T, D))


LAYERS = {
    "simple": (seqjax.elman(H), nnx.SimpleCell),
    "lstm": (seqjax.lstm(H), nnx.LSTMCell),
    "optimised_lstm": (seqjax.lstm(H), nnx.OptimizedLSTMCell),
    "gru": (seqjax.gru(H), nnx.GRUCell),
}


@pytest.mark.parametrize("name", LAYERS)
def test_values_and_gradients(name):
    cell, make = LAYERS[name]
    theirs = make(D, H, dtype=jnp.float64, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(1)
    state = nnx.state(theirs, nnx.Param)
    random = jax.tree.map(lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape)), state)
    nnx.update(theirs, random)

    graph, weights, rest = nnx.split(theirs, nnx.Param, ...)

    def their_loss(weights, xs):
        layer = nnx.merge(graph, weights, rest)
        carry = tuple(jnp.zeros((2, B, H))) if "lstm" in name else jnp.zeros((B, H))
        ys = []
        for t in range(T):
            carry, y = layer(carry, xs[:, t])
            ys.append(y)
        ys = jnp.stack(ys, axis=1)
        return (ys**2).sum(), (ys, carry)

    def our_loss(weights, xs):
        params = convert.load_params(cell, weights, "nnx")
        ys, state = seqjax.unroll(cell, params, jnp.swapaxes(xs, 0, 1))
        return (ys**2).sum(), (jnp.swapaxes(ys, 0, 1), state)

    with jax.numpy_rank_promotion("allow"):
        expected, (ys, carry) = jax.jit(jax.grad(their_loss, (0, 1), has_aux=True))(weights, XS)
    got, (our_ys, state) = jax.jit(jax.grad(our_loss, (0, 1), has_aux=True))(weights, XS)
    close(our_ys, ys)
    # Flax's order is (c, h).
    close(tuple(state), tuple(reversed(carry)) if "lstm" in name else (carry,))
    # Through the mapping, so that each gradient stands in Flax's own layout.
    close(got, expected)


def close(got, expected):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
