"""Weights of Flax, linen and NNX, to ours and back: cells, both directions, a whole model."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import BY_NAME, HIDDEN, IN, Problem, reference
from flax import linen, nnx

import seqjax
from seqjax import convert
from seqjax.nn import RNN, Bidirectional, Stack

pytestmark = pytest.mark.usefixtures("x64")

STEPS, BATCH = 3, 2
XS = np.random.default_rng(0).normal(size=(STEPS, BATCH, IN))
PLAIN = Problem(
    XS, np.full(BATCH, STEPS), np.ones((STEPS, BATCH), bool), np.zeros((STEPS, BATCH), bool)
)
DOUBLE = {"dtype": jnp.float64, "param_dtype": jnp.float64}
CELLS = {
    "linen SimpleCell": ("elman_tanh", linen.SimpleCell),
    "linen LSTMCell": ("lstm", linen.LSTMCell),
    "linen OptimizedLSTMCell": ("lstm", linen.OptimizedLSTMCell),
    "linen GRUCell": ("gru", linen.GRUCell),
    "nnx SimpleCell": ("elman_tanh", nnx.SimpleCell),
    "nnx LSTMCell": ("lstm", nnx.LSTMCell),
    "nnx OptimizedLSTMCell": ("lstm", nnx.OptimizedLSTMCell),
    "nnx GRUCell": ("gru", nnx.GRUCell),
}


def randomise(tree, seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: 0.5 * rng.normal(size=leaf.shape), tree)


def make(name):
    """A layer of theirs: its weights' shapes, and a compiled function of weights."""
    framework, _, kind = name.partition(" ")
    make_cell = getattr(linen if framework == "linen" else nnx, kind)
    with jax.numpy_rank_promotion("allow"):
        if framework == "linen":
            layer = linen.RNN(make_cell(HIDDEN, **DOUBLE), time_major=True)
            shapes = jax.eval_shape(layer.init, jax.random.key(0), XS)
            return shapes, jax.jit(lambda weights: layer.apply(weights, XS))
        layer = nnx.RNN(make_cell(IN, HIDDEN, rngs=nnx.Rngs(0), **DOUBLE), time_major=True)
        graph, state, rest = nnx.split(layer, nnx.Param, ...)
        start = jnp.zeros((BATCH, HIDDEN))
        start = (start, start) if "LSTM" in kind else start

        def run(weights):
            nnx.replace_by_pure_dict(copy := jax.tree.map(lambda leaf: leaf, state), weights)
            return nnx.merge(graph, copy, rest)(XS, initial_carry=start)

        return nnx.to_pure_dict(state), jax.jit(run)


@pytest.mark.parametrize("name", CELLS)
def test_both_ways(name):
    kind, _ = CELLS[name]
    framework = name.partition(" ")[0]
    row = BY_NAME[kind]
    shapes, run = make(name)
    with jax.numpy_rank_promotion("allow"):
        for seed in range(3):
            weights = randomise(shapes, seed)
            expected = run(weights)
            params = convert.load_params(row.cell, weights, framework)
            close(reference(row, params, PLAIN)[0], expected)
            back = convert.dump_params(row.cell, params, framework, like=randomise(shapes, 9))
            assert jax.tree.structure(back) == jax.tree.structure(weights)
            for got, wanted in zip(jax.tree.leaves(back), jax.tree.leaves(weights), strict=True):
                np.testing.assert_array_equal(got, wanted)
            made = convert.dump_params(row.cell, params, framework)
            again = convert.load_params(row.cell, made, framework)
            for got, wanted in zip(jax.tree.leaves(again), jax.tree.leaves(params), strict=True):
                np.testing.assert_array_equal(got, wanted)


def test_recurrent_bias_has_no_place():
    """NNX's GRU lacks the bias that ours has on the candidate; linen's has it."""
    row = BY_NAME["gru"]
    params = convert.load_params(row.cell, randomise(make("linen GRUCell")[0], 0), "linen")
    with pytest.raises(convert.ConvertError, match="got a recurrent bias of the gate 'candidate'"):
        convert.dump_params(row.cell, params, "nnx")
    without = params._replace(recurrent_bias=jnp.zeros(HIDDEN))
    assert "dense_h" in convert.dump_params(row.cell, without, "nnx")


class Tagger(linen.Module):
    """A model of theirs, with two layers, of which one runs in both directions."""

    @linen.compact
    def __call__(self, tokens):
        cell = functools.partial(linen.OptimizedLSTMCell, HIDDEN, **DOUBLE)
        xs = linen.Embed(7, IN, **DOUBLE, name="words")(tokens)
        both = linen.Bidirectional(linen.RNN(cell()), linen.RNN(cell()), name="both")
        xs = linen.RNN(linen.GRUCell(HIDDEN, **DOUBLE), name="upper")(both(xs))
        return linen.Dense(2, **DOUBLE, name="tags")(xs)


def test_whole_model():
    """In a module made inside another, linen names a cell by its class, without its direction."""
    model, tokens = Tagger(), np.array([[1, 2, 3], [4, 5, 6]])
    with jax.numpy_rank_promotion("allow"):
        weights = randomise(jax.eval_shape(model.init, jax.random.key(0), tokens), 1)
        expected = jax.jit(model.apply)(weights, tokens)
    rngs = nnx.Rngs(0)
    double = {"param_dtype": jnp.float64, "rngs": rngs}
    stack = Stack(
        [
            Bidirectional(seqjax.lstm(HIDDEN), IN, **double),
            RNN(seqjax.gru(HIDDEN), 2 * HIDDEN, **double),
        ]
    )
    ours = nnx.Dict(
        words=seqjax.nn.Embedding(7, IN, **double),
        recurrent=stack,
        tags=nnx.Linear(HIDDEN, 2, **double),
    )
    groups = sorted(weights["params"])
    forward, backward = (name for name in groups if name.startswith("OptimizedLSTMCell"))
    names = {
        "recurrent.layers.0.forward": forward,
        "recurrent.layers.0.backward": backward,
    }
    convert.load(ours, weights, "linen", names=names)

    @nnx.jit
    def run(model, tokens):
        return model["tags"](model["recurrent"](model["words"](tokens)))

    close(run(ours, jnp.asarray(tokens)), expected)
    back = convert.dump(ours, "linen", names=names, like=weights)
    for got, wanted in zip(jax.tree.leaves(back), jax.tree.leaves(weights), strict=True):
        np.testing.assert_array_equal(got, wanted)


def close(got, expected):
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=1e-11, atol=1e-12)
