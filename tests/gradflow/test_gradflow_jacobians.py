"""Jacobians of one step: structured against autodiff, autodiff against finite differences."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import (
    BY_NAME,
    STEPS_APART,
    as_parameters,
    assert_trees_close,
    every_step_in_sequence,
    problem,
    random_params,
    random_state,
)
from flat_states import as_state, as_vector

from seqjax import gradflow
from seqjax.cells import Cell, HiddenState

pytestmark = pytest.mark.usefixtures("x64")

jacobians = jax.jit(gradflow.step_jacobians, static_argnums=0, static_argnames="method")


@pytest.mark.parametrize(
    "row", as_parameters(STEPS_APART, usual=("lstm_learned", "user", "slstm", "lru", "s6"))
)
def test_structured_equals_autodiff(row):
    params, xs = random_params(row.cell), jnp.asarray(problem().xs)
    start = random_state(row.cell, params)
    auto = jacobians(row.cell, params, xs, initial_state=start)
    autodiff = jacobians(row.cell, params, xs, initial_state=start, method="autodiff")
    size = len(as_vector(leaf[0] for leaf in start))
    assert auto.shape == (*xs.shape[:2], size, size)
    assert auto.dtype == jnp.float64
    assert_trees_close(auto, autodiff, rtol=1e-10, atol=1e-10)


def test_a_cell_that_prepares_its_initial_state_away():
    """What `initial_state` reads may be missing from what `prepare` returns."""

    @dataclasses.dataclass(frozen=True, repr=False)
    class Learned(Cell):
        def initial_state(self, params, batch_shape=(), dtype=jnp.float32):
            return HiddenState(jnp.broadcast_to(params["start"].astype(dtype), (*batch_shape, 2)))

        def prepare(self, params):
            return jnp.exp(params["rate"])

        def step(self, params, state, drive):
            return HiddenState(params * state.hidden + drive)

        def init(self, key, in_size, dtype=jnp.float32):
            return {"start": jnp.ones(2, dtype), "rate": jnp.zeros((), dtype)}

    cell = Learned(2)
    params, xs = cell.init(None, 2, jnp.float64), jnp.ones((3, 2))
    np.testing.assert_allclose(gradflow.step_jacobians(cell, params, xs), [np.eye(2)] * 3)
    np.testing.assert_allclose(gradflow.lyapunov_exponents(cell, params, xs), [0, 0], atol=1e-12)


@every_step_in_sequence
def test_equals_finite_differences_of_the_paper(row):
    """Against the NumPy step of the table, so that rows and columns cannot be exchanged.

    Of a complex field the real parts, then the imaginary parts. The boolean `fresh` is no part of
    the Jacobian: the first step is taken from the one value it has, the second from the other.
    """
    params, xs = random_params(row.cell), problem().xs
    start = random_state(row.cell, params)
    got = np.asarray(jacobians(row.cell, params, jnp.asarray(xs), initial_state=start))
    params = jax.tree.map(np.asarray, params)
    state = [np.asarray(leaf)[0] for leaf in start]  # of the first example

    def step(vector, x):
        return as_vector(row.step(params, as_state(vector, state), x))

    eps = 1e-6
    for t in range(2):
        vector = as_vector(state)
        expected = np.stack(
            [
                (step(vector + eps * e, xs[t, 0]) - step(vector - eps * e, xs[t, 0])) / (2 * eps)
                for e in np.eye(len(vector))
            ],
            axis=1,
        )
        np.testing.assert_allclose(got[t, 0], expected, atol=1e-8)
        state = row.step(params, state, xs[t, 0])


def test_a_sequence_starts_once():
    """The first step of an RG-LRU keeps nothing of the state before it; the later ones do."""
    row = BY_NAME["rg_lru"]
    got = jacobians(row.cell, random_params(row.cell), jnp.asarray(problem().xs))
    diagonals = np.diagonal(got, axis1=2, axis2=3)
    assert (diagonals[0] == 0).all()
    assert ((diagonals[1:] > 0) & (diagonals[1:] < 1)).all()


def test_heads_do_not_see_each_other():
    """Nor does any field of one head see the hidden state of the other."""
    row = BY_NAME["slstm"]
    got = jacobians(row.cell, random_params(row.cell), jnp.asarray(problem().xs))
    fields = np.asarray(got).reshape(*got.shape[:2], 4, 2, 2, 4, 2, 2)  # field, head, unit, twice
    assert np.abs(fields[:, :, :, 0, :, 0, 0]).max() > 0.01
    for head in range(2):
        assert (fields[:, :, :, head, :, :, 1 - head] == 0).all()


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
    with pytest.raises(ValueError, match=r"a GatedCell with a pointwise `update`, got PlainCell"):
        gradflow.step_jacobians(cell, params, xs, method="structured")
    with pytest.raises(ValueError, match="one of auto, structured, autodiff, got 'fast'"):
        gradflow.step_jacobians(cell, params, xs, method="fast")  # pyright: ignore
    with pytest.raises(TypeError, match="`xs` must be floating, got int"):
        gradflow.step_jacobians(cell, params, jnp.ones((3, 2, 3), int))
    with pytest.raises(ValueError, match=r"shape \(T, \*B, D\) .* got \(3,\)"):
        gradflow.step_jacobians(cell, params, jnp.ones(3))
    with pytest.raises(ValueError, match="must have in_size = 3"):
        gradflow.step_jacobians(cell, params, jnp.ones((3, 2, 4)))
