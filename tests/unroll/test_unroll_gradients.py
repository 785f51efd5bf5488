"""Gradients: against finite differences in both modes, and against a plain `lax.scan`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import (
    HIDDEN,
    KINDS,
    assert_trees_close,
    both_directions,
    every_cell,
    every_kind,
    loss,
    problem,
    random_params,
    random_state,
    run_eagerly,
    values_and_gradients,
)
from jax import lax
from jax.test_util import check_grads

import seqjax

pytestmark = pytest.mark.usefixtures("x64")


@every_cell
def test_finite_differences(row):
    """Forward and reverse mode, with lengths, masks and resets, in chunks with a rest."""
    params, data = random_params(row.cell), problem(4, (3,))
    data = data._replace(lengths=np.array([4, 1, 3]))

    def outputs(params, xs, start):
        return run_eagerly(row, params, data._replace(xs=xs), start)[:2]

    arguments = (params, jnp.asarray(data.xs), random_state(row.cell, params, (3,)))
    check_grads(outputs, arguments, order=1, modes=("fwd", "rev"), atol=1e-6, rtol=1e-6)


@every_cell
def test_equals_a_plain_scan(row):
    """The compiled gradient, against autodiff of nothing but `project`, `step` and `output`."""
    cell, data = row.cell, problem(plain=True)
    params = random_params(cell)
    start = random_state(cell, params)

    def plain(params, xs, start):
        def step(state, x):
            state = cell.step(params, state, cell.project(params, x))
            return state, cell.output(state)

        final, ys = lax.scan(step, start, xs)
        return loss(ys, final)

    with jax.disable_jit():
        expected = jax.grad(plain, (0, 1, 2))(params, jnp.asarray(data.xs), start)
    assert_trees_close(values_and_gradients(row, params, data, start)[1], expected)
    # The passed state hides a learned one; all other parameters take part.
    of_params = expected[0]._replace(initial_state=None)
    assert all(np.abs(leaf).max() > 1e-6 for leaf in jax.tree.leaves((of_params, expected[1:])))


@every_kind
@both_directions
def test_chunks_are_equal(row, reverse):
    params, data = random_params(row.cell), problem()
    start = random_state(row.cell, params)

    def total(chunk_size):
        def of(params, xs, start):
            options = {"reverse": reverse, "chunk_size": chunk_size}
            return loss(*run_eagerly(row, params, data._replace(xs=xs), start, **options)[:2])

        return jax.grad(of, (0, 1, 2))(params, jnp.asarray(data.xs), start)

    expected = values_and_gradients(row, params, data, start, reverse=reverse)[1]
    for chunk_size in (1, 3, 100):
        assert_trees_close(total(chunk_size), expected)


def test_compiled_chunks_are_equal():
    """The nested loops and the rest, differentiated by the compiler's own scan."""
    row = KINDS[0]
    params, data = random_params(row.cell), problem()
    start = random_state(row.cell, params)
    expected = values_and_gradients(row, params, data, start)
    assert_trees_close(values_and_gradients(row, params, data, start, chunk_size=3), expected)


def test_learned_initial_state_gets_a_gradient():
    """From the start, and from every reset; none where another state was passed, without reset."""
    cell = seqjax.gru(HIDDEN, learned_initial_state=True)
    params, data = random_params(cell), problem(plain=True)

    def gradient(resets, start):
        def total(params):
            options = {"resets": resets, "initial_state": start}
            return loss(*seqjax.unroll(cell, params, data.xs, **options))

        with jax.disable_jit():
            return jax.grad(total)(params).initial_state.hidden

    passed = random_state(cell, params)
    at_reset = data.resets.copy()
    at_reset[2] = True
    assert (gradient(data.resets, passed) == 0).all()
    assert (np.abs(gradient(at_reset, passed)) > 1e-6).all()
    assert (np.abs(gradient(data.resets, None)) > 1e-6).all()


def test_second_derivatives():
    """A Hessian-vector product, as a curvature study needs it, against finite differences."""
    cell = seqjax.lstm(2)
    params = random_params(cell)
    xs = problem(3, (2,)).xs

    def total(params):
        with jax.disable_jit():
            return (seqjax.unroll(cell, params, xs, lengths=jnp.array([3, 1]))[0] ** 2).sum()

    check_grads(total, (params,), order=2, modes=("rev",), atol=1e-5, rtol=1e-5)


def test_rematerialisation():
    """`jax.checkpoint` around an unroll changes no gradient."""
    cell = seqjax.gru(HIDDEN)
    params, xs = random_params(cell), jnp.asarray(problem().xs)

    def total(params):
        return (seqjax.unroll(cell, params, xs)[0] ** 2).sum()

    with jax.disable_jit():
        expected = jax.grad(total)(params)
    assert_trees_close(jax.jit(jax.grad(jax.checkpoint(total)))(params), expected)
