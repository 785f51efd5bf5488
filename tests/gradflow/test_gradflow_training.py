"""Parameter groups, truncation, clipping: what training does with the gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import (
    BY_NAME,
    HIDDEN,
    KINDS,
    as_parameters,
    only_inexact,
    problem,
    random_params,
    random_state,
)
from flax import nnx
from linear_network import SIZE, LinearNetwork

import seqjax
from seqjax import gradflow, online

pytestmark = pytest.mark.usefixtures("x64")


def test_groups_by_gate():
    """Each gate's columns, an unsummed gate's own bias, other leaves, and sums over layers."""
    gru, params = BY_NAME["gru"].cell, random_params(BY_NAME["gru"].cell)
    tree = {"layers": [params, {"kernel": jnp.full((2, 2), 3.0)}]}
    norms = gradflow.gradient_norms(tree, gates=gru)
    for number, gate in enumerate(gru.gates):
        columns = slice(number * HIDDEN, (number + 1) * HIDDEN)
        for name in ("input_kernel", "recurrent_kernel", "bias"):
            expected = np.linalg.norm(getattr(params, name)[..., columns])
            assert norms[f"layers/0/{name}/{gate}"] == pytest.approx(expected)
    expected = np.linalg.norm(params.recurrent_bias)
    assert norms["layers/0/recurrent_bias/candidate"] == pytest.approx(expected)
    assert norms["layers/1/kernel"] == 6
    assert len(norms) == 11
    whole = gradflow.gradient_norms(tree, depth=0)["all"]
    assert whole == pytest.approx(np.sqrt(sum(norm**2 for norm in norms.values())))
    assert list(gradflow.gradient_norms(tree, depth=2)) == ["layers/0", "layers/1"]


def test_groups_with_heads():
    """The columns of a gate are those of all heads; kernels of several networks stay whole."""
    cell = BY_NAME["slstm"].cell
    params = random_params(cell)
    norms = gradflow.gradient_norms(params, gates=cell)
    for number, gate in enumerate(cell.gates):
        block = params.recurrent_kernel[:, :, 2 * number : 2 * number + 2]
        columns = slice(number * HIDDEN, (number + 1) * HIDDEN)
        assert norms[f"recurrent_kernel/{gate}"] == pytest.approx(np.linalg.norm(block))
        for name in ("input_kernel", "bias"):
            expected = np.linalg.norm(getattr(params, name)[..., columns])
            assert norms[f"{name}/{gate}"] == pytest.approx(expected)
    assert len(norms) == 12
    two = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), random_params(BY_NAME["gru"].cell))
    whole = ["bias", "input_kernel", "recurrent_bias", "recurrent_kernel"]
    assert sorted(gradflow.gradient_norms(two)) == whole


def test_groups_of_kernels_that_are_not_square_or_shared():
    """A block is never called by the name of a gate that it does not belong to."""
    cell = seqjax.projected_lstm(2, memory_size=8)
    params = random_params(cell)
    norms = gradflow.gradient_norms(params, gates=cell)
    for number, gate in enumerate(cell.gates):
        for name in ("input_kernel", "recurrent_kernel", "bias"):
            expected = np.linalg.norm(getattr(params, name)[..., 8 * number : 8 * number + 8])
            assert norms[f"{name}/{gate}"] == pytest.approx(expected)
    assert norms["extra/projection"] == pytest.approx(np.linalg.norm(params.extra["projection"]))
    norms = gradflow.gradient_norms(
        random_params(BY_NAME["co_rnn"].cell), gates=BY_NAME["co_rnn"].cell
    )
    assert sorted(norms) == [
        "bias",
        "input_kernel",
        "recurrent_kernel/position",
        "recurrent_kernel/velocity",
    ]
    cell = BY_NAME["antisymmetric_rnn_gated"].cell
    norms = gradflow.gradient_norms(random_params(cell), gates=cell)
    assert {"input_kernel", "bias"} < set(norms)


def test_complex_gradients():
    norms = gradflow.gradient_norms({"a": jnp.array([3 + 4j, 12j])})
    assert norms["a"] == 13


def test_groups_of_a_module():
    """The gradient of an NNX module; without names, gates are numbered."""
    with jax.enable_x64(False):
        layer = seqjax.nn.RNN(seqjax.lstm(4), 3, rngs=nnx.Rngs(0))
        state = nnx.state(layer)
    norms = gradflow.gradient_norms(state, gates=seqjax.lstm(4))
    assert norms["weights/bias/forget"] == 2
    assert "weights/recurrent_kernel/output" in norms
    assert gradflow.gradient_norms(state)["weights/bias/1"] == 2


def test_truncation_of_a_LinearNetwork():
    """`L = sum h_T`: the gradient of R in closed form, as the sum over the last k steps."""
    rng = np.random.default_rng(0)
    matrix, xs = 0.5 * rng.normal(size=(SIZE, SIZE)), rng.normal(size=(10, SIZE))
    states = [np.zeros(SIZE)]
    for x in xs:
        states.append(states[-1] @ matrix + x)
    back, terms = np.ones(SIZE), []
    for t in reversed(range(10)):
        terms.append(np.outer(states[t], back))
        back = matrix @ back
    steps = [1, 3, 7, 10, 50]
    bias = gradflow.truncation_bias(
        LinearNetwork(), {"R": jnp.asarray(matrix)}, xs, lambda ys, state: ys[-1].sum(), steps
    )
    full = sum(terms)
    for k, cosine, ratio in zip(*bias, strict=True):
        own = sum(terms[:k])
        expected = (own * full).sum() / np.linalg.norm(own) / np.linalg.norm(full)
        assert cosine == pytest.approx(expected, rel=1e-10)
        assert ratio == pytest.approx(np.linalg.norm(own) / np.linalg.norm(full), rel=1e-10)
    assert bias.steps.tolist() == steps


ROWS = [*KINDS, *(BY_NAME[name] for name in ("slstm", "matrix"))]


@pytest.mark.parametrize("row", as_parameters(ROWS, usual=("lstm_learned", "lru")))
def test_truncation_is_training_in_chunks(row):
    """Against chunks with a carried state, two batch axes, a loss of every output."""
    cell, xs = row.cell, jnp.asarray(problem(steps=7, batch=(2, 2)).xs)
    params = random_params(cell)
    start = random_state(cell, params, (2, 2))

    def loss(ys, final):
        return (ys**2).sum()

    gradient = functools.partial(jax.grad, allow_int=True)

    @jax.jit
    @gradient
    def chunked(params):
        first, state = seqjax.unroll(cell, params, xs[:1], initial_state=start)
        total = (first**2).sum()
        for begin in (1, 4):  # segments of three steps end at the last
            state = jax.lax.stop_gradient(state)
            ys, state = seqjax.unroll(cell, params, xs[begin : begin + 3], initial_state=state)
            total += (ys**2).sum()
        return total

    full = jax.jit(gradient(lambda p: loss(*seqjax.unroll(cell, p, xs, initial_state=start))))(
        params
    )
    own, full = (
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(only_inexact(tree))])
        for tree in (chunked(params), full)
    )
    bias = jax.jit(
        lambda params: gradflow.truncation_bias(cell, params, xs, loss, [3, 7], initial_state=start)
    )(params)
    cosine = own @ full / np.linalg.norm(own) / np.linalg.norm(full)
    np.testing.assert_allclose(bias.cosine, [cosine, 1], rtol=1e-10)
    ratio = np.linalg.norm(own) / np.linalg.norm(full)
    np.testing.assert_allclose(bias.norm_ratio, [ratio, 1], rtol=1e-10)


def test_online_bias():
    """RTRL has none; without a recurrent kernel, nor has e-prop; the rest is by definition."""
    cell = BY_NAME["gru"].cell
    params, xs = random_params(cell), jnp.asarray(problem(6).xs)
    methods = [online.RTRL(), online.EProp(), online.UORO()]

    def loss(ys, state):
        return (ys[-1] ** 2).sum() + state.hidden.sum()

    key = jax.random.key(0)
    bias = jax.jit(lambda p: gradflow.online_bias(cell, p, xs, loss, methods, key=key))(params)
    np.testing.assert_allclose([bias.cosine[0], bias.norm_ratio[0]], 1, rtol=1e-12)
    assert (bias.cosine[1:] < 0.999).all()

    def gradient(executor):
        def total(params):
            return loss(*seqjax.unroll(cell, params, xs, executor=executor))

        leaves = jax.tree.leaves(jax.grad(total)(params))
        return np.concatenate([np.ravel(leaf) for leaf in leaves])

    own, full = gradient(online.EProp()), gradient("scan")
    norms = np.linalg.norm(own), np.linalg.norm(full)
    np.testing.assert_allclose(bias.cosine[1], own @ full / np.prod(norms), rtol=1e-10)
    np.testing.assert_allclose(bias.norm_ratio[1], norms[0] / norms[1], rtol=1e-10)


def test_clipping():
    norms = np.random.default_rng(0).lognormal(size=200)
    statistics = gradflow.clipping_statistics(norms, 1.0)
    clipped = norms[norms > 1]
    assert statistics.rate == pytest.approx(len(clipped) / 200)
    assert statistics.clipped_fraction == pytest.approx(np.mean(1 - 1 / clipped))
    assert statistics.mean_scale == pytest.approx(np.minimum(1, 1 / norms).mean())
    assert gradflow.clipping_statistics(norms, 1e9) == (0, 0, 1)


def test_refuses():
    with pytest.raises(ValueError, match="must hold arrays, got an empty dict"):
        gradflow.gradient_norms({})
    with pytest.raises(ValueError, match="`depth` must be an integer of at least 0, got -1"):
        gradflow.gradient_norms({"w": jnp.ones(2)}, depth=-1)
    with pytest.raises(ValueError, match=r"shape \(updates,\) .* got \(2, 2\)"):
        gradflow.clipping_statistics(jnp.ones((2, 2)), 1.0)
    cell, params, xs = LinearNetwork(), {"R": jnp.eye(SIZE)}, jnp.ones((5, SIZE))
    with pytest.raises(ValueError, match=r"`steps\[0\]` must be an integer of at least 1, got 0"):
        gradflow.truncation_bias(cell, params, xs, lambda ys, state: ys.sum(), [0, 2])
    with pytest.raises(ValueError, match="truncation_bias: the loss must be a scalar"):
        gradflow.truncation_bias(cell, params, xs, lambda ys, state: ys, [2])
