"""The convolutional LSTM, whose inputs and states have height and width."""

import functools
import pickle
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import both_directions, problem, random_params, sigmoid
from flax import nnx
from jax.test_util import check_grads

import seqjax
from seqjax.cells import LSTMState

SPACE, IN, SIZE, STEPS, BATCH = (3, 4), 2, 2, 5, 3
CELL = seqjax.conv_lstm((*SPACE, SIZE))
with jax.enable_x64(True):
    PARAMS = random_params(CELL, IN)
DATA = problem(STEPS, (BATCH,))
XS = np.random.default_rng(0).normal(size=(STEPS, BATCH, *SPACE, IN))
VALID = DATA.valid[..., None, None, None]
START = LSTMState(*np.random.default_rng(1).normal(size=(2, BATCH, *SPACE, SIZE)))
pytestmark = pytest.mark.usefixtures("x64")
unroll = jax.jit(
    seqjax.unroll, static_argnums=0, static_argnames=("reverse", "executor", "return_states")
)
run = functools.partial(
    unroll, CELL, PARAMS, lengths=DATA.lengths, mask=DATA.mask, resets=DATA.resets
)


def convolved(x, kernel):
    """A sum over the neighbours of every place, with zeros around the edges."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    ys = np.zeros((*x.shape[:2], kernel.shape[-1]))
    for row, column in np.ndindex(*x.shape[:2]):
        for i, j in np.ndindex(3, 3):
            ys[row, column] += padded[row + i, column + j] @ kernel[i, j]
    return ys


def step(h, c, x):
    p = {name: np.asarray(leaf) for name, leaf in PARAMS.items()}
    gates = convolved(x, p["input_kernel"]) + convolved(h, p["recurrent_kernel"]) + p["bias"]
    i, f, g, o = np.split(gates, 4, axis=-1)
    p_i, p_f, p_o = p["peepholes"]
    c = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * np.tanh(g)
    return sigmoid(o + p_o * c) * np.tanh(c), c


def reference(reverse):
    ys, final = np.zeros((STEPS, BATCH, *SPACE, SIZE)), []
    for b in range(BATCH):
        h, c = START.hidden[b], START.cell[b]
        for t in range(STEPS)[::-1] if reverse else range(STEPS):
            if DATA.resets[t, b]:
                h, c = np.zeros_like(h), np.zeros_like(c)
            if DATA.valid[t, b]:
                h, c = step(h, c, XS[t, b])
                ys[t, b] = h
        final.append((h, c))
    return ys, tuple(np.stack(field) for field in zip(*final, strict=True))


@both_directions
@pytest.mark.parametrize("executor", ["sequential", "scan"])
def test_equals_a_plain_loop(executor, reverse):
    xs = np.where(VALID, XS, np.nan)
    ys, state = run(xs, initial_state=START, reverse=reverse, executor=executor)
    expected, final = reference(reverse)
    np.testing.assert_allclose(ys, expected, rtol=1e-10, atol=1e-12)
    for got, wanted in zip(state, final, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-12)


def test_two_chunks_equal_one_pass():
    ys, state = unroll(CELL, PARAMS, XS)
    first, carried = unroll(CELL, PARAMS, XS[:3])
    rest, last = unroll(CELL, PARAMS, XS[3:], initial_state=carried)
    np.testing.assert_allclose(jnp.concatenate([first, rest]), ys, rtol=1e-12)
    np.testing.assert_allclose(last.cell, state.cell, rtol=1e-12)
    y, _ = seqjax.step(CELL, PARAMS, XS[0])
    np.testing.assert_allclose(y, ys[0], rtol=1e-12)


def test_gradients():
    """Against finite differences; NaN in the padding reaches none."""

    def loss(params, xs):
        ys, state = run(jnp.where(VALID, xs, jnp.nan), initial_state=START)
        other, _ = unroll(CELL, params, xs[:2])
        return (ys**2).sum() + state.cell.sum() + (other**2).sum()

    check_grads(loss, (PARAMS, jnp.asarray(XS)), order=1, modes=["rev"], rtol=1e-5, atol=1e-5)
    gradient = jax.grad(lambda xs: run(xs, initial_state=START)[0].sum())
    padded = gradient(np.where(VALID, XS, np.nan))
    assert (padded[~DATA.valid] == 0).all()
    assert np.isfinite(padded).all()


def test_bfloat16_and_no_batch():
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), PARAMS)
    xs = jnp.asarray(XS[:, 0], jnp.float32)
    ys, _ = unroll(CELL, params, xs)
    low, kept = unroll(CELL, params, xs.astype(jnp.bfloat16))
    assert ys.shape == (STEPS, *SPACE, SIZE)
    assert (low.dtype, kept.cell.dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_allclose(low.astype(jnp.float32), ys, atol=0.05)
    gradient = jax.grad(lambda p: unroll(CELL, p, xs.astype(jnp.bfloat16))[0].sum())(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_zoneout_runs_on_images():
    cell = seqjax.transforms.zoneout(CELL, 1 - 1e-6)
    _, state = seqjax.unroll(cell, PARAMS, XS, initial_state=START, key=jax.random.key(0))
    np.testing.assert_allclose(state.cell, START.cell, rtol=1e-6)


def test_without_peepholes_and_at_first():
    cell = seqjax.conv_lstm((*SPACE, SIZE), peepholes=False)
    params = CELL.init(jax.random.key(0), IN)
    bare = {name: leaf for name, leaf in params.items() if name != "peepholes"}
    assert jax.tree.structure(cell.init(jax.random.key(0), IN)) == jax.tree.structure(bare)
    np.testing.assert_array_equal(unroll(cell, bare, XS)[0], unroll(CELL, params, XS)[0])
    np.testing.assert_array_equal(params["bias"], np.repeat([0, 1, 0, 0], SIZE))
    assert pickle.loads(pickle.dumps(CELL)) == CELL == seqjax.conv_lstm((*SPACE, SIZE)) != cell
    assert str(CELL) == "conv_lstm((3, 4, 2))"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: seqjax.conv_lstm(8), "`hidden_size` must be (height, width, channels), got 8."),
        (lambda: seqjax.conv_lstm((3, 0, 2)), "`width` must be an integer of at least 1, got 0."),
        (
            lambda: seqjax.unroll(CELL, PARAMS, jnp.ones((5, 4, 3, 2))),
            "seqjax.unroll: `xs` must have shape (T, *B, 3, 4, D), got (5, 4, 3, 2).",
        ),
        (
            lambda: seqjax.unroll(CELL, PARAMS, jnp.ones((5, 3, 4, 6))),
            "for the parameters of conv_lstm((3, 4, 2)), the input must have in_size = 2 features",
        ),
        (
            lambda: seqjax.nn.RNN(CELL, IN, rngs=nnx.Rngs(0)),
            "seqjax.nn.RNN: `cell` must take vectors, (..., D), got conv_lstm((3, 4, 2)), which "
            "takes inputs of shape (..., 3, 4, D). Run it with seqjax.unroll.",
        ),
        (
            lambda: seqjax.gradflow.step_jacobians(CELL, PARAMS, XS),
            "seqjax.gradflow: `cell` must take vectors, (..., D), got conv_lstm((3, 4, 2))",
        ),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        call()
    assert "\n" not in str(raised.value)
