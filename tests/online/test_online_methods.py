"""Online methods against back-propagation, automatic differentiation and NumPy, in float64."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import (
    BY_NAME,
    ROWS,
    STEPS,
    problem,
    random_params,
    random_state,
)
from jax import lax

import seqjax
from seqjax import online, transforms
from seqjax.cells import GatedCell
from seqjax.cells._wrapped import WrappedCell
from seqjax.online import _influence
from seqjax.online._step import Step, real_parts

pytestmark = pytest.mark.usefixtures("x64")

EXACT = 1e-12
EXTENDED = pytest.mark.extended
QUICK = ("lstm_learned", "gru", "ind_rnn", "lru")


def every_row():
    return pytest.mark.parametrize(
        "row",
        [pytest.param(row, id=row.id, marks=() if row.name in QUICK else EXTENDED) for row in ROWS],
    )


def assert_close(got, expected, tolerance=EXACT):
    """Compares trees, relative to the largest number of each leaf; NaN equals nothing."""
    got, expected = jax.tree.leaves(got), jax.tree.leaves(expected)
    for a, b in zip(got, expected, strict=True):
        if b.dtype != jax.dtypes.float0 and b.size:
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, np.abs(b).max()))


def weights(shape):
    return jnp.asarray(np.random.default_rng(5).normal(size=shape))


def gradients(cell, params, executor, data, initial_state=None, **options):
    """Gradients of parameters and initial state, of a loss of all outputs and the final state."""
    xs, lengths, mask, resets = (jnp.asarray(array) for array in data)

    def loss(params, state):
        steps = {"lengths": lengths, "mask": mask, "resets": resets} | options
        ys, final = seqjax.unroll(cell, params, xs, initial_state=state, executor=executor, **steps)
        ends = [leaf for leaf in jax.tree.leaves(final) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        return (weights(ys.shape) * ys).sum() + sum((0.3 * leaf.real).sum() for leaf in ends)

    return jax.device_get(
        jax.jit(jax.grad(loss, argnums=(0, 1), allow_int=True))(params, initial_state)
    )


@every_row()
def test_rtrl_is_back_propagation(row):
    """With lengths, masks and resets; the initial state has its gradient too."""
    params = random_params(row.cell)
    state = random_state(row.cell, params)
    found = gradients(row.cell, params, online.RTRL(), problem(), state)
    assert_close(found, gradients(row.cell, params, "scan", problem(), state))


@pytest.mark.extended
@pytest.mark.parametrize("name", ["lstm_learned", "rg_lru"])
def test_rtrl_backwards(name):
    cell = BY_NAME[name].cell
    params = random_params(cell)
    found, full = (
        gradients(cell, params, executor, problem(), reverse=True)[0]
        for executor in (online.RTRL(), "scan")
    )
    assert_close(found, full)


def step_of(name):
    cell = BY_NAME[name].cell
    params = cell.prepare(random_params(cell))
    state = random_state(cell, params, ())
    start = jnp.zeros((), bool) if cell.uses_starts else None
    return Step(cell, params, state, jnp.ones(3), start)


@pytest.mark.parametrize("name", ["ind_rnn", "unicornn", "lru", "rg_lru"])
def test_diagonal_cells_cost_no_more_than_their_parameters(name):
    """Each number of the state has a trace of the parameters that the step reads, and no more."""
    step = step_of(name)
    assert _influence.acts_by_unit(step.cell)
    (traces, _), size = online.RTRL().begin(step, None), _influence.components(step)
    read = [
        (trace, part)
        for trace, part in zip(traces, real_parts(step.params), strict=True)
        if trace is not None
    ]
    mixed = {"rg_lru": 1}.get(name, 0)  # its input kernel acts on all units, through the gates
    assert sum(trace.ndim - 1 > part.ndim for trace, part in read) == mixed
    assert sum(trace.size == size * part.size for trace, part in read) == len(read) - mixed


@pytest.mark.parametrize(
    ("name", "method"), [("lru", online.SnAp1()), ("ind_rnn", online.EProp())], ids=str
)
def test_local_methods_are_exact_if_the_jacobian_is_diagonal(name, method):
    cell = BY_NAME[name].cell
    params = random_params(cell)
    found, full = (gradients(cell, params, executor, problem())[0] for executor in (method, "scan"))
    assert_close(found, full)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Stopped(WrappedCell):
    """A gated cell without the gradient through `h R`."""

    def step(self, params, state, drive):
        assert isinstance(self.inner, GatedCell)
        inputs = self.inner.gate_inputs(params, lax.stop_gradient(state), drive)
        return self.inner.next_state(state, inputs)


EPROP = [
    pytest.param(row, id=row.id, marks=() if row.name in ("lstm_learned", "gru") else EXTENDED)
    for row in ROWS
    if isinstance(row.cell, GatedCell) and online.EProp().refusal(row.cell) is None
]


@pytest.mark.parametrize("row", EPROP)
def test_eprop_is_autodiff_without_the_recurrent_gradient(row):
    params = random_params(row.cell)
    stopped = Stopped(row.cell.hidden_size, inner=row.cell)
    found = gradients(row.cell, params, online.EProp(), problem())
    assert_close(found, gradients(stopped, params, "scan", problem()))


@pytest.mark.parametrize(
    "method", [online.RTRL(), pytest.param(online.EProp(), marks=EXTENDED)], ids=repr
)
def test_noise_is_that_of_the_run(method):
    """Zoneout and dropout of the state, drawn with the key of the run."""
    dropped = transforms.variational_dropout(BY_NAME["lstm"].cell, 0.3)
    cell = transforms.zoneout(dropped, {"hidden": 0.2, "cell": 0.4})
    params, key = random_params(cell), jax.random.key(0)
    reference = cell
    if isinstance(method, online.EProp):
        reference = Stopped(cell.hidden_size, inner=cell)
    found = gradients(cell, params, method, problem(), key=key)
    full = gradients(reference, params, "scan", problem(), key=key)
    assert_close(found, full)
    assert not np.allclose(found[0].bias, gradients(cell, params, method, problem())[0].bias)


@pytest.mark.extended
@pytest.mark.parametrize("method", [online.RTRL(), online.UORO()], ids=repr)
def test_half_precision(method):
    """Parameters and inputs in bfloat16: the trace is in float32, the gradient in their dtype."""
    cell = BY_NAME["gru"].cell
    params = random_params(cell, dtype=jnp.bfloat16)
    xs = jnp.asarray(problem().xs, jnp.bfloat16)
    key = jax.random.key(0) if method.needs_key else None
    state = method.init(cell, params, xs[0], key=key)
    assert {leaf.dtype for leaf in jax.tree.leaves((state.cell, state.trace))} == {
        jnp.dtype(jnp.float32)
    }

    def loss(params, executor):
        ys, _ = seqjax.unroll(
            cell, params, xs, executor=executor, key=key if executor is method else None
        )
        return ys.astype(jnp.float32).sum()

    gradient = jax.jit(jax.grad(loss), static_argnums=1)
    found, full = (gradient(params, executor) for executor in (method, "scan"))
    assert found.bias.dtype == jnp.bfloat16
    assert found.input_kernel.dtype == jnp.bfloat16
    if not method.needs_key:
        np.testing.assert_allclose(
            found.bias.astype(float), full.bias.astype(float), rtol=0.05, atol=0.2
        )


def dense_influence(cell, params, xs, keep):
    """`sum_t weights_t P_t` by its definition, with `keep(J)` in the place of each Jacobian."""
    state = cell.initial_state(params, (), jnp.float64)

    def vector(params, state, x):
        return jnp.concatenate(seqjax.step(cell, params, x, state)[1])

    influence = jax.tree.map(jnp.zeros_like, jax.jacobian(vector)(params, state, xs[0]))
    total = jax.tree.map(jnp.zeros_like, params)
    for x, weight in zip(xs, weights((len(xs), cell.hidden_size)), strict=True):
        own, of_state = jax.jacobian(vector, (0, 1))(params, state, x)
        kept = keep(jnp.concatenate(jax.tree.leaves(of_state), axis=1))
        influence = jax.tree.map(
            lambda new, old, kept=kept: new + jnp.tensordot(kept, old, 1), own, influence
        )
        total = jax.tree.map(
            lambda old, new, w=weight: old + jnp.tensordot(w, new[: len(w)], 1), total, influence
        )
        state = seqjax.step(cell, params, x, state)[1]
    return total


@pytest.mark.parametrize(
    "name", ["lstm", pytest.param("gru_reset_before", marks=pytest.mark.extended)]
)
def test_snap1_is_rtrl_with_the_diagonal(name):
    """Of an LSTM the Jacobian has a block for each unit; inner gates act on all units."""
    cell = BY_NAME[name].cell
    params, xs = random_params(cell), jnp.asarray(problem(4).xs[:, 0])
    fields = len(cell.initial_state(params))
    mask = np.tile(np.eye(cell.hidden_size), (fields, fields))
    expected = jax.jit(lambda params: dense_influence(cell, params, xs, lambda j: j * mask))(params)

    def loss(params):
        ys, _ = seqjax.unroll(cell, params, xs, executor=online.SnAp1())
        return (weights(ys.shape) * ys).sum()

    assert_close(jax.grad(loss)(params), expected)


def test_rflo_is_its_own_step():
    """The equations of the paper in NumPy; errors reach the units by fixed random weights."""
    rng = np.random.default_rng(3)
    cell = seqjax.leaky_rnn(4, time_constant=3.0)
    params = random_params(cell)
    xs, targets = rng.normal(size=(STEPS, 3)), rng.normal(size=(STEPS, 2))
    kernel, feedback = rng.normal(size=(2, 4, 2))
    weights_in, recurrent, bias = (np.asarray(leaf) for leaf in params[:3])
    a, h, traces = 1 / 3, np.zeros(4), [np.zeros((3, 4)), np.zeros((4, 4)), np.zeros((1, 4))]
    expected = [0.0, 0.0, 0.0]
    for x, target in zip(xs, targets, strict=True):
        slope = 1 - np.tanh(x @ weights_in + h @ recurrent + bias) ** 2
        before = (x, h, np.ones(1))
        traces = [
            (1 - a) * trace + a * np.outer(pre, slope)
            for trace, pre in zip(traces, before, strict=True)
        ]
        h = (1 - a) * h + a * np.tanh(x @ weights_in + h @ recurrent + bias)
        error = 2 * (h @ kernel - target)
        signal = feedback @ error
        expected = [total + trace * signal for total, trace in zip(expected, traces, strict=True)]

    def loss(y, target):
        answer = online.feedback_alignment(y, jnp.asarray(kernel), jnp.asarray(feedback))
        return ((answer - target) ** 2).sum()

    _, found, state = online.online_gradients(
        online.RFLO(), cell, params, jnp.asarray(xs), loss, jnp.asarray(targets)
    )
    assert_close(state.hidden, h)
    for got, wanted in zip(found[:3], expected, strict=True):
        assert_close(got, wanted.reshape(got.shape))


def test_uoro_is_unbiased():
    """Over 10,000 draws, the deviations are those of their standard error."""
    cell = seqjax.gru(2)
    params, xs = random_params(cell, 1), jnp.asarray(np.random.default_rng(4).normal(size=(4, 1)))

    def loss(params, executor, key=None):
        ys, _ = seqjax.unroll(cell, params, xs, executor=executor, key=key)
        return (weights(ys.shape) * ys).sum()

    full = jax.grad(loss)(params, "scan")
    keys = jax.random.split(jax.random.key(0), 10_000)
    draws = jax.jit(jax.vmap(lambda key: jax.grad(loss)(params, online.UORO(), key)))(keys)
    deviations = jax.tree.map(
        lambda draw, exact: (draw.mean(0) - exact) / (draw.std(0) / 100), draws, full
    )
    deviations = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(deviations)])
    assert len(deviations) == 26
    assert np.abs(deviations).max() < 4
    assert 0.3 < (deviations**2).mean() < 2.5


def squares(y, target):
    return ((y - target) ** 2).sum()


@pytest.mark.parametrize(
    "method", [online.SnAp1(), pytest.param(online.RTRL(), marks=EXTENDED)], ids=repr
)
def test_a_stream_is_a_sequence(method):
    """`online_gradients` equals the method as an executor: loss, gradients and final state."""
    cell = BY_NAME["lstm_learned"].cell
    params, data = random_params(cell), problem()
    xs, lengths, mask, resets = (jnp.asarray(array) for array in data)
    targets = weights((*xs.shape[:-1], cell.hidden_size))
    options = {"lengths": lengths, "mask": mask, "resets": resets}

    def loss(params):
        ys, final = seqjax.unroll(cell, params, xs, executor=method, **options)
        return squares(ys, targets), final

    (value, final), expected = jax.value_and_grad(loss, has_aux=True)(params)
    found = online.online_gradients(method, cell, params, xs, squares, targets, **options)
    assert_close(found, (value, expected, final))


def test_padding_is_not_read():
    """NaN in the padding changes no gradient."""
    cell, data = BY_NAME["gru"].cell, problem()
    params, xs = random_params(cell), jnp.asarray(data.xs)
    targets, valid = jnp.zeros((*xs.shape[:-1], 4)), jnp.asarray(data.valid)
    dirty = jnp.where(valid[..., None], xs, jnp.nan)
    clean, found = (
        online.online_gradients(
            online.UORO(), cell, params, each, squares, targets, mask=valid, key=jax.random.key(0)
        )
        for each in (xs, dirty)
    )
    assert_close(found, clean, 0)


def test_inputs_learn_from_the_errors_of_their_own_step():
    """So a layer below is trained, though not by its full gradient; the top layer is exact."""
    cell, params, xs = BY_NAME["gru"].cell, random_params(BY_NAME["gru"].cell), weights((4, 3))

    def own_steps(xs):
        total, state = 0.0, cell.initial_state(params, (), jnp.float64)
        for x, weight in zip(xs, weights((4, 4)), strict=True):
            y, state = seqjax.step(cell, params, x, lax.stop_gradient(state))
            total += weight @ y
        return total

    def by_executor(xs):
        return (weights((4, 4)) * seqjax.unroll(cell, params, xs, executor=online.RTRL())[0]).sum()

    def by_stream(xs):
        total, state = 0.0, online.RTRL().init(cell, params, xs[0])
        for x, weight in zip(xs, weights((4, 4)), strict=True):
            y, state = online.RTRL().update(cell, params, x, state)
            total += weight @ y
        return total

    expected = jax.jit(jax.grad(own_steps))(xs)
    for function in (by_executor, by_stream):
        assert_close(jax.jit(jax.grad(function))(xs), expected)


@pytest.mark.parametrize(
    "method", [online.SnAp1(), pytest.param(online.UORO(), marks=EXTENDED)], ids=repr
)
def test_memory_does_not_depend_on_the_number_of_steps(method):
    cell = BY_NAME["gru"].cell
    params = random_params(cell)

    def temporary(function, steps):
        xs = jax.ShapeDtypeStruct((steps, 2, 3), jnp.float64)
        return jax.jit(function).lower(xs).compile().memory_analysis().temp_size_in_bytes

    def stream(xs):
        key = jax.random.key(0) if method.needs_key else None
        loss = functools.partial(squares, target=0.0)
        return online.online_gradients(method, cell, params, xs, lambda y, _: loss(y), key=key)[1]

    def back_propagation(xs):
        return jax.grad(lambda p: squares(seqjax.unroll(cell, p, xs)[0], 0.0))(params)

    assert temporary(stream, 10_000) == temporary(stream, 100) > 0
    assert temporary(back_propagation, 10_000) > 50 * temporary(back_propagation, 100)
