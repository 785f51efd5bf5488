"""Singular values of products, spectra and Lyapunov exponents against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import (
    BY_NAME,
    HIDDEN,
    STEPS_APART,
    as_parameters,
    problem,
    random_params,
    random_state,
)
from linear_network import SIZE, LinearNetwork, non_normal_matrix, normal_matrix

import seqjax
from seqjax import gradflow
from seqjax.gradflow._singular import random_orthogonal

pytestmark = pytest.mark.usefixtures("x64")

singular_values = jax.jit(gradflow.product_singular_values, static_argnames=("lags", "method"))
step_jacobians = jax.jit(gradflow.step_jacobians, static_argnums=0)
lyapunov_exponents = jax.jit(
    gradflow.lyapunov_exponents, static_argnums=0, static_argnames=("transient", "every")
)


@pytest.mark.parametrize("size", [1, 3, 6])
def test_short_products(size):
    """Against the SVD of the product itself, at every lag, for a batch."""
    jacobians = np.random.default_rng(size).normal(size=(6, 2, size, size))
    got = singular_values(jacobians)
    for lag in range(1, 7):
        product = np.broadcast_to(np.eye(size), (2, size, size))
        for jacobian in jacobians[::-1][:lag]:
            product = product @ jacobian
        expected = np.log(np.linalg.svd(product, compute_uv=False))
        np.testing.assert_allclose(got[lag - 1], expected, atol=1e-10)


def test_normal_matrix():
    """Two of the singular values are equal, and all but the first are lost in the product."""
    values = np.array([0.9, 0.5, -0.5, 0.01])
    got = singular_values(np.stack([normal_matrix(values)] * 400), lags=(1, 10, 400))
    logs = np.sort(np.log(np.abs(values)))[::-1]
    np.testing.assert_allclose(got, np.array([[1], [10], [400]]) * logs, rtol=1e-9)


def test_non_normal_matrix():
    """`[[a, b], [0, a]]^k = a^k [[1, k b / a], [0, 1]]`: growth that no eigenvalue shows."""
    a, b = 0.02, 3.0
    lags = (1, 2, 50, 500)
    got = singular_values(np.stack([np.array([[a, b], [0, a]])] * 500), lags=lags)
    for log_sigma, k in zip(got, lags, strict=True):
        shear = k * b / a
        largest = np.arcsinh(shear / 2)  # of [[1, shear], [0, 1]], whose other is its inverse
        expected = k * np.log(a) + np.array([largest, -largest])
        np.testing.assert_allclose(log_sigma, expected, atol=1e-8)


def test_many_close_values():
    """A cluster of singular values ten thousandths apart, which plain QR would not tell apart."""
    values = 0.8 + 1e-4 * np.arange(5)
    got = singular_values(np.stack([normal_matrix(values)] * 60), lags=(60,))
    np.testing.assert_allclose(got[0], 60 * np.log(values[::-1]), atol=1e-10)


def test_of_a_cell():
    """An LSTM's products from its Jacobians, against the whole run differentiated at once."""
    row = BY_NAME["lstm"]
    params, xs = random_params(row.cell), jnp.asarray(problem().xs[:, :1])
    start = random_state(row.cell, params, (1,))
    logs = singular_values(step_jacobians(row.cell, params, xs, initial_state=start))

    def end(*start):
        final = seqjax.unroll(row.cell, params, xs, initial_state=type(first)(*start))[1]
        return jnp.concatenate(final, axis=-1)[0]

    first = start
    jacobian = jnp.concatenate(
        [leaf[:, 0] for leaf in jax.jit(jax.jacfwd(end, argnums=(0, 1)))(*start)], axis=-1
    )
    expected = np.log(np.linalg.svd(jacobian, compute_uv=False))
    np.testing.assert_allclose(logs[-1, 0], expected, atol=1e-9)


def test_qr_estimates():
    """Their sum is exact; the sums of the largest are bounded by the exact ones."""
    jacobians = np.random.default_rng(0).normal(size=(30, 5, 5))
    exact, estimate = singular_values(jacobians), singular_values(jacobians, method="qr")
    np.testing.assert_allclose(estimate.sum(1), exact.sum(1), atol=1e-10)
    assert (np.cumsum(estimate, 1) <= np.cumsum(exact, 1) + 1e-9).all()
    assert np.abs(estimate - exact)[-1].max() < 3


def test_dead_units():
    """A singular value of zero comes out tiny, and the others are not harmed."""
    rng = np.random.default_rng(1)
    kernel = rng.normal(size=(4, 4))
    jacobians = np.stack([np.diag([1.0, 1, 1, 0]) @ kernel] * 5)
    got = singular_values(jacobians, lags=(5,))[0]
    exact = np.linalg.svd(np.linalg.matrix_power(jacobians[0], 5), compute_uv=False)
    np.testing.assert_allclose(got[:3], np.log(exact[:3]), atol=1e-9)
    assert got[3] < -30
    assert np.isfinite(singular_values(jnp.zeros((3, 2, 2)), lags=(3,))).all()


@pytest.mark.parametrize("make", [normal_matrix, non_normal_matrix])
@pytest.mark.parametrize("every", [1, 7])
def test_lyapunov_of_linear_networks(make, every):
    values = np.array([1.1, -0.8, 0.5, 0.2])
    params, xs = {"R": jnp.asarray(make(values))}, np.zeros((500, 2, SIZE))
    exponents = jax.jit(
        lambda params: gradflow.lyapunov_exponents(
            LinearNetwork(), params, xs, transient=200, every=every
        )
    )(params)
    np.testing.assert_allclose(exponents, [np.log(np.abs(values))] * 2, atol=1e-6)


def test_lyapunov_of_a_memory():
    """An LSTM state of several fields: as many exponents as asked for, the largest first."""
    row = BY_NAME["lstm"]
    params, xs = random_params(row.cell), jnp.asarray(problem(steps=60).xs)
    find = jax.jit(
        lambda params, xs, num: gradflow.lyapunov_exponents(
            row.cell, params, xs, num_exponents=num
        ),
        static_argnums=2,
    )
    every, three = find(params, xs, 8), find(params, xs, 3)
    logs = singular_values(step_jacobians(row.cell, params, xs), lags=(60,))[0]
    # The volume of everything is det J, whatever the frame.
    np.testing.assert_allclose(every.sum(-1), logs.sum(-1) / 60, atol=1e-9)
    assert (np.diff(every) <= 0).all()
    assert three.shape == (5, 3)
    np.testing.assert_allclose(three[:, 0], every[:, 0], atol=0.1)


@pytest.mark.parametrize(
    "row", as_parameters(STEPS_APART, usual=("lstm_learned", "plain", "lru", "slstm", "mlstm"))
)
def test_lyapunov_equals_qr_of_jacobians(row):
    """Against QR decompositions in NumPy, as far down as rounding leaves digits.

    A state has as many exponents as real numbers: two a complex one, none a boolean.
    """
    params, xs = random_params(row.cell), jnp.asarray(problem(steps=12).xs[:, :2])
    start = random_state(row.cell, params, (2,))
    if row.cell.uses_starts:  # its first step would keep nothing
        start = start._replace(fresh=jnp.zeros(2, bool))
    jacobians = np.asarray(step_jacobians(row.cell, params, xs, initial_state=start))
    got = lyapunov_exponents(row.cell, params, xs, initial_state=start)
    size = jacobians.shape[-1]
    assert got.shape == (2, size)
    for example in range(2):
        frame = np.asarray(random_orthogonal(size, size, jnp.float64))
        logs = np.zeros(size)
        for jacobian in jacobians[:, example]:
            frame, factor = np.linalg.qr(jacobian @ frame)
            with np.errstate(divide="ignore"):
                logs += np.log(np.abs(np.diagonal(factor)))
        # The frame has nothing to go by in the directions that a singular Jacobian loses.
        rank = min(np.linalg.matrix_rank(jacobian) for jacobian in jacobians[:, example])
        expected = np.sort(logs[:rank] / 12)[::-1]
        expected = expected[expected > -3]
        assert len(expected) or row.name == "ind_rnn"  # all units may be off
        np.testing.assert_allclose(got[example, : len(expected)], expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("every", [1, 5])
def test_lyapunov_of_complex_decays(every):
    """The logarithm of |a| each twice, whatever the phase and the input."""
    radii = np.array([0.5, 0.9, 0.7])
    cell = seqjax.lru(4, state_size=3)
    params = random_params(cell) | {"decay_log": jnp.log(-jnp.log(radii))}
    xs = np.random.default_rng(0).normal(size=(400, 2, 3))
    exponents = lyapunov_exponents(cell, params, xs, transient=150, every=every)
    expected = np.log([0.9, 0.9, 0.7, 0.7, 0.5, 0.5])
    np.testing.assert_allclose(exponents, [expected] * 2, atol=1e-9)


def test_lyapunov_of_an_rg_lru():
    """The mean of `log a_t` by unit; the first step, which keeps nothing, is not counted."""
    cell = BY_NAME["rg_lru"].cell
    params, xs = random_params(cell), np.random.default_rng(0).normal(size=(300, 2, 3))
    exponents = lyapunov_exponents(cell, params, xs, transient=1)
    logs = np.log(gradflow.retention(cell, params, xs).hidden[1:]).mean(axis=0)
    # The frame starts along the axes: the zeros of the first step leave nothing of another.
    np.testing.assert_allclose(exponents, -np.sort(-logs, axis=-1), rtol=1e-9)
    # No exponent is finite with that step.
    assert (np.asarray(lyapunov_exponents(cell, params, xs)) == -np.inf).all()


def test_spectra():
    matrix = non_normal_matrix([0.9, -0.3, 0.2])
    np.testing.assert_allclose(gradflow.spectral_radius(np.stack([matrix, 2 * matrix])), [0.9, 1.8])
    stacked = np.stack([matrix, 0 * matrix, 1e-9 * matrix])
    powers = gradflow.spectral_radius(stacked, method="powers")
    np.testing.assert_allclose(powers, [0.9, 0, 0.9e-9], rtol=1e-3)
    sigma = gradflow.largest_singular_value(matrix)
    assert sigma == pytest.approx(np.linalg.norm(matrix, 2))
    cell = seqjax.lstm(8)
    spectra = gradflow.recurrent_spectra(cell, cell.init(jax.random.key(0), 3, jnp.float64))
    assert list(spectra) == list(cell.gates)
    for spectrum in spectra.values():  # each gate's block starts orthogonal
        np.testing.assert_allclose(spectrum, 1, rtol=1e-12)
    before = BY_NAME["gru_reset_before"].cell
    params = random_params(before)
    spectra = gradflow.recurrent_spectra(before, params)
    expected = np.abs(np.linalg.eigvals(params.recurrent_kernel[:, 8:])).max()
    assert spectra["candidate"].radius == pytest.approx(expected)


def test_spectra_of_the_kernel_that_a_step_multiplies_with():
    """`M - M^T - damping I` has imaginary eigenvalues but for the damping; `M` has not."""
    cell = seqjax.antisymmetric_rnn(HIDDEN, damping=0.5)
    params = random_params(cell)
    kernel = np.asarray(params.recurrent_kernel)
    turning = np.linalg.eigvals(kernel - kernel.T).imag
    spectrum = gradflow.recurrent_spectra(cell, params)["candidate"]
    assert spectrum.radius == pytest.approx(np.hypot(turning, 0.5).max())
    cell = seqjax.projected_lstm(2, memory_size=HIDDEN)
    params = random_params(cell)
    spectra = gradflow.recurrent_spectra(cell, params)
    expected = np.linalg.svd(params.extra["projection"] @ params.recurrent_kernel[:, :HIDDEN])[1]
    assert spectra["input"].sigma == pytest.approx(expected.max())


@pytest.mark.parametrize("method", ["eigenvalues", "powers"])
def test_spectra_with_heads(method):
    """Of a block-diagonal matrix: the largest of its heads."""
    cell = BY_NAME["slstm"].cell
    params = random_params(cell)
    spectra = gradflow.recurrent_spectra(cell, params, method=method)
    assert list(spectra) == list(cell.gates)
    for number, spectrum in enumerate(spectra.values()):
        blocks = np.asarray(params.recurrent_kernel)[:, :, 2 * number : 2 * number + 2]
        radius = np.abs(np.linalg.eigvals(blocks)).max()
        assert spectrum.radius == pytest.approx(radius, rel=1e-3)
        sigma = np.linalg.svd(blocks, compute_uv=False).max()
        assert spectrum.sigma == pytest.approx(sigma)


def test_refuses():
    with pytest.raises(ValueError, match=r"must have shape \(T, \*B, N, N\), got \(3, 4\)"):
        gradflow.product_singular_values(jnp.ones((3, 4)))
    with pytest.raises(ValueError, match=r"between 1 and T = 3, got \[4\]"):
        gradflow.product_singular_values(jnp.ones((3, 2, 2)), lags=[1, 4])
    with pytest.raises(ValueError, match="'exact' or 'qr', got 'svd'"):
        gradflow.product_singular_values(jnp.ones((3, 2, 2)), method="svd")  # pyright: ignore
    with pytest.raises(ValueError, match="one of eigenvalues, powers, got 'qr'"):
        gradflow.spectral_radius(jnp.eye(2), method="qr")  # pyright: ignore
    with pytest.raises(ValueError, match=r"shape \(\.\.\., N, N\), got \(3, 6\)"):
        gradflow.spectral_radius(jnp.ones((3, 6)))
    cell, params, xs = LinearNetwork(), {"R": jnp.eye(SIZE)}, jnp.ones((5, SIZE))
    with pytest.raises(ValueError, match="have no `recurrent_kernel`"):
        gradflow.recurrent_spectra(cell, params)
    plain = BY_NAME["plain"].cell
    with pytest.raises(ValueError, match="declares no gates"):
        gradflow.recurrent_spectra(plain, random_params(plain))
    before = BY_NAME["gru_reset_before"].cell
    with pytest.raises(ValueError, match=r"\(4, 12\) must have H columns .*\('a', 'b'\)"):
        gradflow.recurrent_spectra(before, random_params(before), gates=("a", "b"))
    with pytest.raises(ValueError, match="got every=3 and transient=3"):
        gradflow.lyapunov_exponents(cell, params, xs, every=3, transient=3)
    with pytest.raises(ValueError, match=r"between 1 and the 4 numbers.* got 5"):
        gradflow.lyapunov_exponents(cell, params, xs, num_exponents=5)
