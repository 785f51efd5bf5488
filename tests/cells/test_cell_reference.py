"""One step of every cell against its equations in NumPy, and its place in the contracts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import (
    HIDDEN,
    IN,
    ROWS,
    as_parameters,
    assert_trees_close,
    every_cell,
    every_form,
    random_params,
    random_state,
)

import seqjax
from seqjax.cells import CELLS, AssociativeCell, GatedCell, HiddenState, LinearCell, affine
from seqjax.cells._cell import advance, project


@pytest.mark.parametrize(
    ("row", "batch"),
    [
        *as_parameters(ROWS, (2, 3), name="batch", usual={row.id for row in ROWS}),
        *as_parameters(ROWS, (), name="one"),
    ],
)
def test_step_equals_equations(x64, row, batch):
    cell = row.cell
    params = random_params(cell)
    state = random_state(cell, params, batch)
    x = np.random.default_rng(3).normal(size=(*batch, IN))
    y, got = advance(cell, params, jnp.asarray(x), state)
    assert type(got) is type(state)

    numbers = jax.tree.map(np.asarray, params)
    for place in np.ndindex(*batch):
        before = tuple(np.asarray(leaf)[place] for leaf in state)
        expected = row.step(numbers, before, x[place])
        assert_trees_close([leaf[place] for leaf in got], expected)
        assert_trees_close(y[place], row.output(numbers, expected, x[place]))


@every_form
def test_project_is_one_product_for_many_steps(x64, row):
    params = row.cell.prepare(random_params(row.cell))
    xs = jnp.asarray(np.random.default_rng(4).normal(size=(6, 2, IN)))
    starts = jnp.asarray(np.random.default_rng(5).random((6, 2)) < 0.5)
    together = project(row.cell, params, xs, starts)
    together = jax.tree.map(  # a coefficient that is constant in time may have one step
        lambda leaf: jnp.broadcast_to(leaf, (6, 2, *leaf.shape[2:])), together
    )
    for x, start, *parts in zip(xs, starts, *jax.tree.leaves(together), strict=True):
        alone = jax.tree.leaves(project(row.cell, params, x, start))
        spread = [jnp.broadcast_to(a, b.shape) for a, b in zip(alone, parts, strict=True)]
        assert_trees_close(spread, parts)


@every_cell
def test_initial_state(row):
    """Each field at its start, or the learned state; of the batch's shape and the dtype asked."""
    params = random_params(row.cell, dtype=jnp.float32)
    learned = getattr(params, "initial_state", None)
    starts = {"stabiliser": -np.inf, "fresh": True}
    alone = row.cell.initial_state(params)
    for batch, dtype in [((), jnp.float32), ((2, 3), jnp.bfloat16)]:
        state = row.cell.initial_state(params, batch, dtype)
        for index, (name, leaf) in enumerate(state._asdict().items()):
            assert leaf.shape == (*batch, *alone[index].shape)
            kinds = {"fresh": jnp.dtype(bool)}
            if row.name in ("lru", "s5"):
                kinds["hidden"] = jnp.dtype(jnp.complex64)
            assert leaf.dtype == kinds.get(name, dtype)
            start = jnp.asarray(starts.get(name, 0.0)) if learned is None else learned[index]
            expected = jnp.broadcast_to(start.astype(leaf.dtype), leaf.shape)
            np.testing.assert_array_equal(leaf, expected)


@every_cell
def test_cell_is_a_frozen_hashable_value(row):
    assert hash(row.cell) == hash(row.cell)
    assert repr(row.cell) == f"{row.cell.name}({HIDDEN})"
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.cell.hidden_size = 3


def test_kinds():
    kinds = {row.name: row.cell for row in ROWS}
    for name in ("plain", "cfc", "ltc"):
        assert not isinstance(kinds.pop(name), GatedCell | LinearCell | AssociativeCell)
    linear = ("min_gru", "lru", "rg_lru", "min_lstm", "s5", "s6", "mamba2", "gla", "matrix")
    for name in linear:
        assert isinstance(kinds.pop(name), LinearCell)
    for name in ("qrnn", "mlstm", "delta_net", "gated_delta_net"):
        assert isinstance(kinds.pop(name), AssociativeCell)
    assert all(isinstance(cell, GatedCell) for cell in kinds.values())


def test_gate_names_and_their_order():
    assert seqjax.lstm(2).gates == ("input", "forget", "candidate", "output")
    assert seqjax.gru(2).gates == ("update", "reset", "candidate")
    assert seqjax.gru(2).unsummed == ("candidate",)
    assert seqjax.gru(2, reset_after=False).gates == ("update", "reset", "candidate")
    assert seqjax.gru(2, reset_after=False).inner_gates == ("candidate",)
    assert seqjax.elman(2).gates == ("hidden",)


def test_linear_cell_coefficients_are_its_step(x64):
    cell = seqjax.min_gru(HIDDEN)
    params = random_params(cell)
    x = jnp.asarray(np.random.default_rng(5).normal(size=(2, IN)))
    state = random_state(cell, params, (2,))
    a, b = cell.coefficients(params, x)
    got = cell.step(params, state, cell.project(params, x))
    assert_trees_close(got, (a * state.hidden + b,))


def test_gated_cell_with_every_gate_unsummed(x64):
    """Also the case in which no gate is left to be summed."""

    def update(state, a, b):
        return HiddenState(jnp.tanh(a[0] * a[1]) + b[0] - 0.5 * b[1])

    cell = seqjax.gated_cell("all", 2, gates=("a", "b"), unsummed=("a", "b"), update=update)
    params = random_params(cell)
    x, h = np.array([0.3, -0.2, 0.9]), np.array([0.4, -0.7])
    got = cell.step(params, HiddenState(jnp.asarray(h)), cell.project(params, jnp.asarray(x)))
    w, r, b, rb, *_ = params
    drive, product = x @ np.asarray(w) + b, h @ np.asarray(r) + rb
    expected = np.tanh(drive[:2] * product[:2]) + drive[2:] - 0.5 * product[2:]
    assert_trees_close(got, (expected,))


def test_gated_cell_with_every_gate_an_inner_gate(x64):
    """The outer product has no columns left; gradients are those of the plain scan."""

    def inner_state(state):
        return jnp.sin(state.hidden)

    def update(state, a):
        return HiddenState(jnp.tanh(a) + 0.5 * state.hidden)

    cell = seqjax.gated_cell(
        "all", 2, gates=("a",), inner_gates=("a",), inner_state=inner_state, update=update
    )
    params = random_params(cell)
    x, h = np.array([0.3, -0.2, 0.9]), np.array([0.4, -0.7])
    got = cell.step(params, HiddenState(jnp.asarray(h)), cell.project(params, jnp.asarray(x)))
    w, r, b, *_ = (np.asarray(leaf) for leaf in params[:3])
    assert_trees_close(got, (np.tanh(x @ w + b + np.sin(h) @ r) + 0.5 * h,))

    def loss(params, executor):
        return seqjax.unroll(cell, params, jnp.ones((5, 3)), executor=executor)[0].sum()

    assert_trees_close(*(jax.grad(loss)(params, executor) for executor in ("auto", "scan")))


def test_activations_can_be_replaced(x64):
    """Every activation argument reaches the equations: with the identity they are polynomials."""
    x, h, c = np.array([0.5, -0.3, 0.2]), np.array([0.4]), np.array([0.7])

    def identity(z):
        return z

    def step_of(cell, state):
        params = random_params(cell)
        got = cell.step(params, state, cell.project(params, jnp.asarray(x)))
        w, r, b = (np.asarray(leaf) for leaf in params[:3])
        return got, x @ w + b, h @ r, params

    state = HiddenState(jnp.asarray(h))
    got, drive, product, _ = step_of(seqjax.elman(1, activation=identity), state)
    assert_trees_close(got, (drive + product,))

    options = {"activation": identity, "gate_activation": identity}
    got, drive, product, params = step_of(seqjax.gru(1, **options), state)
    z, r = (drive + product)[:2]
    n = drive[2] + r * (product[2] + np.asarray(params.recurrent_bias)[0])
    assert_trees_close(got, ((1 - z) * h + z * n,))

    got, drive, product, params = step_of(seqjax.gru(1, reset_after=False, **options), state)
    z, r = (drive + product)[:2]
    n = drive[2] + (r * h) @ np.asarray(params.recurrent_kernel)[:, 2:]
    assert_trees_close(got, ((1 - z) * h + z * n,))

    state = seqjax.cells.LSTMState(jnp.asarray(h), jnp.asarray(c))
    got, drive, product, _ = step_of(seqjax.lstm(1, **options), state)
    i, f, g, o = drive + product
    memory = f * c + i * g
    assert_trees_close(got, (o * memory, memory))


def test_affine_accumulates_in_float32():
    """4,097 is no bfloat16: a sum of ones in that precision would stop at 256."""
    y = affine(jnp.ones((2, 4097), jnp.bfloat16), jnp.ones((4097, 1), jnp.bfloat16))
    assert y.dtype == jnp.float32
    np.testing.assert_array_equal(y, np.full((2, 1), 4097.0))


@pytest.mark.parametrize("batch", [(), (2,), (2, 0), (2, 3, 1)], ids=str)
def test_affine_keeps_batch_axes(batch):
    y = affine(jnp.ones((*batch, 3)), jnp.ones((3, 4)), jnp.full(4, 0.5))
    np.testing.assert_array_equal(y, np.full((*batch, 4), 3.5))


def test_registry_makes_every_cell_with_its_options():
    made = {name: str(seqjax.make_cell(name, 5)) for name in CELLS}
    assert made == {name: f"{name}(5)" for name in CELLS} | {"rnn": "elman(5)"}
    assert str(seqjax.make_cell("gru", 5, reset_after=False)) == "gru_reset_before(5)"
