"""The feed-forward layer over a window of steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import seqjax


def make(before, after, in_size=3, out_size=4):
    return seqjax.nn.TDNN(in_size, out_size, before=before, after=after, rngs=nnx.Rngs(0))


def by_hand(layer, xs):
    """One sequence, step by step."""
    kernel, bias = np.asarray(layer.linear.kernel[...]), np.asarray(layer.linear.bias[...])
    rows = []
    for t in range(len(xs)):
        seen = [
            xs[t + k] if 0 <= t + k < len(xs) else np.zeros(3)
            for k in range(-layer.before, layer.after + 1)
        ]
        rows.append(np.maximum(np.concatenate(seen) @ kernel + bias, 0))
    return np.array(rows).reshape(len(xs), layer.out_size)


@settings(max_examples=10, deadline=None)
@given(
    before=st.integers(0, 4),
    after=st.integers(0, 3),
    ends=st.lists(st.integers(0, 6), min_size=3, max_size=3),
)
def test_equals_the_sum_over_the_window(before, after, ends):
    layer = make(before, after)
    layer.linear.bias[...] = jnp.full(4, 0.3)  # so that padding would show
    xs = np.random.default_rng(0).normal(size=(3, 6, 3)).astype(np.float32)
    ys, state = layer(jnp.asarray(xs), lengths=jnp.array(ends), return_state=True)
    lasts = layer(jnp.asarray(xs), lengths=jnp.array(ends), return_sequences=False)
    for row, end in enumerate(ends):
        expected = by_hand(layer, xs[row, :end])
        np.testing.assert_allclose(ys[row, :end], expected, rtol=1e-5, atol=1e-6)
        assert not np.asarray(ys[row, end:]).any()
        last = expected[-1] if end else np.zeros(4)
        np.testing.assert_allclose(lasts[row], last, rtol=1e-5, atol=1e-6)
        padded = np.concatenate([np.zeros((before, 3)), xs[row, :end]])
        np.testing.assert_array_equal(state.inputs[row], padded[len(padded) - before :])


def test_step_by_step_equals_the_whole():
    layer = make(3, 0)
    xs = jax.random.normal(jax.random.key(0), (2, 7, 3))
    whole = layer(xs)
    state, steps = None, []
    for t in range(7):
        y, state = layer(xs[:, t : t + 1], initial_state=state, return_state=True)
        steps.append(y)
    np.testing.assert_allclose(jnp.concatenate(steps, axis=1), whole, rtol=1e-6, atol=1e-6)


def test_it_has_no_memory_beyond_the_window():
    layer = make(2, 1)
    gradient = jax.jacobian(lambda xs: layer(xs)[4])(jnp.ones((8, 3)) / 3)
    seen = np.abs(np.asarray(gradient)).sum(axis=(0, 2)) > 0
    assert not seen[[0, 1, 6, 7]].any()


def test_in_a_stack_and_without_batch():
    rngs = nnx.Rngs(0)
    layers = [
        seqjax.nn.TDNN(3, 4, before=1, rngs=rngs),
        seqjax.nn.RNN(seqjax.gru(5), 4, rngs=rngs),
    ]
    stack = seqjax.nn.Stack(layers)
    assert stack(jnp.ones((6, 3))).shape == (6, 5)


def test_refuses():
    layer = make(1, 1)
    xs = jnp.ones((2, 5, 3))
    with pytest.raises(ValueError, match="Pass `lengths`, or separate sequences"):
        layer(xs, mask=jnp.ones((2, 5), bool))
    _, state = make(1, 0)(xs, return_state=True)
    with pytest.raises(ValueError, match="with after=1 the layer needs whole sequences"):
        layer(xs, initial_state=state)
    with pytest.raises(ValueError, match="`before` must be an integer of at least 0, got -1"):
        make(-1, 0)
