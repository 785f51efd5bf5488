"""Newton's method: how it converges, what it certifies, and what it says if it does not."""

import dataclasses
import functools
import itertools
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import (
    BY_NAME,
    HIDDEN,
    IN,
    ROWS,
    PlainCell,
    assert_trees_close,
    assert_trees_equal,
    problem,
    random_params,
)
from marks import with_usual

import seqjax
from seqjax import executors
from seqjax.cells import Cell, HiddenState
from seqjax.executors import Newton, Scan, Sequential, newton_report

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import newton_cases

ACCEPTED = [row for row in ROWS if Newton().refusal(row.cell) is None]
report_of = jax.jit(newton_report, static_argnums=0, static_argnames=("executor", "reverse"))


def example(cell, steps, batch=2, *, scale=1.0, dtype=jnp.float64):
    params = random_params(cell, dtype=dtype)
    params = params._replace(recurrent_kernel=scale * params.recurrent_kernel)
    xs = np.random.default_rng(3).normal(size=(steps, batch, IN))
    return params, jnp.asarray(xs, dtype)


def chaotic(steps=64, units=16, dtype=jnp.float32):
    """An Elman network with a positive Lyapunov exponent, and faint inputs."""
    cell, rng = seqjax.elman(units), np.random.default_rng(1)
    kernel = 3.0 * rng.normal(size=(units, units)) / units**0.5
    params = cell.init(jax.random.key(0), IN)._replace(recurrent_kernel=jnp.asarray(kernel))
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    return cell, params, jnp.asarray(0.1 * rng.normal(size=(steps, 2, IN)), dtype)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row.name, marks=() if row.name == "gru" else pytest.mark.extended)
        for row in ACCEPTED
    ],
)
def test_a_long_sequence_takes_few_iterations(x64, row):
    params, xs = random_params(row.cell), jnp.asarray(problem(64, plain=True).xs)
    report = report_of(row.cell, params, xs)
    assert not report.fallback.any()
    assert report.iterations.max() <= 12
    # Equal to the last bit of many: as close as the sequential run is to itself.
    ys, _ = jax.jit(lambda params: seqjax.unroll(row.cell, params, xs, executor="newton"))(params)
    expected, _ = jax.jit(lambda params: seqjax.unroll(row.cell, params, xs))(params)
    assert_trees_close(ys, expected, 1e-10, 1e-10)


@pytest.mark.parametrize(
    "options",
    [{"jacobian": "diagonal"}, pytest.param({"damping": 0.1}, marks=pytest.mark.extended)],
    ids=str,
)
def test_an_inexact_jacobian_takes_more_iterations_to_the_same_result(x64, options):
    """The gradient stays exact: it does not see the Jacobian of the iteration."""
    cell, newton = seqjax.gru(HIDDEN), Newton(max_iterations=40, **options)
    params, xs = example(cell, 48, scale=0.5)

    def total(params, executor):
        return jnp.sin(seqjax.unroll(cell, params, xs, executor=executor)[0]).sum()

    gradient = jax.jit(jax.value_and_grad(total), static_argnums=1)
    assert_trees_close(gradient(params, newton), gradient(params, Scan()), 1e-9, 1e-9)
    report, exact = report_of(cell, params, xs, executor=newton), report_of(cell, params, xs)
    assert not report.fallback.any()
    assert (report.iterations > exact.iterations).all()


@pytest.mark.parametrize(
    ("max_iterations", "jacobian"),
    with_usual(itertools.product((16, 100), ("auto", "diagonal")), [(100, "auto")]),
)
def test_a_chaotic_cell_falls_back_and_says_so(max_iterations, jacobian):
    """Also with enough iterations to satisfy every step: errors are amplified nevertheless."""
    cell, params, xs = chaotic()
    assert seqjax.gradflow.lyapunov_exponents(cell, params, xs, num_exponents=1).min() > 0
    reports = []
    newton = Newton(jacobian=jacobian, max_iterations=max_iterations, report=reports.append)

    @jax.jit
    def run(params, xs, lengths):
        return seqjax.unroll(cell, params, xs, lengths=lengths, executor=newton)

    lengths = jnp.array([64, 3])
    got = run(params, xs, lengths)
    jax.effects_barrier()
    assert reports[0].fallback.tolist() == [True, False]
    assert (reports[0].iterations[0] == 16) == (max_iterations == 16)
    expected = jax.jit(lambda *args: seqjax.unroll(cell, args[0], args[1], lengths=args[2]))(
        params, xs, lengths
    )
    assert_trees_equal(got[0][:, 0], expected[0][:, 0])
    assert_trees_close(got, expected, 1e-5, 1e-5)


def test_states_that_are_not_finite_are_not_certified():
    """A maximum may drop a NaN, and then nothing would be above the tolerance."""
    cell, params, xs = chaotic(steps=128)
    newton = Newton(max_iterations=200)
    assert report_of(cell, params, xs, executor=newton).fallback.all()
    spoilt = jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), params)
    assert report_of(cell, spoilt, xs, executor=newton).fallback.all()


@pytest.mark.parametrize("name", ["gru", pytest.param("plain", marks=pytest.mark.extended)])
def test_forward_mode_and_second_derivatives(x64, name):
    cell, data = BY_NAME[name].cell, problem()
    params, direction = random_params(cell), random_params(cell, seed=1)
    masks = {"lengths": data.lengths, "mask": data.mask, "resets": data.resets}

    def derivatives(params, executor):
        def total(params):
            ys, final = seqjax.unroll(cell, params, data.xs, executor=executor, **masks)
            return jnp.sin(ys).sum() + final[0].sum()

        forward = jax.jvp(total, (params,), (direction,))
        return forward, jax.jvp(jax.grad(total), (params,), (direction,))

    compiled = jax.jit(derivatives, static_argnums=1)
    assert_trees_close(compiled(params, Newton()), compiled(params, Scan()), 1e-9, 1e-10)


def test_low_precision_products(x64):
    """States are in float32; products in bfloat16 round them, and the iteration still ends."""
    cell = seqjax.gru(HIDDEN)
    params, xs = example(cell, 24, dtype=jnp.float32)

    @functools.partial(jax.jit, static_argnums=0)
    def run(executor):
        return seqjax.unroll(cell, params, xs, dtype=jnp.bfloat16, executor=executor)

    got, expected = run(Newton()), run(Sequential())
    assert got[1].hidden.dtype == jnp.float32
    assert_trees_close(*(jax.tree.map(np.float32, tree) for tree in (got, expected)), 0.02, 0.02)


@dataclasses.dataclass(frozen=True, repr=False)
class Counting(Cell):
    """A cell with an integer in its state."""

    def init(self, key, in_size, dtype=jnp.float32):
        return ()

    def initial_state(self, params, batch_shape=(), dtype=jnp.float32):
        return HiddenState(jnp.zeros((*batch_shape, self.hidden_size), int))

    def step(self, params, state, drive):
        return HiddenState(state.hidden + 1)


@pytest.mark.parametrize(
    ("cell", "newton", "message"),
    [
        (seqjax.lru(4), Newton(), "linear in its state, so Associative runs it"),
        (seqjax.mlstm(4), Newton(), "linear in its state"),
        (PlainCell(4), Newton(jacobian="diagonal"), "needs a GatedCell with a pointwise `update`"),
        (seqjax.layer_norm_gru(4), Newton(jacobian="diagonal"), "a pointwise `update`; use 'auto'"),
        (seqjax.layer_norm_gru(80), Newton(), r"80 x 80 numbers a step.*Use Sequential\(\)"),
        (Counting(4), Newton(), r"its state must be real or complex, got int\d+\."),
    ],
    ids=str,
)
def test_what_it_cannot_run_is_refused_in_one_line(cell, newton, message):
    params = cell.init(jax.random.key(0), IN)
    with pytest.raises(ValueError, match=f"^seqjax.unroll: the executor Newton.*{message}") as info:
        seqjax.unroll(cell, params, jnp.ones((5, IN)), executor=newton)
    assert "\n" not in str(info.value)


def test_blocks_follow_from_the_cell():
    """A wide dense cell is run with its diagonal; without a product, the diagonal is exact."""

    def of(cell, **options):
        fields = len(cell.state._fields)
        found = Newton(**options)._blocks(cell, fields * cell.hidden_size)
        return found.groups, found.fields, found.exact

    small, wide = seqjax.elman(8), seqjax.elman(80)
    assert of(small) == (1, 1, True)
    assert of(wide) == (80, 1, False)
    assert of(wide, jacobian="dense") == (1, 1, True)
    assert of(seqjax.slstm(32, heads=8)) == (8, 4, True)
    assert of(seqjax.slstm(32, heads=8), jacobian="diagonal") == (32, 4, False)
    independent = seqjax.ind_rnn(80)
    assert of(independent) == of(independent, jacobian="diagonal") == (80, 1, True)


def test_advice():
    cell, params, xs = chaotic(steps=32, units=8)
    text = executors.advise(cell, params, xs)
    lines = text.splitlines()
    assert lines[0] == "elman(8): 32 steps of 2 sequences, forward pass on cpu"
    assert "largest Lyapunov exponent, measured: +" in lines[1]
    assert "measured: 16 of at most 16; 2 of 2 sequences fell back" in lines[2]
    assert lines[-1] == "Newton, predicted: cannot pay, sequences fell back"
    assert "associative refused: it needs a LinearCell" in text


@pytest.mark.parametrize(
    "name", ["rnn auto", pytest.param("rnn diagonal", marks=pytest.mark.extended)]
)
def test_random_cases_are_not_wrong_and_silent(name):
    """A few of the 10,000 cases of the script."""
    (variant,) = (each for each in newton_cases.variants() if each.name == name)
    counts = newton_cases.check(variant, calls=6, seed=0)
    assert counts["wrong and silent"] == 0
    assert 0 < counts["fell back"] < counts["cases"]


@pytest.mark.slow
def test_many_random_cases_are_not_wrong_and_silent():
    for variant in newton_cases.variants():
        assert newton_cases.check(variant, calls=6, seed=7)["wrong and silent"] == 0
