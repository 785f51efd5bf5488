"""PyTorch's weights to ours and back: values by NumPy's loop, so that nothing is compiled."""

import functools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import BY_NAME, HIDDEN, Problem, reference
from flax import nnx
from hypothesis import strategies

import seqjax
from seqjax import convert
from seqjax.nn import RNN, Bidirectional, Stack

torch = pytest.importorskip("torch", reason="PyTorch is not installed: no parity with it")

pytestmark = pytest.mark.usefixtures("x64")

STEPS, BATCH, IN = 4, 3, 3
KINDS = {
    "elman_tanh": ("RNN", {"nonlinearity": "tanh"}),
    "elman_relu": ("RNN", {"nonlinearity": "relu"}),
    "lstm": ("LSTM", {}),
    "gru": ("GRU", {}),
}


@functools.cache
def ours(kind, layers, bidirectional):
    """A module of zeros; one object, as making it costs more than all else here."""
    make = functools.partial(
        BY_NAME[kind].make,
        kernel_init=jax.nn.initializers.zeros,
        recurrent_init=jax.nn.initializers.zeros,
    )
    layer = Bidirectional if bidirectional else RNN
    sizes = [IN] + [HIDDEN * (2 if bidirectional else 1)] * (layers - 1)
    made = [layer(make(HIDDEN), size, param_dtype=jnp.float64, rngs=nnx.Rngs(0)) for size in sizes]
    return made[0] if layers == 1 else Stack(made)


def theirs(kind, layers, bidirectional, bias, rng):
    """A layer of PyTorch with every weight and bias random."""
    name, options = KINDS[kind]
    layer = getattr(torch.nn, name)(
        IN, HIDDEN, layers, bidirectional=bidirectional, bias=bias, dtype=torch.float64, **options
    )
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(torch.from_numpy(0.5 * rng.normal(size=weight.shape)))
    return layer


def outputs(layer, xs):
    with torch.no_grad():
        return layer(torch.from_numpy(xs))[0].numpy()


def our_outputs(kind, module, xs):
    """The module by plain loops over steps and sequences."""
    row = BY_NAME[kind]
    plain = Problem(
        xs, np.full(BATCH, STEPS), np.ones((STEPS, BATCH), bool), np.zeros((STEPS, BATCH), bool)
    )
    for layer in getattr(module, "layers", [module]):
        sides = [layer] if isinstance(layer, RNN) else [layer.forward, layer.backward]
        ys = [
            reference(row, side.cell_params(), plain._replace(xs=xs), reverse=side.reverse)[0]
            for side in sides
        ]
        xs = np.concatenate(ys, axis=-1)
    return xs


@hypothesis.given(
    kind=strategies.sampled_from(sorted(KINDS)),
    layers=strategies.integers(1, 3),
    bidirectional=strategies.booleans(),
    bias=strategies.sampled_from([True, True, False]),
    seed=strategies.integers(0, 2**31),
)
@hypothesis.settings(max_examples=30)
def test_both_ways(kind, layers, bidirectional, bias, seed):
    rng = np.random.default_rng(seed)
    layer = theirs(kind, layers, bidirectional, bias, rng)
    module = ours(kind, layers, bidirectional)
    xs = rng.normal(size=(STEPS, BATCH, IN))
    expected = outputs(layer, xs)

    convert.load(module, layer.state_dict(), "torch")
    close(our_outputs(kind, module, xs), expected)

    # Back into another layer of theirs, in a copy of its names and with names made up.
    other = theirs(kind, layers, bidirectional, bias, rng)
    for weights in (
        convert.dump(module, "torch", like=other.state_dict()),
        *([convert.dump(module, "torch")] if bias else []),
    ):
        other.load_state_dict({name: torch.from_numpy(a) for name, a in weights.items()})
        close(outputs(other, xs), expected)
        before = convert.dump(module, "seqjax")
        convert.load(module, weights, "torch")
        after = convert.dump(module, "seqjax")
        for name, array in before.items():
            np.testing.assert_array_equal(after[name], array)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_cell_of_one_step(kind):
    """`torch.nn.LSTMCell` and its like; the parameters of a cell without a module."""
    name, options = KINDS[kind]
    rng = np.random.default_rng(3)
    cell = getattr(torch.nn, f"{name}Cell")(IN, HIDDEN, dtype=torch.float64, **options)
    x, h, c = rng.normal(size=(BATCH, IN)), *rng.normal(size=(2, BATCH, HIDDEN))
    state = (torch.from_numpy(h), torch.from_numpy(c)) if kind == "lstm" else torch.from_numpy(h)
    with torch.no_grad():
        expected = cell(torch.from_numpy(x), state)
    params = convert.load_params(BY_NAME[kind].cell, cell.state_dict(), "torch")
    problem = Problem(
        x[None], np.ones(BATCH, int), np.ones((1, BATCH), bool), np.zeros((1, BATCH), bool)
    )
    got = reference(BY_NAME[kind], params, problem, (h, c) if kind == "lstm" else (h,))[1]
    for leaf, wanted in zip(got, expected if kind == "lstm" else (expected,), strict=True):
        close(leaf, wanted)
    weights = convert.dump_params(BY_NAME[kind].cell, params, "torch", like=cell.state_dict())
    assert set(weights) == set(cell.state_dict())
    again = convert.load_params(BY_NAME[kind].cell, weights, "torch")
    for leaf, wanted in zip(jax.tree.leaves(again), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(leaf, wanted)


def test_layers_named_apart():
    """Two LSTMs of a model of theirs are one stack of ours."""
    rng = np.random.default_rng(4)
    lower = theirs("lstm", 1, False, True, rng)
    upper = torch.nn.LSTM(HIDDEN, HIDDEN, dtype=torch.float64)
    model = torch.nn.ModuleDict({"first": lower, "second": upper})
    module = ours("lstm", 2, False)
    names = ["first", "second"]
    convert.load(module, model.state_dict(), "torch", names=names)
    xs = rng.normal(size=(STEPS, BATCH, IN))
    close(our_outputs("lstm", module, xs), outputs(upper, outputs(lower, xs)))
    assert set(convert.dump(module, "torch", names=names)) == set(model.state_dict())
    with pytest.raises(convert.ConvertError, match=r"got one that also has|got none among"):
        convert.load(module, model.state_dict(), "torch")


def test_loading_shares_no_memory():
    """Their training goes on without ours."""
    layer = theirs("lstm", 1, False, True, np.random.default_rng(5))
    module = ours("lstm", 1, False)
    convert.load(module, layer.state_dict(), "torch")
    before = convert.dump(module, "seqjax")
    with torch.no_grad():
        for weight in layer.parameters():
            weight.zero_()
    for name, array in convert.dump(module, "seqjax").items():
        assert array.any()
        np.testing.assert_array_equal(array, before[name])


def test_projection_is_refused():
    layer = torch.nn.LSTM(IN, HIDDEN, proj_size=2, dtype=torch.float64)
    with pytest.raises(convert.ConvertError, match=r"No projection .proj_size. is read"):
        convert.load(ours("lstm", 1, False), layer.state_dict(), "torch")


def test_reset_before_is_refused():
    cell = seqjax.gru(4, reset_after=False)
    layer = torch.nn.GRU(IN, 4)
    with pytest.raises(convert.ConvertError, match="must be of a kind that PyTorch has"):
        convert.load_params(cell, layer.state_dict(), "torch")


def close(got, expected):
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=1e-11, atol=1e-12)
