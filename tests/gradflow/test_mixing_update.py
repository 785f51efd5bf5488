"""Gated cells whose `update` mixes the units of a row, and does not say so."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import HIDDEN, IN, assert_trees_close, problem, random_params, random_state
from marks import with_usual

import seqjax
from seqjax import gradflow
from seqjax.cells import LSTMState
from seqjax.cells._diagonals import is_pointwise, update_diagonals
from seqjax.executors import Scan, Sequential
from seqjax.gradflow._singular import random_orthogonal

pytestmark = pytest.mark.usefixtures("x64")


def centred(x):
    return x - x.mean(axis=-1, keepdims=True)


def layer_norm(x):
    x = centred(x)
    return x / jnp.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5)


def centred_elman(state, hidden):
    return state._replace(hidden=jnp.tanh(centred(hidden)))


def normed_lstm(state, input, forget, candidate, output):
    """An LSTM with a layer norm of every gate and of the memory."""
    i, f, o = (jax.nn.sigmoid(layer_norm(gate)) for gate in (input, forget, output))
    cell = f * state.cell + i * jnp.tanh(layer_norm(candidate))
    return LSTMState(hidden=o * jnp.tanh(layer_norm(cell)), cell=cell)


def weakly_mixing(state, update, candidate):
    """One of its gates alone sees the mean, and that a little."""
    z = jax.nn.sigmoid(update - 0.1 * update.mean(axis=-1, keepdims=True))
    return state._replace(hidden=(1 - z) * state.hidden + z * jnp.tanh(candidate))


def plain_update(state, gate, candidate):
    z = jax.nn.sigmoid(gate)
    return state._replace(hidden=z * state.hidden + (1 - z) * jnp.tanh(candidate))


def normed_inner_state(state, gate):
    return layer_norm(state.hidden) * jax.nn.sigmoid(gate)


LSTM_GATES = ("input", "forget", "candidate", "output")
CELLS = {
    "centred": seqjax.gated_cell("centred", HIDDEN, gates=("hidden",), update=centred_elman),
    "layer_norm": seqjax.gated_cell(
        "layer_norm", HIDDEN, gates=LSTM_GATES, update=normed_lstm, state=LSTMState
    ),
    "heads": seqjax.gated_cell(
        "heads", HIDDEN, gates=LSTM_GATES, update=normed_lstm, state=LSTMState, heads=2
    ),
    "weakly": seqjax.gated_cell(
        "weakly", HIDDEN, gates=("update", "candidate"), update=weakly_mixing
    ),
    "inner_state": seqjax.gated_cell(
        "inner_state",
        HIDDEN,
        gates=("gate", "candidate"),
        inner_gates=("candidate",),
        inner_state=normed_inner_state,
        update=plain_update,
    ),
}
# What mixes only a little, and what mixes before the product, are the hardest to notice.
each = pytest.mark.parametrize(
    "name",
    with_usual(CELLS, ["weakly"]),
)


def setting(name):
    cell = CELLS[name]
    params = random_params(cell)
    return cell, params, jnp.asarray(problem().xs), random_state(cell, params)


def declared(cell):
    return dataclasses.replace(cell, rowwise=True)


@each
def test_jacobians_are_the_automatic_ones(name):
    """Against the run itself differentiated, from one state to the next."""
    cell, params, xs, start = setting(name)
    auto = gradflow.step_jacobians(cell, params, xs, initial_state=start)
    autodiff = gradflow.step_jacobians(cell, params, xs, initial_state=start, method="autodiff")
    assert_trees_close(auto, autodiff)

    def step(vector):
        fields = jnp.split(vector, len(start))
        after = seqjax.unroll(cell, params, xs[:1, 0], initial_state=cell.state(*fields))[1]
        return jnp.concatenate(after)

    vector = jnp.concatenate([leaf[0] for leaf in start])
    assert_trees_close(auto[0, 0], jax.jacrev(step)(vector), rtol=1e-9, atol=1e-11)
    diagonal = jnp.eye(len(vector))
    assert jnp.abs(auto[0, 0] * (1 - diagonal)).max() > 1e-3


@each
def test_what_needs_diagonals_refuses(name):
    cell, params, xs, start = setting(name)
    state = jax.tree.map(lambda leaf: leaf[0], start)
    drive = cell.project(params, xs[0, 0])
    for refused in (
        lambda: gradflow.retention(cell, params, xs),
        lambda: update_diagonals(cell, params, state, drive),
        lambda: gradflow.step_jacobians(cell, params, xs, method="structured"),
    ):
        with pytest.raises(ValueError, match="pointwise") as refusal:
            refused()
        assert "\n" not in str(refusal.value)
        assert repr(cell) in str(refusal.value)


@each
def test_lyapunov_exponents(name):
    """Against QR decompositions in NumPy of the automatic Jacobians."""
    cell, params, _, _ = setting(name)
    xs = jnp.asarray(problem(steps=200, batch=(1,)).xs[:, 0])
    exponents = gradflow.lyapunov_exponents(cell, params, xs, transient=50)
    jacobians = gradflow.step_jacobians(cell, params, xs, method="autodiff")
    size = jacobians.shape[-1]
    frame, logs = np.asarray(random_orthogonal(size, size, jnp.float64)), []
    for jacobian in np.asarray(jacobians):
        frame, factor = np.linalg.qr(jacobian @ frame)
        logs.append(np.log(np.abs(np.diagonal(factor))))
    expected = -np.sort(-np.mean(logs[50:], axis=0))
    # What a norm takes away is lost: such exponents are rounding.
    expected = expected[expected > -10]
    assert len(expected) >= 2
    np.testing.assert_allclose(exponents[: len(expected)], expected, rtol=1e-6)


@each
def test_declared_row_wise_is_the_same(name):
    cell, params, xs, start = setting(name)
    assert not is_pointwise(cell)
    own = declared(cell)
    assert not is_pointwise(own)
    for measure in (
        lambda cell: gradflow.step_jacobians(cell, params, xs, initial_state=start),
        lambda cell: gradflow.lyapunov_exponents(cell, params, xs, initial_state=start),
        lambda cell: seqjax.unroll(cell, params, xs, initial_state=start),
    ):
        assert_trees_close(measure(own), measure(cell))
    probed = gradflow.make_probe(own, xs)(params)
    assert probed == gradflow.make_probe(cell, xs)(params)
    assert not any(metric.startswith("time_scale") for metric in probed)
    with pytest.raises(ValueError, match="pointwise"):
        gradflow.retention(own, params, xs)


@pytest.mark.parametrize("declare", [False, True], ids=["undeclared", "declared"])
@each
def test_trains_alike_on_both_executors(name, declare):
    """Ten updates of gradient descent, with padding and resets."""
    cell, params, _, start = setting(name)
    cell = declared(cell) if declare else cell
    xs, lengths, mask, resets = map(jnp.asarray, problem())

    def train(executor):
        def loss(params):
            ys, final = seqjax.unroll(
                cell, params, xs, initial_state=start,
                lengths=lengths, mask=mask, resets=resets, executor=executor,
            )  # fmt: skip
            return (ys**2).sum() + sum(jnp.sin(leaf).sum() for leaf in final)

        def update(params, _):
            value, gradient = jax.value_and_grad(loss)(params)
            return jax.tree.map(lambda p, g: p - 0.02 * g, params, gradient), value

        return jax.jit(lambda params: jax.lax.scan(update, params, length=10))(params)

    plain = train(Scan())
    assert plain[1][-1] < plain[1][0]
    for residuals in ("gates", "states", "boundaries"):
        assert_trees_close(train(Sequential(residuals=residuals)), plain, rtol=1e-8, atol=1e-10)


def test_cells_of_the_library_are_found_to_be_pointwise():
    for make in (seqjax.elman, seqjax.lstm, seqjax.gru, seqjax.ind_rnn, seqjax.peephole_lstm):
        assert is_pointwise(make(HIDDEN))
        assert is_pointwise(make(1))
    assert is_pointwise(seqjax.slstm(HIDDEN, heads=2))
    assert random_params(CELLS["heads"]).input_kernel.shape[0] == IN
