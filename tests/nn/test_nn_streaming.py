"""Modules step by step: what they say of whole sequences, one step at a time."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import seqjax
from seqjax.nn import RNN, TDNN, Bidirectional, Stack, make_step

XS = jax.random.normal(jax.random.key(0), (2, 6, 3))


def layers(rngs):
    gru = RNN(seqjax.gru(4), 3, rngs=rngs)
    stack = Stack(
        [
            RNN(seqjax.lstm(4, learned_initial_state=True), 3, rngs=rngs),
            TDNN(4, 4, before=2, rngs=rngs),
            RNN(seqjax.gru(4, reset_after=False), 4, rngs=rngs),
        ],
        residual=True,
    )
    return {"rnn": gru, "stack": stack}


@pytest.mark.parametrize("name", ["rnn", "stack"])
def test_equals_whole_sequences(name):
    layer = layers(nnx.Rngs(0))[name]
    if name == "stack":
        layer.layers[0].weights.initial_state.hidden[...] += 0.3
    expected, final = nnx.jit(lambda layer, xs: layer(xs, return_state=True))(layer, XS)
    step = make_step(layer)
    state = layer.initial_state((2,))
    for t in range(6):
        y, state = step(XS[:, t], state)
        np.testing.assert_allclose(y, expected[:, t], atol=1e-6)
    assert jax.tree.structure(state) == jax.tree.structure(final)
    for got, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(final), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-6)
    # Without a state a step starts by itself.
    np.testing.assert_allclose(step(XS[:, 0], None)[0], expected[:, 0], atol=1e-6)


def test_parameters_are_those_of_its_making():
    layer = RNN(seqjax.elman(4), 3, rngs=nnx.Rngs(0))
    step, state = make_step(layer), layer.initial_state((2,))
    before, _ = step(XS[:, 0], state)
    layer.weights.bias[...] += 1.0
    np.testing.assert_array_equal(step(XS[:, 0], state)[0], before)
    assert np.abs(make_step(layer)(XS[:, 0], state)[0] - before).max() > 0.1


def test_one_program():
    """Later steps compile nothing."""
    calls = []

    def call(layer, x, state):
        calls.append(x)
        return layer.step(x, state)

    layer = RNN(seqjax.elman(4), 3, rngs=nnx.Rngs(0))
    step, state = make_step(layer, call), layer.initial_state((2,))
    for t in range(4):
        _, state = step(XS[:, t], state)
    assert len(calls) == 1


def test_looking_ahead_is_refused():
    rngs = nnx.Rngs(0)
    both = Bidirectional(seqjax.elman(4), 3, rngs=rngs)
    ahead = TDNN(3, 4, after=1, rngs=rngs)
    backwards = RNN(seqjax.elman(4), 3, reverse=True, rngs=rngs)
    for layer in (both, ahead, backwards, Stack([both]), Stack([ahead])):
        message = f"seqjax.nn.{type(layer).__name__}.step: a layer must not read later inputs"
        with pytest.raises(ValueError, match=re.escape(message)):
            make_step(layer)(XS[:, 0], None)
    # Its states exist all the same, for whole sequences.
    ys = both(XS, initial_state=both.initial_state((2,)))
    assert jnp.shape(ys) == (2, 6, 8)
