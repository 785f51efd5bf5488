"""Cells that travel: theirs through `unroll`, ours inside their layers, any step by `from_step`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import seqjax
from seqjax import gradflow
from seqjax.flax import from_linen, from_nnx, from_step, to_linen, to_nnx

T, B, D, H = 5, 3, 3, 4
XS = jax.random.normal(jax.random.key(1), (T, B, D))
LENGTHS = jnp.array([5, 2, 0])
ROWS = jnp.swapaxes(XS, 0, 1)


def close(got, expected, tolerance=2e-6):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


class TwoNumbers(nnx.Module):
    """A cell whose output is no part of its carry, an integer is, and that needs one batch axis."""

    def __init__(self, rngs):
        self.dense = nnx.Linear(D + H, H, rngs=rngs)

    def __call__(self, carry, x):
        (hidden, count), (batch, _) = carry, x.shape
        hidden = jnp.tanh(self.dense(jnp.concatenate([x, hidden], axis=-1)))
        return (hidden, count + 1), hidden[:, :2] * count.reshape(batch, 1)

    def initialize_carry(self, input_shape, rngs):
        return jnp.zeros((input_shape[0], H)), jnp.ones(input_shape[0], int)


NNX = {
    "lstm": lambda: nnx.LSTMCell(D, H, rngs=nnx.Rngs(0)),
    "gru": lambda: nnx.GRUCell(D, H, rngs=nnx.Rngs(0)),
    "own": lambda: TwoNumbers(nnx.Rngs(0)),
}


@pytest.mark.parametrize("name", NNX)
def test_from_nnx(name):
    """Valid outputs and the last carry of Flax, and zeros and the first carry where it has none."""
    module = NNX[name]()
    cell, params = from_nnx(module, in_size=D)
    assert isinstance(cell, seqjax.cells.Cell)
    with jax.numpy_rank_promotion("allow"):
        expected, states = [], [module.initialize_carry((B, D), nnx.Rngs(0))]
        for x in XS:
            carry, y = module(states[-1], x)
            states, expected = [*states, carry], [*expected, y]
        ys, state = seqjax.unroll(cell, params, XS, lengths=LENGTHS)
    valid = (jnp.arange(T)[:, None] < LENGTHS[None])[..., None]
    close(ys, jnp.where(valid, jnp.stack(expected), 0))
    last = jax.tree.map(
        lambda *leaves: jnp.stack([leaves[n][row] for row, n in enumerate(LENGTHS)]), *states
    )
    close(cell.carry_of(state), last)
    close(cell.state_of(last, state.output), state)


def test_from_nnx_in_a_step_of_training():
    """Truncation, gradients by the names of their parameters, written back into the module."""
    module = NNX["lstm"]()
    cell, params = from_nnx(module)
    executor = seqjax.executors.Scan(truncation=2)

    @jax.jit
    def gradient(params):
        return jax.grad(lambda p: (seqjax.unroll(cell, p, XS, executor=executor)[0] ** 2).sum())(
            params
        )

    grads = gradient(params)
    assert jax.tree.structure(grads) == jax.tree.structure(nnx.state(module, nnx.Param))
    assert all((jnp.abs(leaf) > 0).any() for leaf in jax.tree.leaves(grads))
    before = module.hi.kernel[...]
    nnx.update(module, jax.tree.map(lambda p, g: p - g, params, grads))
    assert not jnp.allclose(before, module.hi.kernel[...])


def test_one_state_for_gradient_flow():
    """The output is part of the carry, and stands in the state once: no dead directions."""
    cell, params = from_nnx(nnx.SimpleCell(D, H, rngs=nnx.Rngs(0)))
    jacobians = gradflow.step_jacobians(cell, params, XS)
    assert jacobians.shape[-2:] == (H, H)
    kernel = nnx.to_pure_dict(params)["dense_h"]["kernel"]
    ys, _ = seqjax.unroll(cell, params, XS)
    close(jacobians[1, 0], (1 - ys[1, 0][:, None] ** 2) * kernel.T)
    own, own_params = from_nnx(TwoNumbers(nnx.Rngs(0)), in_size=D)
    assert gradflow.step_jacobians(own, own_params, XS).shape[-1] == 2 + H


def test_equal_cells_and_pickles():
    """Made alike, cells are equal, so that nothing is compiled twice."""
    (one, _), (two, _) = (from_nnx(NNX["lstm"]()) for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)
    one, two = (from_linen(linen.LSTMCell(H), D) for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)


@pytest.mark.parametrize("make", [linen.LSTMCell, linen.GRUCell], ids=lambda make: make.__name__)
def test_from_linen(make):
    module = make(H)
    cell = from_linen(module, D)
    variables = cell.init(jax.random.key(0), D)
    with jax.numpy_rank_promotion("allow"):
        layer = linen.RNN(module, time_major=True, return_carry=True)
        carry, expected = layer.apply({"params": {"cell": variables["params"]}}, XS)
        ys, state = seqjax.unroll(cell, variables, XS)
    close(ys, expected)
    close(cell.carry_of(state), carry)
    with jax.numpy_rank_promotion("allow"):
        assert seqjax.nn.RNN(cell, D, rngs=nnx.Rngs(0))(ROWS).shape == (B, T, H)
        others = from_linen(make(H + 1), D).init(jax.random.key(0), D)
        with pytest.raises(ValueError, match=r"the parameter `params\.h"):
            seqjax.unroll(cell, others, XS)


@pytest.mark.parametrize(
    "name", ["lstm", "min_gru", pytest.param("lru", marks=pytest.mark.extended)]
)
def test_our_cells_in_their_layers(name):
    cell = seqjax.make_cell(name, H)
    rngs = nnx.Rngs(0)
    own = to_nnx(cell, D, rngs=rngs)
    with jax.numpy_rank_promotion("allow"):
        carry, ys = nnx.RNN(own)(ROWS, seq_lengths=jnp.array([5, 2, 1]), return_carry=True)
    layer = seqjax.nn.RNN(cell, D, rngs=rngs)
    nnx.update(layer, nnx.state(own, nnx.Param))
    assert jax.tree.structure(nnx.state(layer)) == jax.tree.structure(nnx.state(own))
    expected, state = layer(ROWS, lengths=jnp.array([5, 2, 1]), return_state=True)
    close(ys[0], expected[0])
    close(carry, state)
    params = layer.cell_params()
    variables = {"params": {"cell": {"weights": params}}}
    with jax.numpy_rank_promotion("allow"):
        close(linen.RNN(to_linen(cell, D)).apply(variables, ROWS)[0], expected[0])
        made = linen.RNN(to_linen(cell, D)).init(jax.random.key(0), ROWS)
    assert jax.tree.structure(made) == jax.tree.structure(variables)


def test_ours_in_both_directions():
    rngs = nnx.Rngs(0)
    layers = [nnx.RNN(to_nnx(seqjax.gru(H), D, rngs=rngs)) for _ in range(2)]
    with jax.numpy_rank_promotion("allow"):
        assert nnx.Bidirectional(*layers)(ROWS).shape == (B, T, 2 * H)


def test_from_step_one_example():
    """A function of one example, over two batch axes."""

    def call(params, carry, x):
        carry = {"sum": carry["sum"] + params @ x}
        return carry, carry["sum"].sum()[None]

    kernel = jnp.ones((H, D))
    cell = from_step(
        call, lambda _, batch: {"sum": jnp.ones((*batch, H))}, kernel, D, batched=False
    )
    xs = XS[:, :, None]
    ys, state = seqjax.unroll(cell, kernel, xs)
    close(ys, (H + H * xs.sum(axis=-1, keepdims=True).cumsum(axis=0)), 1e-5)
    assert cell.carry_of(state)["sum"].shape == (B, 1, H)
    with pytest.raises(TypeError, match="must be given `init` to draw parameters"):
        cell.init(jax.random.key(0), D)


def first(params, batch_shape):
    return jnp.zeros((*batch_shape, H))


class Dropping(nnx.SimpleCell):
    def __init__(self):
        super().__init__(D, H, rngs=nnx.Rngs(0))
        self.drop = nnx.Dropout(0.5, rngs=nnx.Rngs(1))

    def __call__(self, carry, x):
        carry, y = super().__call__(carry, x)
        return carry, self.drop(y)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: from_step(lambda *a: a[1], first, (), D), ValueError, "must return (carry, y)"),
        (
            lambda: from_step(lambda p, c, x: (c[..., :2], c), first, (), D),
            ValueError,
            "shapes of `carry`, (1, 4) for a batch of 1, got (1, 2)",
        ),
        (lambda: from_nnx(NNX["own"]()), TypeError, "`in_size` must be given"),
        (lambda: from_nnx(Dropping()), ValueError, "must not change variables"),
        (lambda: from_linen(linen.ConvLSTMCell(2, (3,)), D), TypeError, "one axis of features"),
        (
            lambda: to_linen(seqjax.transforms.zoneout(seqjax.gru(H), 0.1), D),
            ValueError,
            "must draw no noise",
        ),
        (
            lambda: to_linen(seqjax.gru(H, learned_initial_state=True), D),
            ValueError,
            "must not be learned",
        ),
    ],
    ids=lambda value: value[:25] if isinstance(value, str) else "",
)
def test_refuses(call, error, message):
    with jax.numpy_rank_promotion("allow"), pytest.raises(error) as refused:
        call()
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
