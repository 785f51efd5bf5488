"""The drop-in `RNN` against `flax.nnx.RNN`: the behaviours of Flax's own tests, and the numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from marks import with_usual

import seqjax
from seqjax import convert
from seqjax.flax import RNN, Bidirectional
from seqjax.flax import nnx as ours

B, T, D, H = 3, 6, 3, 4
XS = jax.random.normal(jax.random.key(1), (B, T, D))
LENGTHS = jnp.array([6, 4, 1])
VALID = (jnp.arange(T)[None] < LENGTHS[:, None])[..., None]
CELLS = [nnx.LSTMCell, nnx.OptimizedLSTMCell, nnx.GRUCell, nnx.SimpleCell]


@pytest.fixture(autouse=True)
def as_flax_does():
    """Some cells of Flax promote ranks."""
    with jax.numpy_rank_promotion("allow"):
        yield


def moved(module, seed=2):
    """Moves every parameter away from where it starts, the biases too."""
    rng = np.random.default_rng(seed)
    state = nnx.state(module, nnx.Param)
    moves = jax.tree.map(lambda x: (x + 0.3 * rng.normal(size=x.shape)).astype(x.dtype), state)
    nnx.update(module, moves)
    return module


def make(cell, seed=0, **options):
    return moved(cell(D, H, rngs=nnx.Rngs(seed), **options), seed)


def close(got, expected, tolerance):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "cell",
    with_usual(CELLS, (nnx.LSTMCell, nnx.SimpleCell)),
    ids=lambda cell: cell.__name__,
)
def test_outputs_and_gradients(cell):
    """Both directions, with lengths, and a second half that starts from the carry of the first."""
    cells = make(cell, 0), make(cell, 1)
    half = T // 2
    parts = [(XS[:, :half], jnp.array([3, 3, 1])), (XS[:, half:], jnp.array([3, 1, 2]))]

    def run(layer, xs, carry):
        outputs = []
        for part, (_, lengths) in zip((xs[:, :half], xs[:, half:]), parts, strict=True):
            valid = (jnp.arange(half)[None] < lengths[:, None])[..., None]
            options = {"seq_lengths": lengths, "return_carry": True}
            carry, ys = layer(part, initial_carry=carry, **options)
            outputs.append(jnp.where(valid, ys, 0.0))
        ys = jnp.concatenate(outputs, axis=1)
        total = sum((leaf**2).sum() for leaf in jax.tree.leaves((ys, carry)))
        return total, (ys, carry)

    @nnx.jit
    def gradients(layer, xs, carry):
        return nnx.grad(run, argnums=(0, 1, 2), has_aux=True)(layer, xs, carry)

    start = [
        cell.initialize_carry((B, D), nnx.Rngs(0), nnx.initializers.normal()) for cell in cells
    ]
    start = tuple(start)
    expected, outputs = gradients(nnx.Bidirectional(*map(nnx.RNN, cells)), XS, start)
    layers = [RNN(each) for each in cells]
    assert [layer.refusal() for layer in layers] == [None, None]
    got, our_outputs = gradients(Bidirectional(*layers), XS, start)
    close(our_outputs, outputs, 1e-6)
    close(jax.tree.leaves(got), jax.tree.leaves(expected), 1e-5)


@pytest.mark.parametrize(
    ("cell", "layer", "call", "xs"),
    [
        (make(nnx.LSTMCell), {}, {}, XS),
        (make(nnx.GRUCell), {"time_major": True}, {"return_carry": True}, XS),
        (make(nnx.LSTMCell), {"reverse": True}, {}, (10 * XS).astype(int)),
        (make(nnx.GRUCell), {"reverse": True}, {"seq_lengths": LENGTHS, "return_carry": True}, XS),
        (make(nnx.SimpleCell), {"reverse": True}, {"keep_order": True}, XS),
        (make(nnx.LSTMCell), {"unroll": 2}, {"time_major": True}, XS),
        (make(nnx.GRUCell), {}, {"reverse": True}, XS[0]),
        (make(nnx.SimpleCell), {"rngs": False}, {"rngs": nnx.Rngs(0)}, XS[None]),
        (make(nnx.LSTMCell, activation_fn=nnx.relu, gate_fn=nnx.hard_sigmoid), {}, {}, XS),
        (make(nnx.LSTMCell, dtype=jnp.float32), {}, {}, XS.astype(jnp.bfloat16)),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_equals_flax(cell, layer, call, xs):
    """A run of ours in every case: outputs and carry, and how often the streams were read."""
    theirs, drop_in = nnx.RNN(cell, **layer), RNN(cell, **layer)
    assert drop_in.refusal() is None
    expected, got = theirs(xs, **call), drop_in(xs, **call)
    if "seq_lengths" in call:
        expected, got = ((c, jnp.where(VALID, ys, 0)) for c, ys in (expected, got))
    close(got, expected, 2e-6)
    streams = [nnx.state(each, nnx.RngCount) for each in (theirs, drop_in)]
    close(*streams, 0)


def test_parameters_and_checkpoints():
    """One tree, so that weights and checkpoints go both ways."""
    theirs, drop_in = (each(make(nnx.GRUCell, seed)) for seed, each in ((0, nnx.RNN), (1, RNN)))
    assert jax.tree.structure(nnx.state(theirs)) == jax.tree.structure(nnx.state(drop_in))
    nnx.update(drop_in, nnx.state(theirs))
    close(drop_in(XS), theirs(XS), 2e-6)


def test_equals_linen():
    theirs, cell, ours = linen.RNN(linen.LSTMCell(H)), make(nnx.LSTMCell), seqjax.lstm(H)
    variables = theirs.init(jax.random.key(0), XS)
    params = convert.load_params(ours, variables["params"]["cell"], "linen")
    state = nnx.state(cell, nnx.Param)
    weights = convert.dump_params(ours, params, "nnx", like=nnx.to_pure_dict(state))
    nnx.replace_by_pure_dict(state, weights)
    nnx.update(cell, state)
    close(RNN(cell)(XS), theirs.apply(variables, XS), 2e-6)


def test_where_flax_is_wrong():
    """Length 0 returns the initial carry, and the padding outputs zeros, whatever stands there."""
    cell = make(nnx.LSTMCell)
    carry = cell.initialize_carry((B, D), nnx.Rngs(0), nnx.initializers.ones)
    options = {"seq_lengths": jnp.array([6, 3, 0]), "return_carry": True}
    xs = XS.at[1, 3:].set(jnp.nan)
    (c, h), ys = RNN(cell)(xs, initial_carry=carry, **options)
    assert (jnp.array([c[2], h[2]]) == 1).all()
    assert (ys[1, 3:] == 0).all()
    assert (ys[2] == 0).all()
    (c, _), ys = nnx.RNN(cell)(xs, initial_carry=carry, **options)
    assert not (c[2] == 1).all(), "Flax has fixed it: remove it from docs/howto/flax.md"
    assert not (ys[2] == 0).all(), "Flax has fixed it: remove it from docs/howto/flax.md"


class Own(nnx.Module):
    """A cell of a user, with random streams of its own."""

    num_feature_axes = 1

    def __init__(self, rngs):
        self.rngs = rngs
        self.dense = nnx.Linear(D + H, H, rngs=rngs)

    def __call__(self, carry, inputs):
        carry = nnx.tanh(self.dense(jnp.concatenate([inputs, carry], axis=-1)))
        return carry, carry

    def initialize_carry(self, input_shape, rngs):
        return jnp.zeros((input_shape[0], H))


class Dropped(nnx.OptimizedLSTMCell):
    """The recurrent dropout of Flax's documentation, drawn once a sequence."""

    def __init__(self, rngs):
        super().__init__(D, H, rngs=rngs)
        self.drop = nnx.Dropout(0.5, deterministic=False, rng_collection="mask", rngs=rngs)

    def __call__(self, carry, inputs):
        carry, y = super().__call__(carry, inputs)
        return jax.tree.map(self.drop, carry), y


def with_bias():
    """A port of PyTorch's LSTM: its first layer has a bias too."""
    cell = make(nnx.OptimizedLSTMCell)
    cell.dense_i = moved(nnx.Linear(D, 4 * H, rngs=nnx.Rngs(0)))
    return cell


def with_precision():
    cell = make(nnx.SimpleCell)
    cell.dense_h.precision = "highest"
    return cell


def half_kernels():
    normal = nnx.initializers.normal()
    return make(nnx.SimpleCell, param_dtype=jnp.float16, recurrent_kernel_init=normal)


def softmax_gates():
    return make(nnx.GRUCell, gate_fn=jax.nn.softmax)


@pytest.mark.parametrize(
    ("cell", "layer", "reason"),
    [
        (lambda: Own(nnx.Rngs(0)), {}, "got Own"),
        (lambda: Dropped(nnx.Rngs(0, mask=1)), {"broadcast_rngs": "mask"}, "got Dropped"),
        (with_bias, {}, "the layers of the cell must be"),
        (with_precision, {}, "the layers of the cell must be"),
        (softmax_gates, {}, "activations must be among"),
        (lambda: make(nnx.SimpleCell, residual=True), {}, "residual"),
        (lambda: make(nnx.GRUCell), {"broadcast_rngs": "params"}, "broadcast_rngs"),
        (half_kernels, {}, "got float16, float32"),
        (
            lambda: make(nnx.LSTMCell, dtype=jnp.float16, param_dtype=jnp.float16),
            {},
            "must be float32, or float64, got float16",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_flax_runs_what_is_another_function(cell, layer, reason):
    """Two layers from the same start: each draws from streams of its own."""
    theirs, drop_in = (each(cell(), **layer) for each in (nnx.RNN, RNN))
    assert reason in drop_in.refusal()
    xs = XS.astype(getattr(theirs.cell, "dtype", None) or jnp.float32)
    carry = theirs.cell.initialize_carry((B, D), nnx.Rngs(0))
    carry = jax.tree.map(lambda leaf: leaf.astype(xs.dtype), carry)
    close(drop_in(xs, initial_carry=carry), theirs(xs, initial_carry=carry), 0)


def test_another_dtype_of_a_call(x64):
    """What Flax computes in double precision, because the inputs or the carry are."""
    cell = make(nnx.GRUCell)
    xs, carry = XS.astype(jnp.float64), jnp.ones((B, H), jnp.float64)
    for given in (xs, XS):
        options = {"initial_carry": carry, "return_carry": True}
        close(RNN(cell)(given, **options), nnx.RNN(cell)(given, **options), 0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({"inputs": XS[..., :2]}, ValueError, "`inputs` must have in_features = 3"),
        ({"initial_carry": jnp.ones((1, H))}, ValueError, "must be (3, 4), arrays of"),
        ({"initial_carry": (jnp.ones((B, H)),) * 2}, ValueError, "got ((3, 4), (3, 4)). Start"),
        ({"seq_lengths": LENGTHS[:2]}, ValueError, "`lengths` must have shape (*B,) = (3,)"),
        ({"seq_lengths": LENGTHS + 1}, ValueError, "`lengths` must lie in 0 ... T = 6"),
        ({"seq_lengths": LENGTHS + 0.0}, TypeError, "`lengths` must be integers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refuses(call, error, message):
    with pytest.raises(error) as refused:
        RNN(make(nnx.GRUCell))(**{"inputs": XS, **call})
    assert str(refused.value).startswith("seqjax.flax.RNN: ")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_one_import():
    assert ours.RNN is RNN
    names = [name for name in dir(nnx) if not name.startswith("_") and name != "RNN"]
    assert [name for name in names if getattr(ours, name) is not getattr(nnx, name)] == []
