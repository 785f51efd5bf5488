"""A cell is a value: equal when made alike, hashable, picklable, changed in all its passes."""

import copy
import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import assert_trees_close, random_params
from flax import nnx
from marks import with_usual

import seqjax
from seqjax.cells import CELLS, Cell, HiddenState


@pytest.mark.parametrize("name", CELLS)
def test_cells_made_alike_are_one_value(name):
    one, two = seqjax.make_cell(name, 4), seqjax.make_cell(name, 4)
    assert one == two
    assert hash(one) == hash(two)
    assert one != seqjax.make_cell(name, 6)
    assert pickle.loads(pickle.dumps(one)) == one
    assert copy.deepcopy(one) == one


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (seqjax.lstm, {"max_timescale": 20.0}),
        (seqjax.lstm, {"forget_bias": 2.0}),
        (seqjax.elman, {"activation": "relu"}),
        (seqjax.gru, {"reset_after": False, "activation": jax.nn.relu}),
        (seqjax.ind_rnn, {"max_timescale": 20.0}),
        (seqjax.slstm, {"heads": 2}),
        (seqjax.lru, {"state_size": 3, "min_radius": 0.5}),
        (seqjax.rg_lru, {"heads": 2}),
        (seqjax.min_gru, {"max_timescale": 20.0}),
        (seqjax.coupled_lstm, {"max_timescale": 20.0}),
        (seqjax.projected_lstm, {"memory_size": 6}),
        (seqjax.layer_norm_lstm, {"epsilon": 1e-3}),
        (seqjax.layer_norm_gru, {"epsilon": 1e-3}),
        (seqjax.mgu, {"activation": "relu"}),
        (seqjax.antisymmetric_rnn, {"gated": True}),
        (seqjax.antisymmetric_rnn, {"damping": 0.2}),
        (seqjax.leaky_rnn, {"learned": True}),
        (seqjax.fast_grnn, {"kernel_init": jax.random.normal}),
        (seqjax.lem, {"step_size": 0.5}),
        (seqjax.co_rnn, {"stiffness": 1.0}),
        (seqjax.unicornn, {"stiffness": 1.0}),
        (seqjax.min_lstm, {"forget_bias": 1.0}),
        (seqjax.qrnn, {"window": 3}),
        (seqjax.s5, {"state_size": 8, "blocks": 2}),
        (seqjax.s6, {"state_size": 2, "rank": 2}),
        (seqjax.mamba2, {"state_size": 2, "heads": 2}),
        (seqjax.gla, {"heads": 2, "key_size": 3}),
        (seqjax.mlstm, {"heads": 2}),
        (seqjax.delta_net, {"negative_eigenvalues": True}),
        (seqjax.fast_rnn, {"activation": "relu"}),
        (seqjax.cfc, {"timed": True}),
        (seqjax.ltc, {"unfolds": 2}),
        (seqjax.sru, {"highway_bias": -1.0}),
        (seqjax.gated_delta_net, {"negative_eigenvalues": True}),
    ],
)
def test_options_are_part_of_the_value(make, options):
    assert make(4, **options) == make(4, **options)
    assert make(4, **options) != make(4)
    assert pickle.loads(pickle.dumps(make(4, **options))) == make(4, **options)


def own_update(state, drive):
    """Of a module, so that it can be pickled."""
    return HiddenState(0.9 * state.hidden + 0.1 * jnp.tanh(drive))


def test_a_users_cells_are_values_too():
    def make():
        return seqjax.gated_cell("own", 4, gates=("drive",), update=own_update)

    assert make() == make()
    assert pickle.loads(pickle.dumps(make())) == make()


def test_a_model_made_again_is_not_compiled_again():
    traced = []

    @nnx.jit
    def call(layer, xs):
        traced.append(1)
        return layer(xs)

    for seed in range(3):
        call(seqjax.nn.RNN(seqjax.lstm(4), 3, rngs=nnx.Rngs(seed)), jnp.ones((2, 5, 3)))
    assert len(traced) == 1


def test_models_made_alike_have_one_structure():
    one, two = (nnx.state(seqjax.nn.RNN(seqjax.lstm(4), 3, rngs=nnx.Rngs(seed))) for seed in (0, 1))
    jax.tree.map(jnp.add, one, two)
    layers = [seqjax.nn.RNN(seqjax.gru(4), 3, rngs=nnx.Rngs(seed)) for seed in (0, 1)]
    assert nnx.graphdef(layers[0]) == nnx.graphdef(layers[1])


def test_replacing_update_changes_both_passes():
    """The first edition ran the old step forwards and differentiated the new one."""

    def update(state, drive):
        return HiddenState(jnp.sin(drive) * state.hidden)

    old = seqjax.gated_cell("own", 4, gates=("drive",), update=own_update)
    new = dataclasses.replace(old, update=update)
    params = random_params(old, dtype=jnp.float32)
    xs = jax.random.normal(jax.random.key(1), (6, 2, 3))
    start = HiddenState(jnp.ones((2, 4)))

    def results(cell, executor):
        def total(params, xs):
            ys, _ = seqjax.unroll(cell, params, xs, initial_state=start, executor=executor)
            return (ys**2).sum(), ys

        return jax.value_and_grad(total, (0, 1), has_aux=True)(params, xs)

    assert_trees_close(results(new, "sequential"), results(new, "scan"), 1e-5, 1e-5)
    assert not np.allclose(results(new, "scan")[0][1], results(old, "scan")[0][1])
    made = seqjax.gated_cell("own", 4, gates=("drive",), update=update)
    assert_trees_close(results(new, "sequential"), results(made, "sequential"), 0, 0)


def test_complex_parameters_keep_their_imaginary_part():
    """Of lambda = 0.9j on ones: 1, 1 + 0.9j, 0.19 + 0.9j."""
    cell = seqjax.linear_cell(
        "spiral",
        1,
        init=lambda key, in_size, dtype=jnp.float32: {"a": jnp.full((1,), 0.9j)},
        coefficients=lambda p, xs: (p["a"].reshape(*(1,) * (xs.ndim - 1), 1), xs),
        output=lambda p, hidden, xs: hidden.real,
        complex_state=True,
    )
    params = cell.init(jax.random.key(0), 1)
    for executor in ("sequential", "associative", "scan"):
        ys, state = seqjax.unroll(cell, params, jnp.ones((3, 1)), executor=executor)
        np.testing.assert_allclose(ys[:, 0], [1, 1, 0.19], rtol=1e-6)
        np.testing.assert_allclose(state.hidden, [0.19 + 0.9j], rtol=1e-6)


@dataclasses.dataclass(frozen=True, repr=False)
class Counter(Cell):
    """A plain cell with a permutation among its parameters and a counter in its state."""

    def init(self, key, in_size, dtype=jnp.float32):
        return {"order": jnp.array([2, 0, 1]), "scale": jnp.ones(3, dtype)}

    def initial_state(self, params, batch_shape=(), dtype=jnp.float32):
        return (jnp.zeros((*batch_shape, 3), dtype), jnp.zeros(batch_shape, jnp.int32))

    def step(self, params, state, drive):
        hidden, count = state
        hidden = hidden[..., params["order"]] + params["scale"] * drive
        return hidden, count + 1


@pytest.mark.parametrize("clip", [None, 1.0])
def test_integers_stay_integers(clip):
    cell, params = Counter(3), Counter(3).init(jax.random.key(0), 3)
    xs = jnp.arange(12.0).reshape(4, 3)
    executor = seqjax.executors.Sequential(state_gradient_clip=clip)
    ys, state = seqjax.unroll(cell, params, xs, executor=executor)
    assert state[1].dtype == jnp.int32
    assert int(state[1]) == 4
    half, carried = seqjax.unroll(cell, params, xs[:2], executor=executor)
    rest, again = seqjax.unroll(cell, params, xs[2:], initial_state=carried, executor=executor)
    np.testing.assert_array_equal(jnp.concatenate([half, rest]), ys)
    assert int(again[1]) == 4

    def total(scale):
        given = {**params, "scale": scale}
        return seqjax.unroll(cell, given, xs, executor=executor)[0].sum()

    assert np.isfinite(jax.grad(total)(params["scale"])).all()
    chunks, _ = jax.lax.scan(
        lambda state, part: seqjax.unroll(cell, params, part, initial_state=state)[::-1],
        cell.initial_state(params),
        xs.reshape(2, 2, 3),
    )
    assert int(chunks[1]) == 4


@pytest.mark.parametrize("learned", [False, True])
def test_leaky_rnn_keeps_its_time_constant_under_bfloat16(learned):
    """A time constant of 1,000 steps is a decay of 0.999, which bfloat16 would round to 1."""
    cell = seqjax.leaky_rnn(1, time_constant=1000.0, learned=learned)
    params = cell.init(jax.random.key(0), 1)
    kernels = {"input_kernel": jnp.zeros((1, 1)), "recurrent_kernel": jnp.zeros((1, 1))}
    _, _, states = seqjax.unroll(
        cell,
        params._replace(**kernels),
        jnp.zeros((2000, 1), jnp.bfloat16),
        initial_state=HiddenState(jnp.ones(1)),
        return_states=True,
    )
    half_life = int((states.hidden[:, 0] > 0.5).sum())
    assert abs(half_life / (np.log(0.5) / np.log(0.999)) - 1) < 0.01


unrolled = jax.jit(seqjax.unroll, static_argnums=0, static_argnames=("executor", "return_states"))
# A decay whose bias, log(decay / (1 - decay)), is far from any number of bfloat16.
DECAY = 0.99898
LOGIT = float(np.log(DECAY / (1 - DECAY)))
STEP = float(np.log(np.expm1(-np.log(DECAY))))  # whose softplus is -log(decay)
ONE, ALIVE = jnp.ones(1), jnp.array(False)
# Of each cell with one unit, options, what differs from zero in its parameters, and a state.
DECAYS = {
    "lru": (
        {},
        {"decay_log": np.log(-np.log(DECAY)), "phase_log": -np.inf},
        HiddenState(ONE + 0j),
    ),
    # Gates at one half: log a = -4 softplus(L).
    "rg_lru": (
        {},
        {"decay": np.log(np.expm1(-np.log(DECAY) / 4))},
        seqjax.cells.SegmentState(ONE, ALIVE),
    ),
    "min_gru": ({}, {"bias": [-LOGIT, 0]}, HiddenState(ONE)),
    # sigmoid(0) = 1/2 against a share of it.
    "min_lstm": ({}, {"bias": [0, np.log((1 - DECAY) / (3 * DECAY - 1)), 0]}, HiddenState(ONE)),
    "qrnn": (
        {},
        {"bias": [0, LOGIT, 0]},
        seqjax.cells.QRNNState(ONE, ONE, jnp.zeros((1, 3, 1))),
    ),
    "s5": ({}, {"rate": -1, "log_step": np.log(-np.log(DECAY))}, HiddenState(ONE + 0j)),
    "s6": ({"state_size": 1}, {"step_bias": STEP}, HiddenState(jnp.ones((1, 1)))),
    "mamba2": ({"state_size": 1}, {"step_bias": STEP}, HiddenState(jnp.ones((1, 1, 1)))),
    "gla": (
        {"temperature": 1.0},
        {"decay_bias": LOGIT},
        HiddenState(jnp.ones((1, 1, 1))),
    ),
    "mlstm": (
        {},
        {"gate_bias": [-30, LOGIT]},
        seqjax.cells.MLSTMState(jnp.ones((1, 1, 1)), jnp.ones((1, 1)), jnp.zeros(1)),
    ),
    "gated_delta_net": ({}, {"step_bias": STEP}, HiddenState(jnp.ones((1, 1, 1)))),
}


@pytest.mark.parametrize(
    "name",
    with_usual(DECAYS, ("lru", "mamba2", "mlstm")),
)
def test_cells_that_keep_decays_apart_do_so_under_bfloat16(name):
    """A decay near 0.999 keeps its half-life within 1 % over 10,000 steps."""
    options, values, state = DECAYS[name]
    cell = seqjax.make_cell(name, 1, **options)
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), 1))
    as_dict = params._asdict() if hasattr(params, "_asdict") else params
    changed = {
        field: jnp.broadcast_to(jnp.asarray(value, jnp.float32), as_dict[field].shape)
        for field, value in values.items()
    }
    params = params._replace(**changed) if hasattr(params, "_asdict") else params | changed
    xs = jnp.zeros((10_000, 1), jnp.bfloat16)
    # Both executors take their decays from `project`; two cells show that.
    for executor in ("sequential", "associative")[: 1 + (name in ("lru", "rg_lru"))]:
        _, _, states = unrolled(
            cell, params, xs, initial_state=state, return_states=True, executor=executor
        )
        kept = states.cell if name == "qrnn" else states[0]
        sizes = np.abs(np.asarray(kept).ravel())
        if name == "mlstm":
            sizes = sizes * np.exp(np.asarray(states.stabiliser).ravel())
        half_life = int((sizes > 0.5).sum())
        assert abs(half_life / (np.log(0.5) / np.log(DECAY)) - 1) < 0.01
        assert 0 < sizes[-1] < 1e-3


def timed(make, times):
    """Runs a cell with the time as the last feature of an input of four steps."""
    cell = make(4, timed=True)
    params = cell.init(jax.random.key(0), 4)
    xs = jax.random.normal(jax.random.key(1), (4, 3))
    times = jnp.broadcast_to(jnp.asarray(times, jnp.float32), (4,))
    ys, _ = seqjax.unroll(cell, params, jnp.concatenate([xs, times[:, None]], axis=-1))
    return ys, seqjax.unroll(make(4), params, xs)[0]


def test_ltc_keeps_no_number_of_a_synapse_for_the_backward_pass():
    """A number for each of 32 x 32 synapses, unfold, step and sequence would be 2.5 MiB."""
    cell = seqjax.ltc(32, unfolds=2)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), 3))
    xs = jax.ShapeDtypeStruct((40, 8, 3), jnp.float32)
    gradient = jax.jit(jax.grad(lambda params, xs: seqjax.unroll(cell, params, xs)[0].sum()))
    memory = gradient.lower(params, xs).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 40 * 8 * 2 * 32 * 32 * 4


def test_no_time_changes_no_potential():
    ys, _ = timed(seqjax.ltc, [1.0, 0.0, 0.0, 1e-3])
    np.testing.assert_array_equal(ys[1:3], np.broadcast_to(ys[:1], (2, 4)))
    assert 0 < np.abs(ys[3] - ys[2]).max() < 0.02


@pytest.mark.parametrize("make", [seqjax.cfc, seqjax.ltc])
def test_the_input_may_say_how_long_a_step_takes(make):
    ys, untimed = timed(make, 1.0)
    np.testing.assert_array_equal(ys, untimed)
    ys, _ = timed(make, [1.0, 1.0, 0.3, 1.0])
    np.testing.assert_array_equal(ys[:2], untimed[:2])
    assert (np.abs(ys[2:] - untimed[2:]).max(axis=1) > 1e-3).all()


def test_every_linear_cell_with_a_decay_is_tested_for_it():
    combined = seqjax.cells.LinearCell, seqjax.cells.AssociativeCell
    names = {name for name, make in CELLS.items() if isinstance(make(4), combined)}
    assert names - set(DECAYS) == {"delta_net"}  # it has none


@pytest.mark.parametrize("executor", ["sequential", "associative"])
def test_delta_net_with_negative_eigenvalues_counts_modulo_two(executor):
    """An input of 1 turns the sign of what is stored; without the option it cannot."""
    bits = jax.random.bernoulli(jax.random.key(0), 0.5, (50,))
    kernel = jnp.array([[50.0, 0, -50], [0, 0, 100]])  # key, value, rate; of a one and of the bit
    params = {"input_kernel": kernel, "read_kernel": jnp.zeros((2, 1))}
    xs = jnp.stack([jnp.ones(50), bits.astype(jnp.float32)], axis=-1)
    start = HiddenState(jnp.ones((1, 1, 1)))

    def stored(**options):
        cell = seqjax.delta_net(1, **options)
        given = {"initial_state": start, "return_states": True, "executor": executor}
        return np.ravel(unrolled(cell, params, xs, **given)[2].hidden)

    np.testing.assert_allclose(
        stored(negative_eigenvalues=True), (-1.0) ** np.cumsum(bits), rtol=1e-4
    )
    assert stored().min() >= 0


@pytest.mark.parametrize(
    "window", [*(pytest.param(size, marks=pytest.mark.extended) for size in (1, 2)), 4]
)
def test_the_window_of_a_qrnn_is_a_convolution_of_each_part(x64, window):
    """Of the valid inputs between two resets, from zeros: nothing across a reset, no padding."""
    steps, batch = 23, 6
    rng = np.random.default_rng(0)
    cell = seqjax.qrnn(2, window=window)
    params = random_params(cell)
    xs = rng.normal(size=(steps, batch, 3))
    valid, resets = rng.random((2, steps, batch)) < np.array([0.8, 0.15])[:, None, None]
    kernel = np.asarray(params["input_kernel"]).reshape(3, window, 6)

    expected = np.zeros((steps, batch, 2))
    for b in range(batch):
        past, c = [], np.zeros(2)
        for t in range(steps):
            if resets[t, b]:
                past, c = [], np.zeros(2)
            if not valid[t, b]:
                continue
            past = [xs[t, b], *past][:window]
            gates = params["bias"] + sum(x @ kernel[:, j] for j, x in enumerate(past))
            z, f, o = np.split(np.asarray(gates), 3)
            f, o = 1 / (1 + np.exp(-f)), 1 / (1 + np.exp(-o))
            c = f * c + (1 - f) * np.tanh(z)
            expected[t, b] = o * c
    for executor in ("sequential", "associative", "scan"):
        ys, _ = unrolled(cell, params, xs, mask=valid, resets=resets, executor=executor)
        np.testing.assert_allclose(ys, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("executor", ["sequential", "associative"])
def test_mlstm_with_gates_far_out_of_range(executor):
    """Far above zero a common shift of the input gates changes nothing; below, nothing is read."""
    cell = seqjax.mlstm(4, heads=2)
    params = random_params(cell, dtype=jnp.float32)
    xs = jax.random.normal(jax.random.key(1), (20, 3, 3))

    def total(params):
        ys = seqjax.unroll(cell, params, xs, executor=executor)[0]
        return (ys**2).sum(), ys

    gradient_of = jax.jit(jax.grad(total, has_aux=True))

    def outputs(shift):
        moved = {**params, "gate_bias": params["gate_bias"].at[:2].add(shift)}
        gradient, ys = gradient_of(moved)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
        return ys

    np.testing.assert_allclose(outputs(100.0), outputs(200.0), rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(outputs(-300.0), 0, atol=1e-20)
