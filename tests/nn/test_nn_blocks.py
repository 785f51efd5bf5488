"""The blocks of S5, Mamba and xLSTM: against NumPy, and where a convolution could leak."""

import functools
import math
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import (
    mlstm_output,
    mlstm_step,
    s5_output,
    s5_step,
    s6_output,
    s6_step,
    sigmoid,
    slstm_step,
)
from flax import nnx

import seqjax
from seqjax import nn

STEPS, BATCH = 7, 4
MAKE = {
    "s5": functools.partial(nn.S5Block, 4, state_size=6),
    "mamba": functools.partial(nn.MambaBlock, 2, window=3, state_size=2, rank=1),
    "mlstm": functools.partial(nn.XLSTMBlock, 2, heads=2, window=3),
    "slstm": functools.partial(nn.XLSTMBlock, 4, kind="slstm", heads=2, window=3),
}
every_block = pytest.mark.parametrize("name", MAKE)
rng = np.random.default_rng(0)
LENGTHS = np.array([STEPS, 0, 1, STEPS - 1])
MASK = rng.random((BATCH, STEPS)) < 0.8
RESETS = rng.random((BATCH, STEPS)) < 0.25
VALID = MASK & (np.arange(STEPS)[None] < LENGTHS[:, None])


@functools.cache
def block(name, reverse=False):
    """Returns a block with random parameters in double precision, and these in NumPy."""
    with jax.enable_x64(True):
        layer = MAKE[name](reverse=reverse, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
        draw = np.random.default_rng(1)
        graph, state = nnx.split(layer)
        state = jax.tree.map(lambda leaf: jnp.asarray(0.5 * draw.normal(size=leaf.shape)), state)
        layer = nnx.merge(graph, state)
    return layer, jax.tree.map(np.asarray, nnx.to_pure_dict(state))


def inputs(name):
    size = block(name)[0].in_size
    return np.random.default_rng(2).normal(size=(BATCH, STEPS, size))


@functools.cache
def program(name, reverse=False):
    """Returns the compiled block, which takes every argument."""
    layer = block(name, reverse)[0]

    @jax.jit
    def run(xs, lengths, mask, resets, state):
        options = {"lengths": lengths, "mask": mask, "resets": resets, "initial_state": state}
        return layer(xs, return_state=True, **options)

    return run


def run(name, xs, lengths=LENGTHS, mask=MASK, resets=RESETS, state=None, reverse=False):
    if state is None:
        state = block(name)[0].initial_state((BATCH,), jnp.float64)
    return program(name, reverse)(xs, lengths, mask, resets, state)


def layer_norm(x, epsilon):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)


def silu(x):
    return x * sigmoid(x)


def gelu(x):
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def gelu_of_erf(x):
    return x / 2 * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))


def convolved(p, xs):
    """A filter of three steps for each feature, zeros before the start."""
    padded = np.concatenate([np.zeros((2, xs.shape[1])), xs])
    return p["bias"] + sum(p["kernel"][k] * padded[k : k + len(xs)] for k in range(3))


def scanned(step, output, p, state, xs):
    ys = []
    for x in xs:
        state = step(p, state, x)
        ys.append(output(p, state, x))
    return np.stack(ys)


def s5_by_hand(p, xs):
    seen = layer_norm(xs, 1e-6) * p["norm"]["scale"] + p["norm"]["bias"]
    weights = {"map_kernel": np.eye(4), **p["recurrent"]["weights"]}
    u = gelu(scanned(s5_step, s5_output, weights, (np.zeros(3, complex),), seen))
    return xs + u * sigmoid(u @ p["gate"]["kernel"] + p["gate"]["bias"])


def mamba_by_hand(p, xs):
    seen = xs / np.sqrt((xs**2).mean(-1, keepdims=True) + 1e-5) * p["norm"]["scale"]
    u, z = np.split(seen @ p["expansion"]["kernel"], 2, axis=-1)
    u = silu(convolved(p["convolution"], u))
    weights = {"input_kernel": np.eye(4), **p["recurrent"]["weights"]}
    y = scanned(s6_step, s6_output, weights, (np.zeros((4, 2)),), u)
    return xs + (y * silu(z)) @ p["contraction"]["kernel"]


def head_norm(p, ys):
    return layer_norm(ys.reshape(-1, 2, 2), 1e-5).reshape(-1, 4) * p["head_gain"]


def mlstm_by_hand(p, xs):
    seen = layer_norm(xs, 1e-5) * p["norm"]["scale"]
    u, z = np.split(seen @ p["expansion"]["kernel"], 2, axis=-1)
    c = silu(convolved(p["convolution"], u))
    q, k, v = (x @ kernel[0] for x, kernel in zip((c, c, u), p["projections"], strict=True))
    pick = np.eye(12)
    weights = {
        **p["recurrent"]["weights"],
        "input_kernel": pick[:, 4:],  # keys and values
        "input_bias": np.zeros(8),
        "read_kernel": np.concatenate([pick[:, :4], np.zeros((12, 4))], axis=1),
        "read_bias": np.repeat([0.0, 100.0], 4),  # an open output gate
    }
    start = np.zeros((2, 2, 2)), np.zeros((2, 2)), np.full(2, -np.inf)
    ys = scanned(mlstm_step, mlstm_output, weights, start, np.concatenate([q, k, v], axis=-1))
    ys = (head_norm(p, ys) + p["skip"] * c) * silu(z)
    return xs + ys @ p["contraction"]["kernel"]


def slstm_by_hand(p, xs):
    seen = layer_norm(xs, 1e-5) * p["norm"]["scale"]
    c = silu(convolved(p["convolution"], seen))
    weights = p["recurrent"]["weights"]
    kernel = np.zeros((8, 16))
    for gate in range(4):
        for head in range(2):
            row, column = 4 * (gate > 1) + 2 * head, 4 * gate + 2 * head
            columns = slice(2 * gate, 2 * gate + 2)
            part = weights["input_kernel"][head][:, columns]
            kernel[row : row + 2, column : column + 2] = part
    cell = SimpleNamespace(**{**weights, "input_kernel": kernel})
    start = *np.zeros((3, 4)), np.full(4, -np.inf)
    both = np.concatenate([c, seen], axis=-1)
    ys = scanned(slstm_step, lambda p, state, x: state[0], cell, start, both)
    rest = xs + head_norm(p, ys)
    wide = layer_norm(rest, 1e-5) * p["second_norm"]["scale"] @ p["expansion"]["kernel"]
    a, b = np.split(wide, 2, axis=-1)
    return rest + (gelu_of_erf(a) * b) @ p["contraction"]["kernel"]


BY_HAND = {
    "s5": s5_by_hand,
    "mamba": mamba_by_hand,
    "mlstm": mlstm_by_hand,
    "slstm": slstm_by_hand,
}


def reference(name, xs, *, reverse):
    """Runs the valid steps of each packed sequence by themselves."""
    params, ys = block(name)[1], np.zeros_like(xs)
    for b in range(BATCH):
        packed = np.cumsum(RESETS[b])
        for number in range(packed[-1] + 1):
            steps = np.flatnonzero(VALID[b] & (packed == number))
            steps = steps[::-1] if reverse else steps
            if len(steps):
                ys[b, steps] = BY_HAND[name](params, xs[b, steps])
    return ys


@pytest.mark.parametrize(
    ("name", "reverse"),
    [
        pytest.param("s5", False, marks=pytest.mark.extended),
        pytest.param("mamba", False, marks=pytest.mark.extended),
        ("mlstm", False),
        pytest.param("slstm", False, marks=pytest.mark.extended),
        ("mamba", True),
    ],
)
def test_equals_numpy_with_garbage_in_the_padding(x64, name, reverse):
    xs = inputs(name)
    ys, _ = run(name, np.where(VALID[..., None], xs, np.nan), reverse=reverse)
    np.testing.assert_allclose(ys, reference(name, xs, reverse=reverse), rtol=1e-9, atol=1e-10)


def test_whole_sequences():
    """Without lengths, mask and resets."""
    with jax.enable_x64(True):
        ys = jax.jit(block("mamba")[0])(inputs("mamba")[:1])
    expected = mamba_by_hand(block("mamba")[1], inputs("mamba")[0])
    np.testing.assert_allclose(ys[0], expected, rtol=1e-9, atol=1e-10)


@every_block
def test_chunks_with_a_state_equal_one_pass(x64, name):
    """A chunk is padded, so that it needs no program of its own."""
    xs = inputs(name)
    ys, final = run(name, xs)
    state, parts = None, []
    for start, stop in ((0, 1), (1, 2), (2, 5), (5, STEPS)):
        size = STEPS - (stop - start)
        part = [
            np.concatenate([each[:, start:stop], np.full((BATCH, size, *each.shape[2:]), fill)], 1)
            for each, fill in ((xs, np.nan), (MASK, True), (RESETS, False))
        ]
        lengths = (LENGTHS - start).clip(0, stop - start)
        y, state = run(name, part[0], lengths, part[1], part[2], state)
        parts.append(y[:, : stop - start])
    np.testing.assert_allclose(jnp.concatenate(parts, axis=1), ys, rtol=1e-9, atol=1e-10)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-10), state, final)
    untouched = block(name)[0].initial_state((BATCH,), jnp.float64)
    for got, start in zip(jax.tree.leaves(state), jax.tree.leaves(untouched), strict=True):
        np.testing.assert_array_equal(got[1], start[1])


@every_block
def test_gradients_are_finite_and_reach_every_parameter(x64, name):
    layer, xs = block(name)[0], inputs(name)
    graph, state = nnx.split(layer)

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1))
    def gradient(state, xs):
        options = {"lengths": LENGTHS, "mask": MASK, "resets": RESETS}
        return (nnx.merge(graph, state)(xs, **options) ** 2).sum()

    d_state, d_xs = gradient(state, np.where(VALID[..., None], xs, np.nan))
    assert np.isfinite(d_xs).all()
    assert (d_xs[~VALID] == 0).all()
    for leaf in jax.tree.leaves(d_state):
        assert np.isfinite(leaf).all()
        assert np.abs(leaf).max() > 1e-8


def test_in_a_stack_of_any_layers():
    rngs = nnx.Rngs(0)
    stack = nn.Stack([nn.MambaBlock(4, rngs=rngs), nn.RNN(seqjax.gru(4), 4, rngs=rngs)])
    xs, lengths = jnp.ones((2, 3, 4), jnp.bfloat16), jnp.array([3, 1])

    @nnx.jit
    def call(stack, xs):
        ys, state = stack(xs, lengths=lengths, return_state=True)
        last = stack(xs, lengths=lengths, return_sequences=False)
        return ys, last, stack.step(xs[:, 0], state)[0]

    ys, last, y = call(stack, xs)
    assert (ys.shape, ys.dtype, y.shape) == ((2, 3, 4), jnp.bfloat16, (2, 4))
    np.testing.assert_array_equal(last, ys[jnp.arange(2), lengths - 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: nn.S5Block(0, rngs=r), "seqjax.nn.S5Block: `size` must be an integer of at"),
        (lambda r: nn.S5Block(4, state_size=3, rngs=r), "`state_size` must be a multiple of 2"),
        (lambda r: nn.MambaBlock(4, window=0, rngs=r), "`window` must be an integer of at least 1"),
        (lambda r: nn.XLSTMBlock(4, kind="gru", rngs=r), "`kind` must be one of mlstm, slstm, got"),
        (lambda r: nn.XLSTMBlock(3, rngs=r), "`size` must be even, got 3."),
        (
            lambda r: nn.XLSTMBlock(6, rngs=r, heads=5),
            "`heads` must divide hidden_size = 12",
        ),
        (
            lambda r: nn.MambaBlock(4, reverse=True, rngs=r).step(jnp.ones((2, 4))),
            "seqjax.nn.MambaBlock.step: a layer must not read later inputs",
        ),
        (
            lambda r: nn.MambaBlock(4, rngs=r)(jnp.ones((2, 5, 3))),
            "seqjax.nn.MambaBlock: `xs` must have shape (*B, T, D) with in_size D = 4, got",
        ),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        call(nnx.Rngs(0))
    assert "\n" not in str(raised.value)
