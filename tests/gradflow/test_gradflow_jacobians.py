"""Jacobians of one step: structured against autodiff, autodiff against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import (
    BY_NAME,
    HIDDEN,
    assert_trees_close,
    every_cell,
    every_step,
    problem,
    random_params,
    random_state,
)

from seqjax import gradflow

pytestmark = pytest.mark.usefixtures("x64")

jacobians = jax.jit(gradflow.step_jacobians, static_argnums=0, static_argnames="method")


@every_cell
def test_structured_equals_autodiff(row):
    params, xs = random_params(row.cell), jnp.asarray(problem().xs)
    start = random_state(row.cell, params)
    auto = jacobians(row.cell, params, xs, initial_state=start)
    autodiff = jacobians(row.cell, params, xs, initial_state=start, method="autodiff")
    assert auto.shape == (*xs.shape[:2], row.fields * HIDDEN, row.fields * HIDDEN)
    assert auto.dtype == jnp.float64
    assert_trees_close(auto, autodiff, rtol=1e-10, atol=1e-10)


@every_step
def test_equals_finite_differences_of_the_paper(row):
    """Against the NumPy step of the table, so that rows and columns cannot be exchanged."""
    params, xs = random_params(row.cell), problem().xs
    start = random_state(row.cell, params)
    got = np.asarray(jacobians(row.cell, params, jnp.asarray(xs), initial_state=start))
    params = jax.tree.map(np.asarray, params)
    state = np.stack([np.asarray(leaf)[0] for leaf in start])  # of the first example

    def step(vector, x):
        return np.concatenate(row.step(params, vector.reshape(row.fields, -1), x))

    eps = 1e-6
    vector = state.ravel()
    for t in range(2):
        expected = np.stack(
            [
                (step(vector + eps * e, xs[t, 0]) - step(vector - eps * e, xs[t, 0])) / (2 * eps)
                for e in np.eye(len(vector))
            ],
            axis=1,
        )
        np.testing.assert_allclose(got[t, 0], expected, atol=1e-8)
        vector = step(vector, xs[t, 0])


def test_batch_axes():
    """None, and two, against one."""
    row = BY_NAME["gru"]
    params, xs = random_params(row.cell), jnp.asarray(problem(batch=(6,)).xs)
    one = jacobians(row.cell, params, xs)
    two = jacobians(row.cell, params, xs.reshape(-1, 2, 3, xs.shape[-1]))
    none = jacobians(row.cell, params, xs[:, 4])
    assert_trees_close(two.reshape(one.shape), one)
    assert_trees_close(none, one[:, 4])


def test_refuses():
    cell = BY_NAME["plain"].cell
    params, xs = random_params(cell), problem().xs
    with pytest.raises(ValueError, match=r"needs a GatedCell or a LinearCell, got the plain Cell"):
        gradflow.step_jacobians(cell, params, xs, method="structured")
    with pytest.raises(ValueError, match="'structured' or 'autodiff', got 'fast'"):
        gradflow.step_jacobians(cell, params, xs, method="fast")  # pyright: ignore
    with pytest.raises(TypeError, match="`xs` must be floating, got int"):
        gradflow.step_jacobians(cell, params, jnp.ones((3, 2, 3), int))
    with pytest.raises(ValueError, match=r"shape \(T, \*B, D\) .* got \(3,\)"):
        gradflow.step_jacobians(cell, params, jnp.ones(3))
    with pytest.raises(ValueError, match="must have in_size = 3"):
        gradflow.step_jacobians(cell, params, jnp.ones((3, 2, 4)))
