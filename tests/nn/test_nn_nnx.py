"""Modules as citizens of Flax NNX: transforms, state, optimisation, layout, summary."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import seqjax
from seqjax.nn import (
    RNN,
    Bidirectional,
    Embedding,
    Pooling,
    SequenceClassifier,
    Stack,
    num_params,
    summary,
)

TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, 20, (8, 5)))
LENGTHS = jnp.array([5, 0, 1, 3, 5, 4, 2, 5])
LABELS = jnp.array([0, 1, 0, 1, 1, 0, 1, 0])


def model(seed=0):
    """A model with one of everything, every rate above zero."""
    rngs = nnx.Rngs(seed)
    cell = seqjax.lstm(4, learned_initial_state=True)
    layers = [RNN(cell, 3, rngs=rngs), RNN(seqjax.gru(4), 4, reverse=True, rngs=rngs)]
    return SequenceClassifier(
        Embedding(20, 3, dropout=0.1, token_dropout=0.1, rngs=rngs),
        Stack(layers, dropout=0.1),
        num_classes=2,
        pooling="attention",
        hidden_size=6,
        dropout=0.1,
        rngs=rngs,
    )


@nnx.jit
def logits(model):
    return model(TOKENS, LENGTHS)


def cross_entropy(model, key):
    values = model(TOKENS, LENGTHS, key=key)
    return optax.softmax_cross_entropy_with_integer_labels(values, LABELS).mean()


MODULES = {
    "rnn": lambda rngs: RNN(seqjax.lstm(4, learned_initial_state=True), 3, rngs=rngs),
    "bidirectional": lambda rngs: Bidirectional(seqjax.gru(4), 3, rngs=rngs),
    "stack": lambda rngs: Stack([RNN(seqjax.min_gru(4), 3, rngs=rngs)], dropout=0.5),
    "embedding": lambda rngs: Embedding(
        20, 3, pair_features=2, pair_buckets=7, dropout=0.5, token_dropout=0.5, rngs=rngs
    ),
    "attention": lambda rngs: Pooling("attention", 3, rngs=rngs),
    "mean": lambda rngs: Pooling("mean", 3, rngs=rngs),
    "classifier": lambda rngs: model(),
}
_GRU = {"input_kernel": (3, 12), "recurrent_kernel": (4, 12), "bias": (12,), "recurrent_bias": (4,)}
_LSTM = {
    "input_kernel": (3, 16),
    "recurrent_kernel": (4, 16),
    "bias": (16,),
    "initial_state.hidden": (4,),
    "initial_state.cell": (4,),
}


def under(prefix, layout):
    return {f"{prefix}.{name}": shape for name, shape in layout.items()}


# Paths, shapes; all float32. A change here breaks old checkpoints.
LAYOUT = {
    "rnn": under("weights", _LSTM),
    "bidirectional": under("backward.weights", _GRU) | under("forward.weights", _GRU),
    "stack": under("layers.0.weights", {"bias": (8,), "input_kernel": (3, 8)}),
    "embedding": {"pair_table": (7, 2), "table": (20, 3)},
    "attention": {"hidden.bias": (3,), "hidden.kernel": (3, 3), "score.kernel": (3, 1)},
    "mean": {},
    "classifier": {"embedding.table": (20, 3)}
    | {"head.bias": (2,), "head.kernel": (6, 2), "hidden.bias": (6,), "hidden.kernel": (4, 6)}
    | {"pooling.hidden.bias": (4,), "pooling.hidden.kernel": (4, 4), "pooling.score.kernel": (4, 1)}
    | under("recurrent.layers.0.weights", _LSTM)
    | under("recurrent.layers.1.weights", _GRU | {"input_kernel": (4, 12)}),
}


@pytest.mark.parametrize("name", MODULES)
def test_layout(name):
    state = nnx.state(MODULES[name](nnx.Rngs(0)))
    leaves = nnx.to_flat_state(state)
    layout = {".".join(map(str, path)): tuple(variable.shape) for path, variable in leaves}
    assert layout == LAYOUT[name]
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} <= {jnp.dtype("float32")}


@pytest.mark.parametrize("name", MODULES)
def test_no_stray_random_state(name):
    """Parameters are all a module holds: nothing random, nothing that a step would change."""
    state = nnx.state(MODULES[name](nnx.Rngs(0)))
    kinds = {type(variable) for _, variable in nnx.to_flat_state(state)}
    assert kinds <= {nnx.Param}
    assert jax.tree.leaves(nnx.state(MODULES[name](nnx.Rngs(0)), nnx.RngState)) == []


def test_kernels_say_how_they_are_split():
    """As metadata of Flax, through all that moves a module; nothing is split by it alone."""
    other = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    with jax.set_mesh(other):  # which has no axis of that name
        layer = RNN(seqjax.gru(4), 3, rngs=nnx.Rngs(0))
    graph, state = nnx.split(layer)
    merged = nnx.merge(graph, jax.jit(lambda s: jax.tree.map(lambda leaf: 2 * leaf, s))(state))
    many = nnx.vmap(lambda key: RNN(seqjax.gru(4), 3, rngs=nnx.Rngs(key)))(
        jax.random.split(jax.random.key(0), 2)
    )
    optimizer = nnx.Optimizer(layer, optax.adam(1e-2), wrt=nnx.Param)
    moments = nnx.state(optimizer.opt_state)
    for each in (layer, merged, many):
        said = nnx.get_partition_spec(nnx.state(each))
        said = {path[-1]: spec.get_value() for path, spec in nnx.to_flat_state(said)}
        columns = jax.sharding.PartitionSpec(None, "hidden")
        whole = jax.sharding.PartitionSpec()
        assert said == {
            "input_kernel": columns,
            "recurrent_kernel": columns,
            "bias": whole,
            "recurrent_bias": whole,
        }
    said = nnx.to_flat_state(nnx.get_partition_spec(moments))
    assert sum(spec.get_value() == columns for _, spec in said) == 4  # two moments of two kernels


def test_jit_equals_eager():
    np.testing.assert_allclose(logits(model()), model()(TOKENS, LENGTHS), rtol=1e-5, atol=1e-6)


def test_split_and_merge():
    original = model()
    graph, state = nnx.split(original)
    merged = nnx.merge(graph, jax.tree.map(jnp.copy, state))
    np.testing.assert_array_equal(logits(merged), logits(original))
    assert nnx.split(merged)[0] == graph

    other = model(seed=1)
    assert (logits(other) != logits(original)).any()
    nnx.update(other, state)
    np.testing.assert_array_equal(logits(other), logits(original))


def test_state_is_a_pure_function_of_the_key():
    one, again = nnx.state(model(3)), nnx.state(model(3))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_vmap_over_models():
    """Several seeds in one program."""

    @nnx.vmap(in_axes=0, out_axes=0)
    def make(key):
        return RNN(seqjax.gru(4), 3, rngs=nnx.Rngs(key))

    @nnx.jit
    @nnx.vmap(in_axes=(0, None), out_axes=0)
    def run(layer, xs):
        return layer(xs, lengths=jnp.array([5, 2]))

    keys = jax.random.split(jax.random.key(0), 3)
    xs = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 3)), jnp.float32)
    together = run(make(keys), xs)
    for key, ys in zip(keys, together, strict=True):
        layer = RNN(seqjax.gru(4), 3, rngs=nnx.Rngs(key))
        np.testing.assert_allclose(ys, layer(xs, lengths=jnp.array([5, 2])), rtol=1e-5, atol=1e-6)


def test_training_moves_every_parameter_and_lowers_the_loss():
    """One trace for all steps, dropout keys drawn outside the model."""
    trained = model()
    before = jax.tree.map(jnp.copy, nnx.state(trained))
    optimiser = nnx.Optimizer(trained, optax.adam(1e-2), wrt=nnx.Param)
    traces = []

    @nnx.jit
    def step(model, optimiser, key):
        traces.append(1)
        loss, grads = nnx.value_and_grad(cross_entropy)(model, key)
        optimiser.update(model, grads)
        return loss

    def loss():
        values = logits(trained)
        return optax.softmax_cross_entropy_with_integer_labels(values, LABELS).mean()

    start = loss()
    for key in jax.random.split(jax.random.key(0), 30):
        step(trained, optimiser, key)
    assert loss() < 0.9 * start
    assert len(traces) == 1
    after = nnx.state(trained)
    still = [
        ".".join(map(str, path))
        for (path, a), (_, b) in zip(
            nnx.to_flat_state(before), nnx.to_flat_state(after), strict=True
        )
        if (a[...] == b[...]).all()
    ]
    assert still == []


def test_grad_is_that_of_a_pure_function():
    layer = RNN(seqjax.gru(4), 3, rngs=nnx.Rngs(0))
    xs = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 3)), jnp.float32)

    def loss(layer):
        return (layer(xs, lengths=jnp.array([5, 2])) ** 2).sum()

    graph, state = nnx.split(layer)
    pure = jax.jit(jax.grad(lambda state: loss(nnx.merge(graph, state))))(state)
    through = nnx.jit(nnx.grad(loss))(layer)
    for a, b in zip(jax.tree.leaves(pure), jax.tree.leaves(through), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


ZEROS = jax.nn.initializers.zeros  # quicker than an orthogonal matrix
PROGRAM_1 = """\
layer      kind                  parameters
---------  --------------------  ----------
embedding  Embedding(1000, 64)       64,000
recurrent  RNN(lstm(128), 64)        98,816
head       Linear(128, 10)            1,290
---------  --------------------  ----------
total                               164,106"""


def test_summary_of_the_first_keras_program():
    rngs = nnx.Rngs(0)
    program = SequenceClassifier(
        Embedding(1000, 64, rngs=rngs),
        RNN(seqjax.lstm(128, kernel_init=ZEROS, recurrent_init=ZEROS), 64, rngs=rngs),
        num_classes=10,
        rngs=rngs,
    )
    assert summary(program) == PROGRAM_1
    assert num_params(program) == 164_106


def test_summary_names_nested_layers():
    rngs = nnx.Rngs(0)
    nested = model()
    above = Bidirectional(seqjax.gru(4), 4, rngs=rngs)
    nested.recurrent = Stack([nested.recurrent.layers[0], above])
    table, total = summary(nested), num_params(nested)
    assert "Stack(RNN(lstm(4), 3), Bidirectional(gru(4), 4))" in table
    counted = [line.split()[-1] for line in table.splitlines()[2:-2]]
    assert sum(int(count.replace(",", "")) for count in counted) == total
    assert f"{total:,}" in table.splitlines()[-1]
    assert len({len(line) for line in table.splitlines()}) == 1
