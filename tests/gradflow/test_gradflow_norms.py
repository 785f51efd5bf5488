"""Gradients with respect to the states: closed forms, finite differences, padding, summaries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import (
    BATCH,
    BY_NAME,
    HIDDEN,
    KINDS,
    STEPS,
    as_parameters,
    assert_trees_close,
    problem,
    random_params,
    random_state,
)
from linear_network import SIZE, LinearNetwork, normal_matrix

import seqjax
from seqjax import gradflow

pytestmark = pytest.mark.usefixtures("x64")

WEIGHTS = np.random.default_rng(3).normal(size=(STEPS, BATCH, HIDDEN))


def loss(ys, final):
    """Sees every output and every field of the final state, none of them linearly."""
    return (WEIGHTS * jnp.sin(ys)).sum() + squares(final)


def squares(state):
    """The sum of the squares of every number of a state."""
    return sum((abs(leaf) ** 2).sum() for leaf in state if leaf.dtype != bool)


def test_closed_form():
    """`dL/dh_t = R^(T-t) w` for `L = <w, h_T>`, over three hundred steps."""
    values = np.array([0.9, -0.8, 0.5, 0.2])
    matrix, num_steps = normal_matrix(values), 300
    start, xs = np.array([1.0, -2.0, 0.5, 3.0]), np.ones((num_steps, 2, SIZE))
    norms = gradflow.state_gradient_norms(
        LinearNetwork(), {"R": jnp.asarray(matrix)}, xs, lambda ys, state: (ys[-1] @ start).sum()
    ).hidden
    coordinates = np.linalg.eigh(matrix)[1].T @ start
    values = np.linalg.eigvalsh(matrix)
    lags = np.arange(num_steps)[::-1]
    expected = np.sqrt(((np.abs(values) ** lags[:, None] * coordinates) ** 2).sum(1))
    np.testing.assert_allclose(norms, np.stack([expected] * 2, 1), rtol=1e-9)
    summary = gradflow.summarise_norms(norms[:100])
    assert summary.log_slope == pytest.approx(np.log(0.9), rel=1e-6)


ROWS = [*KINDS, *(BY_NAME[name] for name in ("user", "slstm", "matrix"))]


@pytest.mark.parametrize(
    "row", as_parameters(ROWS, usual=("lstm_learned", "plain", "lru", "rg_lru", "mlstm"))
)
def test_finite_differences(row):
    """Each field of the state moved by hand after a step in a loop over the NumPy step.

    The gradient of a complex field is `dL/dRe + i dL/dIm`. A boolean field has none.
    """
    params, xs = random_params(row.cell), problem().xs
    start = random_state(row.cell, params)
    got = norms_and_gradients(row.cell, params, jnp.asarray(xs), start)
    params = jax.tree.map(np.asarray, params)
    rng = np.random.default_rng(0)

    def total(at, field, direction):
        """The part of the loss that the first example makes."""
        state, value = [np.asarray(leaf)[0] for leaf in start], 0.0
        for t in range(STEPS):
            state = list(row.step(params, state, xs[t, 0]))
            if t == at:
                state[field] = state[field] + direction
            value += (WEIGHTS[t, 0] * np.sin(row.output(params, state, xs[t, 0]))).sum()
        return value + squares(state)

    for at in (0, STEPS // 2, STEPS - 1):
        for field, leaf in enumerate(start):
            if leaf.dtype == bool:
                assert got[0][field] is None
                assert got[1][field] is None
                continue
            d = rng.normal(size=leaf.shape[1:])
            if np.iscomplexobj(leaf):
                d = d + 1j * rng.normal(size=leaf.shape[1:])
            expected = (total(at, field, 1e-5 * d) - total(at, field, -1e-5 * d)) / 2e-5
            along = (got[1][field][at, 0] * np.conj(d)).sum().real
            assert along == pytest.approx(expected, rel=1e-6, abs=1e-8)
    for norm, gradient in zip(*map(jax.tree.leaves, got), strict=True):
        assert norm.dtype == np.float64
        flat = gradient.reshape(STEPS, BATCH, -1)
        np.testing.assert_allclose(norm, np.linalg.norm(flat, axis=-1), rtol=1e-12)


def test_closed_form_of_a_complex_decay():
    """`|dL/dh_t| = |a|^(T-t) |dL/dh_T|` for an LRU of one complex unit, whatever the phase."""
    cell, steps = seqjax.lru(1, state_size=1), 200
    params = random_params(cell, 1) | {"decay_log": jnp.log(jnp.full(1, -np.log(0.95)))}
    norms = gradflow.state_gradient_norms(
        cell, params, np.ones((steps, 2, 1)), lambda ys, state: ys[-1].sum()
    ).hidden
    last = np.linalg.norm(params["output_kernel"])
    expected = last * 0.95 ** np.arange(steps)[::-1]
    np.testing.assert_allclose(norms, np.stack([expected] * 2, 1), rtol=1e-9)
    assert gradflow.summarise_norms(norms).log_slope == pytest.approx(np.log(0.95), rel=1e-9)


def norms_and_gradients(cell, params, xs, start):
    def both(params, xs, start):
        options = {"initial_state": start}
        return (
            gradflow.state_gradient_norms(cell, params, xs, loss, **options),
            gradflow.state_gradients(cell, params, xs, loss, **options),
        )

    return jax.device_get(jax.jit(both)(params, xs, start))


def test_padding():
    """A short sequence has the gradients it has alone, and none after its end."""
    cell, xs = BY_NAME["lstm"].cell, problem().xs
    params = random_params(cell)
    lengths = jnp.array([STEPS, 3, 1, 5, 2])
    xs[3:, 1] = np.nan
    norms = jax.jit(
        lambda xs, lengths: gradflow.state_gradient_norms(
            cell, params, xs, lambda ys, state: (state.hidden**3).sum(), lengths=lengths
        )
    )(xs, lengths)
    alone = jax.jit(
        lambda xs: gradflow.state_gradient_norms(
            cell, params, xs, lambda ys, state: (ys[-1] ** 3).sum()
        )
    )(xs[:3, 1])
    assert_trees_close([leaf[:3, 1] for leaf in norms], alone)
    assert all((leaf[3:, 1] == 0).all() for leaf in norms)
    summary = gradflow.summarise_norms(norms.hidden, lengths)
    assert summary.median[0] == pytest.approx(
        np.median([norms.hidden[length - 1, b] for b, length in enumerate(lengths)])
    )
    assert summary.median[STEPS - 1] == norms.hidden[0, 0]
    assert np.isnan(summary.log_slope[2])
    assert np.isfinite(summary.log_slope[np.array([0, 1, 3, 4])]).all()


def test_small_gradients_do_not_underflow():
    """In float32 the squares of 1e-30 are zero, its norm is not."""
    with jax.enable_x64(False):
        cell, params = LinearNetwork(), {"R": 1e-3 * jnp.eye(SIZE)}
        norms = gradflow.state_gradient_norms(
            cell, params, jnp.ones((11, SIZE), jnp.float32), lambda ys, state: ys[-1, 0]
        )
        assert norms.hidden[0] == pytest.approx(1e-30, rel=1e-5)


def test_quartiles():
    norms = jnp.stack([jnp.array([1.0, 2, 3, 4, 5]), jnp.array([2.0, 2, 2, 2, 2])])
    summary = gradflow.summarise_norms(norms)
    assert summary.lag.tolist() == [0, 1]
    assert summary.median.tolist() == [2, 3]
    assert summary.lower_quartile.tolist() == [2, 2]
    assert summary.upper_quartile.tolist() == [2, 4]
    np.testing.assert_allclose(summary.log_slope, np.log(np.arange(1, 6) / 2))
    zero = gradflow.summarise_norms(jnp.array([[1.0], [0.0], [4.0]]))
    np.testing.assert_allclose(zero.log_slope, -np.log(2))  # lags 0 and 2, the zero left out


def test_refuses():
    cell = LinearNetwork()
    params, xs = {"R": jnp.eye(SIZE)}, jnp.ones((3, 2, SIZE))
    with pytest.raises(ValueError, match=r"state_gradients: the loss must be a scalar.*\(2, 4\)"):
        gradflow.state_gradients(cell, params, xs, lambda ys, state: ys[-1])
    with pytest.raises(ValueError, match=r"must have shape \(T, \*B\), got \(\)"):
        gradflow.summarise_norms(1.0)
    with pytest.raises(ValueError, match=r"must have shape \(\*B,\) = \(2,\), got \(3,\)"):
        gradflow.summarise_norms(jnp.ones((4, 2)), jnp.ones(3, int))
