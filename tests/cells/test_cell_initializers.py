"""What the parameters are before training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import ROWS, every_form

import seqjax
from seqjax.cells import GatedCell
from seqjax.cells._initializers import glorot_uniform, orthogonal

GATED = [row for row in ROWS if isinstance(row.cell, GatedCell)]
USUAL = [row for row in GATED if type(row.cell).init is GatedCell.init]
ORTHOGONAL = [r for r in USUAL if r.cell.heads == 1 and r.cell.recurrent_init is orthogonal]
GLOROT = [row for row in USUAL if row.cell.kernel_init is glorot_uniform]
KEY = jax.random.key(7)
ZEROS = jax.nn.initializers.zeros  # in place of an orthogonal kernel of hundreds of units
SIZE = 16


@pytest.mark.parametrize("row", ORTHOGONAL, ids=lambda row: row.name)
def test_recurrent_blocks_are_orthogonal_each_by_itself(row):
    kernel = np.asarray(row.make(SIZE).init(KEY, 3).recurrent_kernel, np.float64)
    blocks = np.split(kernel, kernel.shape[1] // SIZE, axis=1)
    for block in blocks:
        np.testing.assert_allclose(block.T @ block, np.eye(SIZE), atol=1e-5)
    for a, b in zip(blocks[1:], blocks, strict=False):
        assert np.abs(a - b).max() > 0.1


@pytest.mark.parametrize("row", GLOROT, ids=lambda row: row.name)
def test_input_blocks_are_glorot_each_by_itself(row):
    """Bounded by sqrt(6 / (D + H)), not by the narrower sqrt(6 / (D + gates * H))."""
    kernel = np.asarray(row.make(SIZE).init(KEY, 8).input_kernel)
    bound = np.sqrt(6 / (8 + SIZE))
    for block in np.split(kernel, kernel.shape[1] // SIZE, axis=1):
        assert 0.9 * bound < np.abs(block).max() <= bound


@every_form
def test_init_is_a_function_of_its_key(row):
    cell = row.make(SIZE)
    first, again = cell.init(KEY, 3), cell.init(KEY, 3)
    other = cell.init(jax.random.key(8), 3)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(other), strict=True)
    assert max(np.abs(a - b).max() for a, b in pairs) > 0.1


@pytest.mark.parametrize("forget_bias", [1.0, 0.0, 2.5])
def test_lstm_forget_bias(forget_bias):
    bias = seqjax.lstm(3, forget_bias=forget_bias).init(KEY, 2).bias
    i, f, g, o = np.split(np.asarray(bias), 4)
    np.testing.assert_array_equal(f, np.full(3, forget_bias))
    np.testing.assert_array_equal(np.concatenate([i, g, o]), np.zeros(9))


def test_lstm_forget_bias_is_one_by_default():
    bias = np.asarray(seqjax.lstm(2).init(KEY, 2).bias)
    np.testing.assert_array_equal(bias, [0, 0, 1, 1, 0, 0, 0, 0])


def test_lstm_chrono():
    """Forget biases cover log 1 ... log(T - 1); the input gate mirrors the same draw."""
    bias = seqjax.lstm(500, max_timescale=100.0, recurrent_init=ZEROS).init(KEY, 2).bias
    i, f, g, o = np.split(np.asarray(bias), 4)
    np.testing.assert_array_equal(i, -f)
    assert f.min() >= 0
    assert f.max() <= np.log(99) + 1e-6
    # exp(f) is uniform on (1, 99): its mean is 50 within five standard errors.
    assert abs(np.exp(f).mean() - 50) < 5 * 98 / np.sqrt(12 * 500)
    np.testing.assert_array_equal(np.concatenate([g, o]), np.zeros(1000))


def test_gru_and_min_gru_chrono_start_by_keeping():
    for cell, gates in [
        (seqjax.gru(300, max_timescale=20.0, recurrent_init=ZEROS), 3),
        (seqjax.gru(300, max_timescale=20.0, recurrent_init=ZEROS, reset_after=False), 3),
        (seqjax.min_gru(300, max_timescale=20.0), 2),
    ]:
        z, *others = np.split(np.asarray(cell.init(KEY, 2).bias), gates)
        assert z.max() <= 0
        assert z.min() >= -np.log(19) - 1e-6
        assert z.min() < -2
        np.testing.assert_array_equal(np.concatenate(others), np.zeros(300 * (gates - 1)))


def test_chrono_draws_a_shape_and_a_dtype():
    bias = seqjax.chrono(10.0, sign=-1.0)(KEY, (4, 2), jnp.bfloat16)
    assert bias.shape == (4, 2)
    assert bias.dtype == jnp.bfloat16
    assert (bias <= 0).all()


@pytest.mark.parametrize(
    "make",
    [
        seqjax.elman,
        seqjax.lstm,
        seqjax.gru,
        functools.partial(seqjax.gru, reset_after=False),
    ],
    ids=["elman", "lstm", "gru", "gru_reset_before"],
)
def test_initialisers_can_be_replaced(make):
    constant = jax.nn.initializers.constant
    params = make(2, kernel_init=constant(2.0), recurrent_init=constant(3.0)).init(KEY, 3)
    assert (params.input_kernel == 2).all()
    assert (params.recurrent_kernel == 3).all()


def test_remaining_initialisers_can_be_replaced():
    constant = jax.nn.initializers.constant
    assert (seqjax.elman(2, bias_init=constant(4.0)).init(KEY, 3).bias == 4).all()
    assert (seqjax.min_gru(2, kernel_init=constant(5.0)).init(KEY, 3).input_kernel == 5).all()


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "min_gru"])
def test_learned_initial_state_starts_at_zero(name):
    params = seqjax.make_cell(name, 2, learned_initial_state=True).init(KEY, 3)
    assert params.initial_state is not None
    assert all((leaf == 0).all() for leaf in params.initial_state)
    assert seqjax.make_cell(name, 2).init(KEY, 3).initial_state is None


def test_gru_recurrent_bias_only_with_reset_after():
    assert (seqjax.gru(2).init(KEY, 3).recurrent_bias == jnp.zeros(2)).all()
    assert seqjax.gru(2, reset_after=False).init(KEY, 3).recurrent_bias is None


@every_form
def test_low_precision_parameters_can_be_made(row):
    """An orthogonal matrix has no bfloat16 decomposition: it is drawn wider and rounded."""
    params = row.cell.init(KEY, 3, jnp.bfloat16)
    exact = row.cell.init(KEY, 3)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} - {jnp.dtype("int32")} == {
        jnp.dtype("bfloat16")
    }
    kernel = getattr(exact, "recurrent_kernel", None)
    if kernel is not None:
        np.testing.assert_array_equal(params.recurrent_kernel, kernel.astype(jnp.bfloat16))


def test_rings_of_decays():
    """The squares of the radii are uniform between those asked for, the phases below theirs."""
    params = seqjax.lru(2, state_size=4000, min_radius=0.6, max_radius=0.9, max_phase=1.0).init(
        KEY, 2
    )
    radius = np.exp(-np.exp(params["decay_log"]))
    assert radius.min() >= 0.6 - 1e-4
    assert radius.max() <= 0.9 + 1e-4
    middle = (0.6**2 + 0.9**2) / 2  # within five standard errors
    assert abs((radius**2).mean() - middle) < 5 * (0.9**2 - 0.6**2) / np.sqrt(12 * 4000)
    phase = np.exp(params["phase_log"])
    assert 0 <= phase.min() < 0.01
    assert 0.99 < phase.max() <= 1
    np.testing.assert_allclose(np.exp(params["scale_log"]), np.sqrt(1 - radius**2), rtol=1e-4)

    params = seqjax.rg_lru(4000, heads=4000, min_radius=0.6, max_radius=0.9).init(KEY, 2)
    radius = np.exp(-np.log1p(np.exp(np.asarray(params["decay"], np.float64))))
    assert abs((radius**2).mean() - middle) < 5 * (0.9**2 - 0.6**2) / np.sqrt(12 * 4000)
    assert "input_kernel" not in seqjax.rg_lru(4).init(KEY, 4)  # as published


def test_ind_rnn_recurrent_numbers():
    assert seqjax.ind_rnn(500).init(KEY, 2).units["recurrent"].min() >= 0
    bounded = seqjax.ind_rnn(500, max_timescale=4.0).init(KEY, 2).units["recurrent"]
    assert 1.1 < bounded.max() <= 2**0.25


def test_ind_rnn_clips_what_would_explode():
    cell = seqjax.ind_rnn(1, max_timescale=10.0)
    params = cell.init(KEY, 1)
    params = params._replace(units={"recurrent": jnp.array([5.0])})
    start = seqjax.cells.HiddenState(jnp.ones(1))
    _, state = seqjax.unroll(cell, params, jnp.zeros((10, 1)), initial_state=start)
    np.testing.assert_allclose(state.hidden, 2.0, rtol=1e-5)


def test_slstm_forget_biases():
    bias = seqjax.slstm(6, heads=2, block_ratio=0.5).init(KEY, 2).bias.reshape(4, 6)
    place = np.array([0, 0.5, 1])
    np.testing.assert_allclose(bias[1], np.tile(5 - 12 * place**0.95, 2), rtol=1e-5)
    assert (np.delete(np.asarray(bias), 1, axis=0) == 0).all()


def moments(leaf):
    """Standard deviation, and the largest magnitude in units of it: 1.73 for a uniform draw."""
    leaf = np.asarray(leaf, np.float64)
    assert abs(leaf.mean()) < 5 * leaf.std() / np.sqrt(leaf.size)
    return leaf.std(), np.abs(leaf).max() / leaf.std()


def test_projected_lstm_kernels():
    """The rows of `R` stay orthonormal when there are fewer of them than columns."""
    params = seqjax.projected_lstm(3).init(KEY, 2)
    assert params.extra["projection"].shape == (12, 3)
    for block in np.split(np.asarray(params.recurrent_kernel, np.float64), 4, axis=1):
        np.testing.assert_allclose(block @ block.T, np.eye(3), atol=1e-5)
    np.testing.assert_array_equal(params.bias[12:24], np.ones(12))


def test_layer_norm_gains_and_forget_bias():
    units = seqjax.layer_norm_lstm(2, forget_bias=3.0).init(KEY, 2).units
    assert units["gate_bias"].tolist() == [0, 0, 3, 3, 0, 0, 0, 0]
    assert (units["input_gain"] == 1).all()
    assert (units["recurrent_gain"] == 1).all()
    assert (units["memory_gain"] == 1).all()
    assert (units["memory_shift"] == 0).all()


def test_antisymmetric_kernels():
    """The paper's normal draws; the kernel that a step multiplies with is skew but for damping."""
    cell = seqjax.antisymmetric_rnn(200, recurrent_scale=3.0, damping=0.25, gated=True)
    params = cell.init(KEY, 50)
    assert moments(params.input_kernel)[0] == pytest.approx(50**-0.5, rel=0.05)
    assert moments(params.recurrent_kernel)[0] == pytest.approx(3 * 200**-0.5, rel=0.05)
    gate, candidate = np.split(np.asarray(cell.prepare(params).recurrent_kernel), 2, axis=1)
    np.testing.assert_array_equal(gate, candidate)
    np.testing.assert_allclose(gate + gate.T, -0.5 * np.eye(200), atol=1e-6)


def test_leaky_rnn_starts_at_its_time_constant():
    leak = seqjax.leaky_rnn(3, time_constant=20.0, learned=True).init(KEY, 2).units["leak"]
    np.testing.assert_allclose(1 + np.exp(-leak), 20.0, rtol=1e-5)


def test_fast_grnn_starts_as_published():
    params = seqjax.fast_grnn(200).init(KEY, 50)
    assert moments(params.input_kernel)[0] == pytest.approx(0.1, rel=0.05)
    assert moments(params.recurrent_kernel)[0] == pytest.approx(0.1, rel=0.05)
    assert {name: float(unit.mean()) for name, unit in params.units.items()} == {
        "gate_bias": 1.0,
        "candidate_bias": 1.0,
        "zeta": 1.0,
        "nu": -4.0,
    }


def test_sru_starts_as_published():
    cell = seqjax.sru(200, highway_bias=-2.0)
    params = cell.init(KEY, 200)
    kernels = np.split(np.asarray(params.input_kernel), 3, axis=1)
    for kernel, variance in zip(kernels, (1, 0.5, 0.5), strict=True):
        assert kernel.var() * 200 == pytest.approx(variance, rel=0.02)
    for name, value in (("forget", 0), ("reset", -2)):
        assert (params.units[f"{name}_bias"] == value).all()
        assert params.units[f"{name}_weight"].var() == pytest.approx(0.5, rel=0.2)
    assert params.extra is None  # as published, the input itself passes
    zero = jax.tree.map(jnp.zeros_like, params)
    ys, _ = seqjax.unroll(cell, zero, jnp.ones((1, 200)))
    np.testing.assert_allclose(ys, 0.5 * np.sqrt(1 + 2 * np.exp(-2.0)), rtol=1e-6)
    mapped = cell.init(KEY, 100).extra["skip_kernel"]
    assert mapped.var() * 100 == pytest.approx(1 + 2 * np.exp(-2.0), rel=0.02)


@pytest.mark.parametrize("make", [seqjax.para_gru, seqjax.para_lstm])
def test_cells_of_pararnn_start_as_published(make):
    params = make(200).init(KEY, 50)
    for weight in params.units.values():
        assert moments(weight)[0] == pytest.approx(2 / 1000**0.5, rel=0.15)
    np.testing.assert_allclose(params.bias[:200], -np.linspace(0, 1, 200), atol=1e-6)
    assert (params.bias[200:] == 0).all()


def test_fast_rnn_starts_as_published():
    params = seqjax.fast_rnn(200).init(KEY, 50)
    assert moments(params.input_kernel)[0] == pytest.approx(0.1, rel=0.05)
    assert moments(params.recurrent_kernel)[0] == pytest.approx(0.1, rel=0.05)
    assert {name: unit.tolist() for name, unit in params.units.items()} == {
        "alpha": [-3.0],
        "beta": [3.0],
    }
    assert (params.bias == 1).all()


def test_ltc_starts_as_published():
    cell = seqjax.ltc(100)
    params = cell.prepare(cell.init(KEY, 50))
    ranges = {"capacity": (0.4, 0.6), "leak": (0.001, 1), "leak_potential": (-0.2, 0.2)}
    for kind in ("", "input_"):
        ranges |= {f"{kind}weight": (0.001, 1), f"{kind}slope": (3, 8), f"{kind}centre": (0.3, 0.8)}
        assert np.unique(params[f"{kind}reversal"]).tolist() == [-1, 1]
    for name, (low, high) in ranges.items():
        slack = 0.05 * (high - low)
        assert low - 1e-5 <= params[name].min() < low + slack, name
        assert high - slack < params[name].max() <= high + 1e-5, name


def test_uniform_draws_of_oscillators_and_of_lem():
    """The bound of a uniform draw is the square root of 3 times its standard deviation."""
    for params, bound in [
        (seqjax.lem(100).init(KEY, 50), 100**-0.5),
        (seqjax.co_rnn(100).init(KEY, 50), 250**-0.5),
    ]:
        for leaf in (params.input_kernel, params.recurrent_kernel, params.bias):
            deviation, largest = moments(leaf)
            assert deviation == pytest.approx(bound / 3**0.5, rel=0.1)
            assert largest * deviation <= bound
    biases = np.split(np.asarray(seqjax.lem(100).init(KEY, 50).bias), 4)
    assert len({float(bias[0]) for bias in biases}) == 4  # every gate draws its own

    params = seqjax.unicornn(200).init(KEY, 50)
    deviation, largest = moments(params.input_kernel)
    assert deviation == pytest.approx((2 / 65 / 50) ** 0.5, rel=0.05)
    assert largest < 1.8
    units = params.units
    assert 0 <= units["recurrent"].min() < 0.1 < 0.9 < units["recurrent"].max() <= 1
    assert -0.1 <= units["control"].min() < -0.09 < 0.09 < units["control"].max() <= 0.1


def test_s5_starts_at_hippo():
    """At the eigenvalues of the normal part of HiPPO-LegS, one of each pair, and its vectors."""
    root = np.sqrt(2 * np.arange(6) + 1)
    hippo = -(np.tril(np.outer(root, root)) - np.diag(np.arange(6)))
    normal = hippo + np.outer(root, root) / 2
    params = seqjax.s5(500, state_size=12, blocks=2).init(KEY, 500)
    values = np.linalg.eigvals(normal)
    expected = np.sort(values.imag[values.imag > 0])
    np.testing.assert_allclose(params["frequency"], np.tile(expected, 2), rtol=1e-5)
    np.testing.assert_allclose(params["rate"], values.real.mean(), rtol=1e-6)
    assert "map_kernel" not in params  # as published
    # From B in the basis of the eigenvectors back to a real one: 2 Re(V B), of unit variance / H.
    vectors = np.linalg.eig(normal)[1][:, np.argsort(values.imag)[6 // 2 :]]
    real, imag = np.split(np.asarray(params["input_kernel"]), 2, axis=-1)
    drive = (real + 1j * imag)[:, :3]
    assert abs((2 * (drive @ vectors.T).real).std() * np.sqrt(500) - 1) < 0.1
    steps = np.exp(params["log_step"])
    assert 0.001 <= steps.min() < steps.max() <= 0.1


def test_decays_and_steps_of_selective_cells():
    def steps(bias):
        return np.log1p(np.exp(np.asarray(bias, np.float64)))

    params = seqjax.s6(800, state_size=3).init(KEY, 800)
    np.testing.assert_allclose(np.exp(params["decay_log"]), np.tile([1, 2, 3], (800, 1)), rtol=1e-6)
    assert params["step_kernel"].shape == (50, 800)
    assert "input_kernel" not in params  # as published
    for name in ("s6", "mamba2", "gated_delta_net"):
        options = {} if name == "s6" else {"heads": 800}
        params = seqjax.make_cell(name, 800, **options).init(KEY, 2)
        found = steps(params["step_bias"])
        assert 0.001 * 0.99 <= found.min() < 0.0012
        assert 0.08 < found.max() <= 0.1 * 1.01
        # Log-uniform: half of them are below the geometric mean.
        assert abs((found < 0.01).mean() - 0.5) < 0.1
    decays = np.exp(seqjax.mamba2(800, heads=800).init(KEY, 2)["decay_log"])
    assert 1 <= decays.min() < 1.2
    assert 15.8 < decays.max() <= 16


def test_mlstm_gates():
    params = seqjax.mlstm(8, heads=4).init(KEY, 2)
    i, f = np.split(np.asarray(params["gate_bias"]), 2)
    np.testing.assert_allclose(f, [3, 4, 5, 6])
    assert 0 < np.abs(i).max() < 0.5
    assert (params["gate_kernel"] == 0).all()


def test_default_heads():
    """One head for 32 units, where 32 divides."""
    for name in ("gla", "mlstm", "delta_net", "gated_delta_net"):
        assert [seqjax.make_cell(name, size).heads for size in (128, 32, 8, 40)] == [4, 1, 1, 1]
    assert seqjax.mamba2(128).heads == 2
    assert seqjax.mlstm(64) == seqjax.mlstm(64, heads=2)
