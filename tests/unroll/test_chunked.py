"""Cells with a matrix as memory, some steps at a time: the outputs of the plain scan."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import (
    BATCH,
    BY_NAME,
    ROWS,
    assert_trees_close,
    loss,
    problem,
    random_params,
    random_state,
)

import seqjax
from seqjax.executors import Chunked, Scan, Sequential, choose

MATRIX = tuple(row.name for row in ROWS if Chunked().refusal(row.cell) is None)
ALIKE = {"gla": "mamba2", "gated_delta_net": "delta_net"}  # by the products in their chunks


def marks(name, usual=True):
    return () if usual and name not in ALIKE else pytest.mark.extended


every_matrix_cell = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=marks(name)) for name in MATRIX]
)
each_in_a_direction = pytest.mark.parametrize(
    ("name", "reverse"),
    [
        # A direction is the same for every cell, so each takes one by default.
        pytest.param(name, reverse, marks=marks(name, reverse == index % 2))
        for index, name in enumerate(MATRIX)
        for reverse in (False, True)
    ],
)


def test_which_cells_run_in_chunks():
    assert MATRIX == ("mamba2", "gla", "mlstm", "delta_net", "gated_delta_net")
    assert {row.name for row in ROWS if choose(row.cell) == Chunked()} == set(MATRIX)


@each_in_a_direction
def test_outputs_final_state_and_gradients_are_those_of_the_scan(x64, name, reverse):
    """With lengths, a mask, resets inside chunks, a state carried in, and a last chunk of one."""
    cell, data = BY_NAME[name].cell, problem()
    params = random_params(cell)
    start = random_state(cell, params)
    given = {"lengths": data.lengths, "mask": data.mask, "resets": data.resets, "reverse": reverse}

    def results(executor):
        def total(params, xs, start):
            ys, final = seqjax.unroll(
                cell, params, xs, initial_state=start, executor=executor, **given
            )
            # A memory that holds nothing has the scale minus infinity.
            return loss(ys, jax.tree.map(lambda x: jnp.where(jnp.isfinite(x), x, 0), final)), (
                ys,
                final,
            )

        run = jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))
        return run(params, jnp.asarray(data.xs), start)

    assert_trees_close(results(Chunked(chunk_size=3)), results(Scan()))


@every_matrix_cell
def test_the_default_in_all_its_chunks(x64, name):
    """Sizes that nobody chose, no step at all, and two calls with the state carried over."""
    cell, data = BY_NAME[name].cell, problem(37, plain=True)
    params = random_params(cell)
    run = jax.jit(seqjax.unroll, static_argnums=0, static_argnames="executor")
    ys, final = run(cell, params, data.xs)
    assert_trees_close((ys, final), run(cell, params, data.xs, executor="scan"))
    first, state = run(cell, params, data.xs[:20])
    second, state = run(cell, params, data.xs[20:], initial_state=state)
    assert_trees_close((jnp.concatenate([first, second]), state), (ys, final))
    nothing, same = run(cell, params, data.xs[:0], initial_state=state)
    assert nothing.shape == (0, *ys.shape[1:])
    assert_trees_close(same, state)


@every_matrix_cell
def test_states_are_those_of_the_sequential_run(name):
    cell, data = BY_NAME[name].cell, problem(plain=True)
    params = random_params(cell, dtype=jnp.float32)
    xs = data.xs.astype(np.float32)
    run = jax.jit(
        functools.partial(seqjax.unroll, cell, return_states=True), static_argnames="executor"
    )
    assert_trees_close(run(params, xs), run(params, xs, executor=Sequential()), 1e-6, 1e-6)


@each_in_a_direction
def test_a_step_that_is_not_finite_spoils_later_steps_up_to_a_reset(x64, name, reverse):
    cell, data = BY_NAME[name].cell, problem(plain=True)
    params = random_params(cell)
    xs, resets = np.array(data.xs), np.zeros((7, BATCH), bool)
    xs[2, 0], resets[5] = np.nan, True
    if reverse:
        xs, resets = xs[::-1], resets[::-1]

    def total(xs, resets):
        ys, _ = seqjax.unroll(
            cell, params, xs, resets=resets, reverse=reverse, executor=Chunked(chunk_size=7)
        )
        return jnp.where(jnp.isfinite(ys), jnp.sin(ys), 0).sum(), ys

    run = jax.jit(jax.grad(total, has_aux=True))
    d_xs, ys = run(xs, resets)
    d_expected, expected = run(data.xs[::-1] if reverse else data.xs, resets)
    if reverse:
        d_xs, ys, d_expected, expected = (x[::-1] for x in (d_xs, ys, d_expected, expected))
    assert np.isnan(ys[2:5, 0]).all()
    for steps in (slice(0, 2), slice(5, 7)):
        assert_trees_close(ys[steps], expected[steps])
    assert_trees_close(ys[:, 1:], expected[:, 1:])
    assert_trees_close(d_xs[5:], d_expected[5:])


@every_matrix_cell
def test_long_chunks_and_extreme_decays_in_float32(name):
    """Some steps forget all, others nothing: no quotient of decays may overflow."""
    cell = BY_NAME[name].cell
    params = jax.tree.map(lambda leaf: 6 * leaf, random_params(cell, dtype=jnp.float32))
    xs = jax.random.normal(jax.random.key(3), (130, 2, 3))

    def results(executor):
        def total(params):
            ys, _ = seqjax.unroll(cell, params, xs, executor=executor)
            return jnp.tanh(ys).sum(), ys

        return jax.jit(jax.grad(total, has_aux=True))(params)

    (d_params, ys), (d_expected, expected) = results(Chunked(chunk_size=64)), results(Scan())
    scale = float(jnp.abs(expected).max())
    np.testing.assert_allclose(ys, expected, rtol=1e-4, atol=1e-5 * scale)
    for got, wanted in zip(*map(jax.tree.leaves, (d_params, d_expected)), strict=True):
        scale = float(jnp.abs(wanted).max())
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-3 * scale)


def test_second_derivatives(x64):
    cell, data = BY_NAME["mlstm"].cell, problem(plain=True)
    params = random_params(cell)

    def curvature(executor):
        def total(xs):
            return jnp.sin(seqjax.unroll(cell, params, xs, executor=executor)[0]).sum()

        xs = jnp.asarray(data.xs)
        return jax.jit(lambda xs: jax.jvp(jax.grad(total), (xs,), (jnp.cos(xs),)))(xs)

    assert_trees_close(curvature(Chunked(chunk_size=3)), curvature(Scan()), 1e-9, 1e-10)


def test_a_cell_with_a_step_of_its_own_runs_step_by_step():
    @dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
    class Doubled(seqjax.gla):
        def coefficients(self, params, xs):
            a, b = super().coefficients(params, xs)
            return a, 2 * b

    cell = Doubled(4)
    assert choose(cell) == Sequential()
    with pytest.raises(ValueError, match="Chunked cannot run"):
        seqjax.unroll(cell, cell.init(jax.random.key(0), 3), jnp.ones((5, 3)), executor=Chunked())
    residual = seqjax.transforms.residual(seqjax.gla(4))
    params, xs = residual.init(jax.random.key(0), 4), jnp.ones((7, 2, 4))
    run = jax.jit(functools.partial(seqjax.unroll, residual), static_argnames="executor")
    expected = run(params, xs, executor="scan")
    assert_trees_close(run(params, xs, executor="chunked"), expected, 1e-6)


@pytest.mark.parametrize("name", ["gla", "delta_net"])
def test_a_training_step_never_holds_all_states(name):
    steps, batch, size = 256, 4, 64
    cell = seqjax.make_cell(name, size)
    params = jax.eval_shape(lambda key: cell.init(key, size), jax.random.key(0))
    xs = jax.ShapeDtypeStruct((steps, batch, size), jnp.float32)

    def total(params, xs):
        return seqjax.unroll(cell, params, xs)[0].sum()

    found = jax.jit(jax.grad(total, (0, 1))).lower(params, xs).compile().memory_analysis()
    state = sum(leaf.size for leaf in jax.eval_shape(lambda p: cell.initial_state(p), params))
    assert found.temp_size_in_bytes < 4 * steps * batch * state


def test_a_chunk_must_have_steps():
    with pytest.raises(ValueError, match="`chunk_size` must be"):
        Chunked(chunk_size=0)
