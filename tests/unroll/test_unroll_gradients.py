"""Gradients: against finite differences in both modes, and against a plain `lax.scan`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import (
    BY_NAME,
    KINDS,
    assert_trees_close,
    every_backward_pass,
    few_kinds_in_sequence,
    loss,
    only_inexact,
    problem,
    random_params,
    random_state,
    run,
    values_and_gradients,
)
from jax import lax
from jax.test_util import check_jvp, check_vjp

import seqjax
from seqjax.cells._cell import advance

pytestmark = pytest.mark.usefixtures("x64")


@every_backward_pass
def test_finite_differences(row):
    """Forward and reverse mode, with lengths, masks and resets.

    `check_grads` in its two parts, so that the programs of the other suites serve here too.
    """
    params, data = random_params(row.cell), problem()
    arguments = (params, jnp.asarray(data.xs), random_state(row.cell, params))
    moving, whole = inexact_part(arguments)

    def of(moving):
        params, xs, start = whole(moving)
        return loss(*run(row, params, data._replace(xs=xs), start)[:2])

    def of_vjp(moving):
        params, xs, start = whole(moving)
        values, gradients = values_and_gradients(row, params, data._replace(xs=xs), start)
        leaves = jax.tree.leaves(gradients)
        return loss(*values[:2]), lambda ct: ([ct * leaf for leaf in leaves],)

    def of_jvp(primals, tangents):
        return jvp(row, problem_arrays(data), primals[0], tangents[0], arguments)

    check_vjp(of, of_vjp, (moving,), atol=1e-6, rtol=1e-6)
    check_jvp(of, of_jvp, (moving,), atol=1e-6, rtol=1e-6)


def inexact_part(tree):
    """The leaves that can be differentiated by, and a function that puts others back."""
    leaves, structure = jax.tree.flatten(tree)
    inexact = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]

    def whole(moving):
        moving = iter(moving)
        pairs = zip(leaves, inexact, strict=True)
        return structure.unflatten([next(moving) if is_in else leaf for leaf, is_in in pairs])

    return [leaf for leaf, is_in in zip(leaves, inexact, strict=True) if is_in], whole


@functools.partial(jax.jit, static_argnums=0)
def jvp(row, data, primals, tangents, arguments):
    _, whole = inexact_part(arguments)

    def of(moving):
        params, xs, start = whole(moving)
        return loss(*run(row, params, data._replace(xs=xs), start)[:2])

    return jax.jvp(of, (primals,), (tangents,))


def problem_arrays(data):
    return type(data)(*(jnp.asarray(array) for array in data))


@every_backward_pass
def test_equals_a_plain_scan(row):
    """Against autodiff of nothing but `project`, `step` and `output`."""
    cell, data = row.cell, problem(plain=True)
    params = random_params(cell)
    start = random_state(cell, params)

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1, 2), allow_int=True)
    def plain(params, xs, start):
        def step(state, x):
            y, state = advance(cell, params, x, state)
            return state, y

        final, ys = lax.scan(step, start, xs)
        return loss(ys, final)

    expected = tuple(only_inexact(tree) for tree in plain(params, data.xs, start))
    assert_trees_close(values_and_gradients(row, params, data, start)[1], expected)
    # The passed state hides a learned one; all other parameters take part.
    d_params, *others = expected
    if hasattr(d_params, "initial_state"):
        d_params = d_params._replace(initial_state=None)
    if row.unread:
        others[1] = others[1]._replace(**dict.fromkeys(row.unread))
    assert all(np.abs(leaf).max() > 1e-6 for leaf in jax.tree.leaves((d_params, others)))


@few_kinds_in_sequence
def test_chunks_are_equal(row):
    """One scan, against nested ones with a rest."""
    params, data = random_params(row.cell), problem()
    start = random_state(row.cell, params)
    expected = values_and_gradients(row, params, data, start)
    assert_trees_close(values_and_gradients(row, params, data, start, chunk_size=3), expected)


def test_chunks_are_equal_in_reverse():
    row, data = KINDS[0], problem()
    params = random_params(row.cell)
    start = random_state(row.cell, params)
    expected = values_and_gradients(row, params, data, start, reverse=True)
    options = {"reverse": True, "chunk_size": 3}
    assert_trees_close(values_and_gradients(row, params, data, start, **options), expected)


def test_learned_initial_state_gets_a_gradient():
    """From the start, and from every reset; none where another state was passed, without reset."""
    row, data = BY_NAME["lstm_learned"], problem(plain=True)
    params = random_params(row.cell)

    def gradient(data, start):
        return values_and_gradients(row, params, data, start)[1][0].initial_state

    passed = random_state(row.cell, params)
    assert all((leaf == 0).all() for leaf in gradient(data, passed))
    data.resets[2] = True
    assert all((np.abs(leaf) > 1e-6).all() for leaf in gradient(data, passed))

    @jax.jit
    @jax.grad
    def of_default(params):
        return loss(*seqjax.unroll(row.cell, params, data.xs))

    assert all((np.abs(leaf) > 1e-6).all() for leaf in of_default(params).initial_state)


def test_second_derivatives():
    """A Hessian-vector product, as a curvature study needs it, against finite differences."""
    row, data = BY_NAME["gru"], problem()
    params, direction = random_params(row.cell), random_params(row.cell, seed=1)
    start = random_state(row.cell, params)

    def gradient(params):
        return values_and_gradients(row, params, data, start)[1][0]

    def moved(by):
        return gradient(jax.tree.map(lambda leaf, d: leaf + by * d, params, direction))

    got = jax.jvp(gradient, (params,), (direction,))[1]
    eps = 1e-5
    expected = jax.tree.map(lambda a, b: (a - b) / (2 * eps), moved(eps), moved(-eps))
    assert_trees_close(got, expected, rtol=1e-5, atol=1e-6)


def test_rematerialisation():
    """`jax.checkpoint` around an unroll changes no gradient."""
    row, data = BY_NAME["gru"], problem()
    params = random_params(row.cell)
    start = random_state(row.cell, params)

    def total(params):
        return loss(*run(row, params, data, start)[:2])

    expected = values_and_gradients(row, params, data, start)[1][0]
    assert_trees_close(jax.jit(jax.grad(jax.checkpoint(total)))(params), expected)
