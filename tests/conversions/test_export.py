"""A trained model as a file that runs where this library cannot be imported."""

import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import seqjax
from seqjax import convert

RUN = """
import sys
for name in ("seqjax", "flax"):
    sys.modules[name] = None  # importing it fails
import numpy as np
from jax import export

folder = sys.argv[1]
model = export.deserialize(bytearray(open(folder + "/model.jax", "rb").read()))
assert set(model.platforms) == {"cpu", "cuda", "tpu"}, model.platforms
cases = np.load(folder + "/cases.npz")
for name in ("few", "many"):
    logits = model.call(cases[name + "_tokens"], cases[name + "_lengths"])
    np.testing.assert_allclose(logits, cases[name + "_logits"], atol=1e-6)
    print(name, logits.shape)
try:
    import seqjax
except ImportError:
    print("refused")
"""


@pytest.mark.extended
def test_trained_model_runs_alone(tmp_path):
    rngs = nnx.Rngs(0)
    layers = [
        seqjax.nn.Bidirectional(seqjax.gru(4), 4, rngs=rngs),
        seqjax.nn.RNN(seqjax.lstm(4), 8, rngs=rngs),
    ]
    model = seqjax.nn.SequenceClassifier(
        seqjax.nn.Embedding(9, 4, rngs=rngs),
        seqjax.nn.Stack(layers),
        num_classes=2,
        pooling="mean_max",
        rngs=rngs,
    )
    rng = np.random.default_rng(0)
    tokens = jnp.asarray(rng.integers(0, 9, (8, 6)), jnp.int32)
    lengths = jnp.asarray(rng.integers(1, 7, 8), jnp.int32)
    optimizer = nnx.Optimizer(model, optax.adam(0.05), wrt=nnx.Param)

    @nnx.jit
    def train(model, optimizer):
        def loss(model):
            logits = model(tokens, lengths)
            labels = tokens[:, 0] % 2
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        value, gradient = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradient)
        return value

    losses = [float(train(model, optimizer)) for _ in range(5)]
    assert losses[-1] < losses[0]

    convert.export(model, tmp_path / "model.jax", ("batch, time", "int32"), ("batch", "int32"))
    run = nnx.jit(lambda model, tokens, lengths: model(tokens, lengths))
    cases = {}
    for name, part in (("few", (tokens[:1, :2], jnp.array([2]))), ("many", (tokens, lengths))):
        cases[f"{name}_logits"] = run(model, *part)
        cases[f"{name}_tokens"], cases[f"{name}_lengths"] = part
    np.savez(tmp_path / "cases.npz", **cases)
    result = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split("\n")[:3] == ["few (1, 2)", "many (8, 2)", "refused"]


def test_states_are_plain(tmp_path):
    """A step by itself: what it returns needs no class of ours to be read."""
    cell = seqjax.lstm(3)
    params = cell.init(jax.random.key(0), 2)

    def step(x, hidden, memory):
        return seqjax.step(cell, params, x, seqjax.cells.LSTMState(hidden, memory))

    file = tmp_path / "step.jax"
    convert.export(step, file, *[(f"batch, {size}", "float32") for size in (2, 3, 3)])
    x, zeros = jnp.ones((4, 2)), jnp.zeros((4, 3))
    got = jax.export.deserialize(bytearray(file.read_bytes())).call(x, zeros, zeros)
    y, state = step(x, zeros, zeros)
    assert jax.tree.structure(got) == jax.tree.structure((0, (0, 0)))
    for leaf, expected in zip(jax.tree.leaves(got), jax.tree.leaves((y, state)), strict=True):
        np.testing.assert_allclose(leaf, expected, atol=1e-6)


def test_mistakes(tmp_path):
    def sized(xs):
        return xs if xs.shape[0] > 3 else -xs

    file = pathlib.Path(tmp_path, "model.jax")
    with raises("`inputs` must be pairs of a shape such as 'batch, time, 3' and a dtype"):
        convert.export(sized, file, ("batch, !", "float32"))
    with raises("the model must not need a size that has a name"):
        convert.export(sized, file, ("batch", "float32"))
    assert not file.exists()


def raises(message):
    return pytest.raises(convert.ConvertError, match=re.escape(message))
