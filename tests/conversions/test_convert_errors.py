"""Every mistake that a conversion refuses, with the message that mends it, and any input at all."""

import contextlib
import re

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import strategies
from hypothesis.extra import numpy as arrays

import seqjax
from seqjax import convert

ZEROS = {"kernel_init": jax.nn.initializers.zeros, "recurrent_init": jax.nn.initializers.zeros}
RNGS = nnx.Rngs(0)
LAYER = seqjax.nn.RNN(seqjax.lstm(4, **ZEROS), 3, rngs=RNGS)
MODEL = nnx.Dict(
    words=seqjax.nn.Embedding(6, 3, rngs=RNGS), lstm=LAYER, head=nnx.Linear(4, 2, rngs=RNGS)
)
NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def raises(message):
    return pytest.raises(convert.ConvertError, match=re.escape(message))


def lstm_weights(prefix="", rows=16, columns=3, hidden=4, layer=0):
    shapes = [(rows, columns), (rows, hidden), (rows,), (rows,)]
    return {f"{prefix}{n}_l{layer}": np.ones(s) for n, s in zip(NAMES, shapes, strict=True)}


def test_wrong_shapes():
    weights = lstm_weights()
    weights["weight_ih_l0"] = weights["weight_ih_l0"].T
    with raises(
        "PyTorch array 'weight_ih_l0' must have shape (16, 3) for the lstm layer (lstm, in_size=3, "
        "size 4), got (3, 16). It is transposed: give it as its framework keeps it."
    ):
        convert.load(LAYER, weights, "torch")
    with raises("got (12, 3). By its size it is of a GRU, or of another hidden size."):
        convert.load(LAYER, lstm_weights(rows=12), "torch")
    with raises("got (16, 5). Make our layer with the sizes of theirs."):
        convert.load(LAYER, lstm_weights(columns=5), "torch")
    with raises("Keras array '0/bias' must have shape (2, 12)"):
        cell = seqjax.gru(4, **ZEROS)
        convert.load_params(cell, [np.ones((3, 12)), np.ones((4, 12)), np.ones(12)], "keras")
    with raises("Use gru(..., reset_after=...) as the layer has it."):
        cell = seqjax.gru(4, reset_after=False, **ZEROS)
        convert.load_params(cell, [np.ones((3, 12)), np.ones((4, 12)), np.ones((2, 12))], "keras")


def test_nothing_changes_when_refused():
    before = convert.dump(MODEL, "seqjax")
    weights = convert.dump(MODEL, "torch")
    weights = {name: array + 1 for name, array in weights.items()} | {"head.bias": np.ones(3)}
    with raises("PyTorch array 'head/bias' must have shape (2,)"):
        convert.load(MODEL, weights, "torch")
    for name, array in convert.dump(MODEL, "seqjax").items():
        np.testing.assert_array_equal(array, before[name])


def test_layers_missing_double_or_left_over():
    with raises(
        "weights must have one layer for the lstm layer, LSTM (weight_ih_l0, weight_hh_l0)"
    ):
        convert.load(LAYER, {"fc.weight": np.ones(3)}, "torch")
    two = lstm_weights("first.") | lstm_weights("second.")
    with raises("got 2: first, second. Say which: names={'': ...}."):
        convert.load(LAYER, two, "torch")
    with raises("got also second/weight_ih_l0, second/weight_hh_l0"):
        convert.load(LAYER, two, "torch", names="first")
    convert.load(LAYER, two, "torch", names="first", strict=False)
    deeper = lstm_weights() | lstm_weights(columns=4, layer=1)
    with raises("got one that also has weight_ih_l1"):
        convert.load(LAYER, deeper, "torch", strict=False)
    half = lstm_weights()
    del half["bias_hh_l0"]
    with raises("no bias_hh_l0"):
        convert.load(LAYER, half, "torch")


def test_mistaken_arguments():
    with raises("`framework` must be one of torch, keras, linen, nnx, seqjax, got 'pytorch'."):
        convert.load(LAYER, {}, "pytorch")
    with raises("PyTorch weights must be a mapping of names to arrays, got a list."):
        convert.load(LAYER, [np.ones(3)], "torch")
    with raises("the list of weights must have 3 arrays for lstm, got 4."):
        convert.load(LAYER, [np.ones(3)] * 4, "keras")
    with raises("needs the order of the layers, which a Dict does not tell."):
        convert.load(MODEL, [np.ones(3)] * 6, "keras")
    with raises("`names` must map layers of the module"):
        convert.load(MODEL, {}, "torch", names={"encoder": "lstm"})
    with raises("must hold real numbers, got int64."):
        convert.load(LAYER, {n: a.astype(np.int64) for n, a in lstm_weights().items()}, "torch")
    with raises("names must be distinct, got 'a/b' twice"):
        convert.load(LAYER, {"a/b": 0, "a": {"b": 0}}, "linen")
    with raises("the cell must be one of elman, lstm, gru, gru_reset_before, got min_gru(4)."):
        convert.load_params(seqjax.min_gru(4), {}, "torch")
    with raises("the initial state must not be learned"):
        cell = seqjax.elman(4, learned_initial_state=True, **ZEROS)
        convert.dump_params(cell, cell.init(jax.random.key(0), 3), "torch")
    other = seqjax.gated_cell("lstm", 4, gates=("a",), update=lambda state, a: state)
    with raises("Weights of other cells are kept as 'seqjax' weights."):
        convert.load_params(other, {}, "torch")


class Unwilling:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("a tensor\nof another device")


def test_what_is_no_array_of_real_numbers():
    weights = convert.dump(LAYER, "seqjax")
    bias = weights["weights.bias"]
    with raises("'weights.bias' must be an array, got a Unwilling (a tensor). Of a tensor take"):
        convert.load(LAYER, weights | {"weights.bias": Unwilling()}, "seqjax")
    with raises("'weights.bias' must be an array of shape (16,), got complex64 of shape (16,)."):
        convert.load(LAYER, weights | {"weights.bias": bias.astype(np.complex64)}, "seqjax")
    for wrong, message in (
        (Unwilling(), "must be an array, got a Unwilling (a tensor)"),
        ([[1.0], [1.0, 2.0]], "must be an array, got a list (setting an array element"),
        (np.ones((16, 3), np.longdouble), "must hold numbers of at most 64 bits, got float128."),
    ):
        weights = lstm_weights() | {"weight_ih_l0": wrong}
        with raises(f"PyTorch array 'weight_ih_l0' {message}"):
            convert.load_params(LAYER.cell, weights, "torch")


leaf = (
    arrays.arrays(
        strategies.sampled_from([np.float32, np.float64, np.int32, np.bool_]),
        arrays.array_shapes(min_dims=0, max_dims=3, max_side=5),
        elements=strategies.sampled_from([0, 1]),
    )
    | strategies.none()
    | strategies.text(max_size=3)
)
name = strategies.sampled_from(
    ["weight", "bias", "lstm", "kernel", "recurrent_kernel", "cell", "hi", "ii", "dense_i"]
    + [f"lstm.{n}_l0" for n in NAMES]
) | (strategies.text(max_size=6) | strategies.integers() | strategies.none())
mapping = strategies.recursive(
    leaf, lambda below: strategies.dictionaries(name, below), max_leaves=8
)


@hypothesis.given(
    weights=mapping | strategies.lists(leaf, max_size=8),
    framework=strategies.sampled_from(["torch", "keras", "linen", "nnx", "seqjax"]),
)
@hypothesis.settings(max_examples=100)
def test_any_weights(weights, framework):
    """Whatever comes in is converted or refused by the one error, and the module is whole."""
    for act in (
        lambda: convert.load(LAYER, weights, framework),
        lambda: convert.load(MODEL, weights, framework, strict=False),
        lambda: convert.dump(MODEL, framework, like=weights),
        lambda: convert.load_params(LAYER.cell, weights, framework),
    ):
        with contextlib.suppress(convert.ConvertError):
            act()
    assert jnp.shape(LAYER.weights.bias[...]) == (16,)
