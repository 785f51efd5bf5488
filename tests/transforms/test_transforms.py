"""Transforms of cells, against loops written from their equations."""

import functools
import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from marks import with_usual

import seqjax
from seqjax import transforms
from seqjax.cells import Cell, HiddenState
from seqjax.cells._cell import automatic_jacobian
from seqjax.cells._noise import Draw, hits
from tests.cell_table import PlainCell

T, B, D, H = 6, 3, 4, 4
KEY = jax.random.key(7)
LENGTHS, RESETS = jnp.array([6, 0, 4]), jnp.zeros((T, B), bool).at[2, 0].set(True)

GATED = {
    "zoneout": transforms.zoneout(seqjax.lstm(H), {"hidden": 0.3, "cell": 0.5}),
    "recurrent_dropout": transforms.recurrent_dropout(seqjax.gru(H), 0.4),
    "variational": transforms.variational_dropout(seqjax.lstm(H), 0.4, input_rate=0.3),
    "untied": transforms.variational_dropout(seqjax.gru(H, reset_after=False), 0.4, untied=True),
    "weight_drop": transforms.weight_drop(seqjax.lstm(H), 0.5),
    "weight_norm": transforms.weight_norm(seqjax.gru(H)),
    "bound_of_drop": transforms.spectral_bound(transforms.weight_drop(seqjax.elman(H)), 0.7),
    "orthogonal": transforms.orthogonal(seqjax.slstm(H, heads=2)),
    "layer_norm": transforms.layer_norm(seqjax.gru(H, reset_after=False)),
    "residual": transforms.residual(seqjax.lstm(H)),
    "projected": transforms.recurrent_dropout(
        transforms.variational_dropout(seqjax.projected_lstm(H, memory_size=6), 0.3), 0.4
    ),
    "co_rnn": transforms.variational_dropout(seqjax.co_rnn(H), 0.4),
    "layer_norm_gru": transforms.recurrent_dropout(seqjax.layer_norm_gru(H), 0.4),
}
LINEAR = {
    "zoneout_lru": transforms.zoneout(seqjax.lru(H), 0.3),
    "both_rg_lru": transforms.recurrent_dropout(
        transforms.zoneout(seqjax.rg_lru(H), 0.3), 0.4, per="sequence"
    ),
}
PLAIN = {"zoneout_plain": transforms.zoneout(PlainCell(H), {"hidden": 0.4})}
EVERY = GATED | LINEAR | PLAIN


ON_NEWTON = ("zoneout", "untied", "zoneout_plain")  # noise in the update, the product, a plain cell


def _executors(name):
    cell = EVERY[name]
    skipped = {"scan"} if name in ON_NEWTON else {"scan", "newton"}
    for short, executor in seqjax.executors.EXECUTORS.items():
        if short not in skipped and executor().refusal(cell) is None:
            yield executor()
    if isinstance(cell, seqjax.cells.GatedCell):
        yield seqjax.executors.Sequential(residuals="states", chunk_size=4)


def _params(cell, dtype=jnp.float64):
    params = cell.init(jax.random.key(0), D, dtype)
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [
        leaf + 0.3 * jax.random.normal(k, leaf.shape, leaf.dtype)
        for leaf, k in zip(leaves, keys, strict=True)
    ]
    return structure.unflatten(moved)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _values_and_gradients(cell, executor, params, xs, key):
    def loss(params, xs):
        ys, final = seqjax.unroll(
            cell, params, xs, lengths=LENGTHS, resets=RESETS, executor=executor, key=key
        )
        weights = jnp.cos(jnp.arange(ys.size).reshape(ys.shape))
        ends = [leaf.real for leaf in final if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        ends = sum(jnp.where(jnp.isfinite(end), end, 0).sum() for end in ends)
        return (weights * ys).sum() + ends, ys

    return jax.value_and_grad(loss, (0, 1), has_aux=True)(params, xs)


# Noise in the update and in the product; a linear cell, and a plain one.
USUAL = ("recurrent_dropout", "zoneout_lru", "zoneout_plain")


@pytest.mark.parametrize(
    "name",
    with_usual(EVERY, USUAL),
)
def test_executors_agree_on_the_same_noise(name, x64):
    cell = EVERY[name]
    params, xs = _params(cell), jax.random.normal(jax.random.key(2), (T, B, D), jnp.float64)
    key = KEY if cell.draws_noise else None
    expected = _values_and_gradients(cell, seqjax.executors.Scan(), params, xs, key)
    for executor in _executors(name):
        got = _values_and_gradients(cell, executor, params, xs, key)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "name",
    [
        *("zoneout", "recurrent_dropout"),
        *(pytest.param(name, marks=pytest.mark.extended) for name in ("variational", "untied")),
    ],
)
def test_the_jacobian_of_a_step_knows_its_noise(name, x64):
    cell = EVERY[name]
    params, xs = _params(cell), jax.random.normal(jax.random.key(2), (T, B, D), jnp.float64)
    noise = jax.tree.map(lambda leaf: leaf[0, 0], cell.draw(KEY, xs).steps)
    state = jax.tree.map(lambda leaf: leaf + 0.3, cell.initial_state(params, (), jnp.float64))
    at_step = params, state, cell.project(params, xs[0, 0], noise=noise)
    expected = jax.jit(functools.partial(automatic_jacobian, cell))(*at_step)
    np.testing.assert_allclose(jax.jit(cell.jacobian)(*at_step), expected, rtol=1e-10, atol=1e-12)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _lstm_gates(z):
    i, f, g, o = np.split(z, 4, axis=-1)
    return _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)


def _run(cell, xs, key=KEY):
    """Returns parameters, outputs with noise, and the noise, all in NumPy."""
    params = _params(cell)
    noise = cell.draw(key, xs)
    ys, _ = seqjax.unroll(cell, params, xs, key=key)
    return jax.device_get((params, ys, noise._replace(params=None)))


@pytest.fixture
def xs(x64):
    return jax.random.normal(jax.random.key(3), (T, B, D), jnp.float64)


def test_zoneout_keeps_each_field_by_its_own_draw(xs):
    params, ys, noise = _run(GATED["zoneout"], xs)
    h, c = np.zeros((2, B, H))
    for t, x in enumerate(np.asarray(xs)):
        i, f, g, o = _lstm_gates(
            x @ params.input_kernel + params.bias + h @ params.recurrent_kernel
        )
        new_c = f * c + i * g
        new_h = o * np.tanh(new_c)  # from the memory before it is kept
        h = np.where(noise.steps["zoneout_hidden"][t], h, new_h)
        c = np.where(noise.steps["zoneout_cell"][t], c, new_c)
        np.testing.assert_allclose(ys[t], h, rtol=1e-10)


def test_zoneout_at_test_time_is_its_expectation(xs):
    cell = GATED["zoneout"]
    params = _params(cell)
    ys, _ = jax.device_get(seqjax.unroll(cell, params, xs))
    params = jax.device_get(params)
    h, c = np.zeros((2, B, H))
    for t, x in enumerate(np.asarray(xs)):
        i, f, g, o = _lstm_gates(
            x @ params.input_kernel + params.bias + h @ params.recurrent_kernel
        )
        new_c = f * c + i * g
        h, c = 0.3 * h + 0.7 * o * np.tanh(new_c), 0.5 * c + 0.5 * new_c
        np.testing.assert_allclose(ys[t], h, rtol=1e-10)


def test_recurrent_dropout_drops_the_candidate_alone(xs):
    params, ys, noise = _run(GATED["recurrent_dropout"], xs)
    factor = np.where(noise.steps["recurrent_dropout"], 0, 1 / 0.6)
    h = np.zeros((B, H))
    for t, x in enumerate(np.asarray(xs)):
        drive = x @ params.input_kernel + params.bias
        recurrent = h @ params.recurrent_kernel
        z, r = (_sigmoid(part) for part in np.split((drive + recurrent)[:, : 2 * H], 2, axis=-1))
        n = np.tanh(drive[:, 2 * H :] + r * (recurrent[:, 2 * H :] + params.recurrent_bias))
        h = (1 - z) * h + z * factor[t] * n
        np.testing.assert_allclose(ys[t], h, rtol=1e-10)


def test_variational_dropout_uses_one_mask_a_sequence(xs):
    params, ys, noise = _run(GATED["variational"], xs)
    factor = np.where(noise.steps["hidden"], 0, 1 / 0.6)
    assert (factor == factor[:1]).all()
    assert len(np.unique(factor)) == 2
    assert (noise.inputs == noise.inputs[:1]).all()
    h, c = np.zeros((2, B, H))
    for t, x in enumerate(np.asarray(xs)):
        drive = (x * noise.inputs[t]) @ params.input_kernel + params.bias
        i, f, g, o = _lstm_gates(drive + (h * factor[t]) @ params.recurrent_kernel)
        c = f * c + i * g
        h = o * np.tanh(c)
        np.testing.assert_allclose(ys[t], h, rtol=1e-10)


def test_untied_dropout_has_a_mask_for_each_gate(xs):
    params, ys, noise = _run(GATED["untied"], xs)
    factors = np.split(np.where(noise.steps["hidden"], 0, 1 / 0.6), 3, axis=-1)
    kernels = np.split(params.recurrent_kernel, 3, axis=-1)
    h = np.zeros((B, H))
    for t, x in enumerate(np.asarray(xs)):
        drives = np.split(x @ params.input_kernel + params.bias, 3, axis=-1)

        def gate(index, state, t=t, drives=drives):
            return drives[index] + (state * factors[index][t]) @ kernels[index]

        z, r = _sigmoid(gate(0, h)), _sigmoid(gate(1, h))
        h = (1 - z) * h + z * np.tanh(gate(2, r * h))
        np.testing.assert_allclose(ys[t], h, rtol=1e-10)


def test_weight_drop_scales_the_weights_that_it_keeps(xs):
    cell = GATED["weight_drop"]
    params = _params(cell)
    noise = cell.draw(KEY, xs)
    kernel, whole = cell.prepare(params, noise.params).recurrent_kernel, params.recurrent_kernel
    assert 0.2 < float((kernel == 0).mean()) < 0.8
    np.testing.assert_allclose(kernel, np.where(kernel == 0, 0, 2 * whole), rtol=1e-12)
    base = seqjax.lstm(H)
    expected, _ = seqjax.unroll(base, params._replace(recurrent_kernel=kernel), xs)
    np.testing.assert_allclose(seqjax.unroll(cell, params, xs, key=KEY)[0], expected, rtol=1e-12)


def test_zoneout_of_a_linear_cell_keeps_the_state(xs):
    cell = transforms.zoneout(seqjax.min_gru(H), 0.4)
    params, ys, noise = _run(cell, xs)
    keep = noise.steps[1]
    h = np.zeros((B, H))
    for t, x in enumerate(np.asarray(xs)):
        z, n = np.split(x @ params.input_kernel + params.bias, 2, axis=-1)
        new = (1 - _sigmoid(z)) * h + _sigmoid(z) * n
        h = np.where(keep[t], h, new)
        np.testing.assert_allclose(ys[t], h, rtol=1e-10)


@pytest.mark.parametrize("per", ["step", "sequence"])
def test_draws_do_not_depend_on_padding_or_on_other_sequences(per):
    draw = Draw("any", 0.3, per)
    small = hits(KEY, jnp.zeros((5, 2, 3)), (40,), draw)
    large = hits(KEY, jnp.zeros((9, 7, 3)), (40,), draw)
    np.testing.assert_array_equal(small, large[:5, :2])
    assert not (large[:, 0] == large[:, 1]).all()
    many = hits(KEY, jnp.zeros((40, 30, 3)), (50,), Draw("any", 0.3, "step"))
    assert abs(float(many.mean()) - 0.3) < 5 * math.sqrt(0.21 / many.size)


def test_without_a_rate_every_transform_is_the_cell_itself(xs):
    base = seqjax.lstm(H)
    params = _params(base)
    expected, _ = seqjax.unroll(base, params, xs)
    for cell in (
        transforms.zoneout(base, 0.0),
        transforms.recurrent_dropout(base, 0.0),
        transforms.weight_drop(base, 0.0),
        transforms.spectral_bound(base, 1e6),
    ):
        key = KEY if cell.draws_noise else None
        got, _ = seqjax.unroll(cell, params, xs, key=key)
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_spectral_bound_bounds_every_gate(x64):
    cell = transforms.spectral_bound(seqjax.lstm(16), 0.8, iterations=200)
    params = _params(cell)
    for bounded, whole in zip(
        np.split(np.asarray(cell.prepare(params).recurrent_kernel), 4, axis=-1),
        np.split(np.asarray(params.recurrent_kernel), 4, axis=-1),
        strict=True,
    ):
        largest = np.linalg.norm(whole, 2)
        assert largest > 0.8
        np.testing.assert_allclose(bounded, whole * 0.8 / largest, rtol=1e-6)


@pytest.mark.parametrize("method", ["cayley", "exponential"])
def test_orthogonal_kernels_are_orthogonal_by_head(method, x64):
    cell = transforms.orthogonal(seqjax.slstm(8, heads=2), method)
    kernel = np.asarray(cell.prepare(_params(cell)).recurrent_kernel)
    for block in kernel.reshape(2, 4, 4, 4).transpose(0, 2, 1, 3).reshape(8, 4, 4):
        np.testing.assert_allclose(block @ block.T, np.eye(4), atol=1e-12)


def test_weight_norm_starts_from_the_kernel_that_the_cell_draws():
    base, cell = seqjax.gru(H), GATED["weight_norm"]
    plain, params = (each.init(jax.random.key(0), D) for each in (base, cell))
    np.testing.assert_allclose(
        cell.prepare(params).recurrent_kernel, plain.recurrent_kernel, rtol=1e-5
    )
    doubled = params._replace(
        recurrent_kernel={**params.recurrent_kernel, "length": jnp.full(3 * H, 2.0)}
    )
    lengths = jnp.linalg.norm(cell.prepare(doubled).recurrent_kernel, axis=0)
    np.testing.assert_allclose(lengths, 2.0, rtol=1e-5)


def test_layer_norm_normalises_each_gate_by_its_own_gain(xs):
    cell = transforms.layer_norm(seqjax.elman(H))
    params = _params(cell)
    ys, _ = jax.device_get(seqjax.unroll(cell, params, xs))
    params = jax.device_get(params)
    h = np.zeros((B, H))
    for t, x in enumerate(np.asarray(xs)):
        z = x @ params.input_kernel + params.bias + h @ params.recurrent_kernel
        z = (z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) + 1e-5)
        h = np.tanh(params.units["gamma_hidden"] * z)
        np.testing.assert_allclose(ys[t], h, rtol=1e-9)


def test_transformed_cells_are_equal_and_pickle():
    for name, cell in EVERY.items():
        again = pickle.loads(pickle.dumps(cell))
        assert again == cell, name
        assert hash(again) == hash(cell), name
    assert transforms.zoneout(seqjax.lstm(4), 0.1) == transforms.zoneout(seqjax.lstm(4), 0.1)
    assert transforms.zoneout(seqjax.lstm(4), 0.1) != transforms.zoneout(seqjax.lstm(4), 0.2)


def test_layers_draw_noise_only_with_a_key():
    cell = GATED["zoneout"]
    stack = seqjax.nn.Stack(
        [
            seqjax.nn.Bidirectional(cell, D, rngs=nnx.Rngs(0)),
            seqjax.nn.RNN(cell, 2 * H, rngs=nnx.Rngs(1)),
        ]
    )
    xs = jax.random.normal(jax.random.key(3), (B, T, D))
    test, again = stack(xs), stack(xs)
    np.testing.assert_array_equal(test, again)
    noisy, same, other = (stack(xs, key=jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(noisy, same)
    assert not (noisy == other).all()
    assert not (noisy == test).all()
    both = stack.layers[0]
    both.backward.weights = both.forward.weights
    forward, backward = jnp.split(both(jnp.ones((B, T, D)), key=KEY), 2, axis=-1)
    assert not jnp.allclose(forward, backward[:, ::-1])  # each direction has its own draws


def test_one_step_draws_noise_with_a_key():
    cell = GATED["zoneout"]
    params = cell.init(jax.random.key(0), D)
    x, key = jnp.ones((B, D)), jax.random.key(5)
    y, _ = seqjax.step(cell, params, x, key=key)
    ys, _ = seqjax.unroll(cell, params, x[None], key=key)
    np.testing.assert_array_equal(y, ys[0])


def _own(hidden_size):
    return seqjax.gated_cell(
        "own", hidden_size, gates=("z",), update=lambda state, z: HiddenState(jnp.tanh(z))
    )


REFUSED = {
    "rate above 1": (
        lambda: transforms.zoneout(seqjax.lstm(4), 1.2),
        r"`rate` must lie in \[0, 1\), got 1.2",
    ),
    "rate of a field": (
        lambda: transforms.zoneout(seqjax.lstm(4), {"hidden": -1}),
        r"`rate\['hidden'\]` must lie in \[0, 1\), got -1",
    ),
    "unknown field": (
        lambda: transforms.zoneout(seqjax.lstm(4), {"memory": 0.1}),
        r"must name fields of lstm\(4\), .*got \['memory'\]",
    ),
    "other fields": (lambda: transforms.zoneout(seqjax.slstm(4), 0.1), "normaliser"),
    "twice": (
        lambda: transforms.zoneout(transforms.zoneout(seqjax.lstm(4), 0.1), 0.1),
        "can be transformed once",
    ),
    "no cell": (lambda: transforms.zoneout("lstm", 0.1), "must be a cell such as"),
    "no candidate": (
        lambda: transforms.recurrent_dropout(_own(4), 0.1),
        "takes `candidate_factor`, got own",
    ),
    "unknown per": (
        lambda: transforms.recurrent_dropout(seqjax.lstm(4), 0.1, per="batch"),
        "step, sequence, got 'batch'",
    ),
    "not gated": (
        lambda: transforms.variational_dropout(seqjax.min_gru(4), 0.1),
        r"must be a GatedCell, .*got min_gru\(4\)",
    ),
    "no product": (
        lambda: transforms.weight_drop(seqjax.ind_rnn(4), 0.1),
        r"must have a recurrent product, got ind_rnn\(4\)",
    ),
    "computed kernel": (
        lambda: transforms.spectral_bound(seqjax.antisymmetric_rnn(4)),
        r"got antisymmetric_rnn\(4\), whose `prepare` computes it",
    ),
    "untied heads": (
        lambda: transforms.variational_dropout(seqjax.slstm(4, heads=2), 0.1, untied=True),
        "needs a dense kernel, got 2 heads",
    ),
    "weight_norm late": (
        lambda: transforms.weight_norm(transforms.weight_drop(seqjax.lstm(4))),
        "Apply weight_norm first",
    ),
    "bound": (lambda: transforms.spectral_bound(seqjax.lstm(4), 0), "`bound` must be above 0"),
    "method": (lambda: transforms.orthogonal(seqjax.lstm(4), "qr"), "got 'qr'"),
    "epsilon": (lambda: transforms.layer_norm(seqjax.lstm(4), epsilon=0), "must be above 0"),
    "normalised twice": (
        lambda: transforms.layer_norm(transforms.layer_norm(seqjax.lstm(4))),
        "normalised once",
    ),
    "residual size": (
        lambda: seqjax.unroll(
            transforms.residual(seqjax.gru(4)),
            seqjax.gru(4).init(jax.random.key(0), 3),
            jnp.ones((2, 3)),
        ),
        r"as many input features as output features \(4\), got 3",
    ),
    "key without noise": (
        lambda: seqjax.unroll(seqjax.gru(4), seqjax.gru(4).init(KEY, 3), jnp.ones((2, 3)), key=KEY),
        r"gru\(4\) draws none",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_mistakes_are_refused_in_one_line(name):
    make, message = REFUSED[name]
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_no_cell_of_the_table_draws_noise_by_itself():
    assert not any(make(4).draws_noise for make in seqjax.cells.CELLS.values())
    assert not Cell.draws_noise


@pytest.mark.parametrize("name", ["min_gru", pytest.param("delta_net", marks=pytest.mark.extended)])
def test_zoneout_keeps_the_residual(name):
    """Of cells that it wraps: at a rate of 0, the result is that of the inner cell."""
    inner = transforms.residual(seqjax.make_cell(name, H))
    params = inner.init(jax.random.key(0), D)
    xs = jax.random.normal(jax.random.key(1), (T, B, D))
    got, _ = seqjax.unroll(transforms.zoneout(inner, 0.0), params, xs)
    np.testing.assert_allclose(got, seqjax.unroll(inner, params, xs)[0], atol=1e-6)


def test_measures_see_the_residual():
    """The gradient of what a residual cell puts out is that of its plain sum."""
    plain, inner = seqjax.gru(H), transforms.residual(seqjax.gru(H))
    params = plain.init(jax.random.key(0), D)
    xs = jax.random.normal(jax.random.key(1), (T, B, D))

    def loss(ys, state):
        return (ys**2).sum()

    def sum_with_input(ys, state):
        return ((ys + xs) ** 2).sum()

    got = seqjax.gradflow.state_gradients(inner, params, xs, loss)
    expected = seqjax.gradflow.state_gradients(plain, params, xs, sum_with_input)
    np.testing.assert_allclose(got.hidden, expected.hidden, atol=1e-5)


@pytest.mark.parametrize("name", ["slstm", "mlstm", "qrnn"])
def test_a_number_for_a_state_with_other_fields_is_refused(name):
    with pytest.raises(ValueError, match="`rate` must name fields of"):
        transforms.zoneout(seqjax.make_cell(name, 4), 0.1)
    with pytest.raises(ValueError, match=r"got \['nothing'\]"):
        transforms.zoneout(seqjax.make_cell(name, 4), {"nothing": 0.1})


def test_a_decoder_refuses_cells_that_draw_noise():
    embedding = seqjax.nn.Embedding(7, H, rngs=nnx.Rngs(0))
    layer = seqjax.nn.RNN(GATED["zoneout"], H, rngs=nnx.Rngs(0))
    attention = seqjax.nn.Attention("dot", H, H, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"`layers\[0\]` must have a cell that draws no noise"):
        seqjax.nn.AttentionDecoder(embedding, [layer], attention, rngs=nnx.Rngs(0))
