"""Layers by name: stacks with the arguments, axes and weights of other frameworks."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import seqjax
from seqjax import convert, nn

pytestmark = pytest.mark.usefixtures("shared_programs")

B, T, D, H = 3, 5, 3, 4
XS = np.random.default_rng(0).normal(size=(B, T, D)).astype(np.float32)
LENGTHS = np.array([5, 0, 2])
RNGS = nnx.Rngs(0)


def close(got, expected, tolerance=1e-6):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def by_hand(cell, layers=2, layer=nn.Bidirectional):
    return nn.Stack([layer(cell, size, rngs=nnx.Rngs(1)) for size in (D, 2 * H)[:layers]])


@pytest.mark.parametrize("named", [nn.LSTM, nn.GRU, nn.Elman], ids=lambda named: named.__name__)
def test_is_a_stack(named):
    layer = named(D, H, 2, bidirectional=True, rngs=RNGS)
    stack = by_hand(getattr(seqjax, named.__name__.lower())(H))
    nnx.update(stack, nnx.state(layer))
    options = {"lengths": LENGTHS, "return_state": True}
    close(layer(XS, **options), stack(XS, **options))
    assert isinstance(layer, nn.Stack)
    assert (layer.in_features, layer.out_features) == (D, 2 * H)


def test_options_of_the_cell():
    """One layer, one way; an option of the cell, and the dtypes."""
    layer = nn.Elman(D, H, activation="relu", executor="scan", rngs=RNGS)
    assert layer.layers[0].cell == seqjax.elman(H, activation="relu")
    assert layer.layers[0].executor == "scan"
    half = nn.GRU(D, H, dtype=jnp.bfloat16, rngs=RNGS)
    ys, (state,) = half(XS, return_state=True)
    assert (ys.dtype, state.hidden.dtype) == (jnp.bfloat16, jnp.float32)
    assert half.step(XS[:, 0])[0].dtype == jnp.bfloat16
    halves = nn.GRU(D, H, param_dtype=jnp.bfloat16, rngs=RNGS)
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(halves))} == {jnp.dtype("bfloat16")}


def test_time_major():
    """Sequences, masks and resets; the output of the last step has no time."""
    options = {"time_major": True, "bidirectional": True, "rngs": RNGS}
    layer, batch_first = nn.GRU(D, H, 2, **options), by_hand(seqjax.gru(H))
    nnx.update(batch_first, nnx.state(layer))
    mask = np.arange(T)[None] != np.arange(B)[:, None]
    resets = np.arange(T)[None] == np.full((B, 1), 3)
    given = {"mask": mask, "resets": resets}
    expected, state = batch_first(XS, return_state=True, **given)
    given = {name: value.T for name, value in given.items()}
    got, our_state = layer(np.swapaxes(XS, 0, 1), return_state=True, **given)
    close((np.swapaxes(got, 0, 1), our_state), (expected, state))
    last = layer(np.swapaxes(XS, 0, 1), return_sequences=False, **given)
    close(last, batch_first(XS, mask=mask, resets=resets, return_sequences=False))


def test_dropout_between_layers():
    layer = nn.LSTM(D, H, 2, dropout=0.5, rngs=RNGS)
    assert not np.allclose(layer(XS, key=jax.random.key(0)), layer(XS))
    layer.train()
    with pytest.raises(ValueError, match="must be given a `key` for dropout"):
        layer(XS)


def test_weights_of_pytorch():
    """The names and numbers of arrays of `torch.nn.LSTM(3, 4, 2, bidirectional=True)`, and back."""
    layer = nn.LSTM(D, H, 2, bidirectional=True, rngs=RNGS)
    weights = convert.dump(layer, "torch")
    assert len(weights) == 16
    assert weights["weight_ih_l1_reverse"].shape == (4 * H, 2 * H)
    other = nn.LSTM(D, H, 2, bidirectional=True, rngs=RNGS)
    convert.load(other, weights, "torch")
    close(other(XS), layer(XS))


FEATURES = {
    "RNN": (nn.RNN(seqjax.lstm(H), D, rngs=RNGS), D, H),
    "a projection": (nn.RNN(seqjax.projected_lstm(H, memory_size=6), D, rngs=RNGS), D, H),
    "Bidirectional": (nn.Bidirectional(seqjax.lstm(H), D, rngs=RNGS), D, 2 * H),
    "Stack": (by_hand(seqjax.gru(H)), D, 2 * H),
    "TDNN": (nn.TDNN(D, H, before=1, after=1, rngs=RNGS), D, H),
    "Pooling": (nn.Pooling("mean_max", D, rngs=RNGS), D, 2 * D),
    "Attention": (nn.Attention("general", 2, D, rngs=RNGS), 2, D),
}


@pytest.mark.parametrize("name", FEATURES)
def test_features(name):
    layer, in_features, out_features = FEATURES[name]
    assert (layer.in_features, layer.out_features) == (in_features, out_features)


def test_features_of_an_embedding():
    embedding = nn.Embedding(10, 3, pair_features=2, rngs=RNGS)
    assert embedding.out_features == 5
    assert not hasattr(embedding, "in_features")  # ids are no features


def test_inside_other_modules():
    """A stack keeps the dtype of a layer; a classifier is batch first."""
    layer = nn.GRU(D, H, dtype=jnp.bfloat16, time_major=True, rngs=RNGS)
    assert nn.Stack([layer])(XS).dtype == jnp.bfloat16
    embedding = nn.Embedding(10, D, rngs=RNGS)
    with pytest.raises(ValueError, match=r"`recurrent` must be batch first, got time_major=True"):
        nn.SequenceClassifier(embedding, layer, num_classes=2, rngs=RNGS)


def test_errors_name_the_axes():
    layer = nn.LSTM(D, H, time_major=True, rngs=RNGS)
    with pytest.raises(
        ValueError, match=re.escape("must have shape (T, *B, D) with in_size D = 3")
    ):
        layer(XS[..., :2])
    message = "`mask` must have shape (T, *B) = (3, 5), got (5, 3). Layers are time first."
    with pytest.raises(ValueError, match=re.escape(message)):
        layer(XS, mask=np.ones((5, 3), bool))
