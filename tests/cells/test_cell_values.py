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


@pytest.mark.parametrize("name", ["lru", "rg_lru"])
def test_cells_that_keep_decays_apart_do_so_under_bfloat16(name):
    """A decay of 0.999 keeps its half-life within 1 % over 10,000 steps."""
    cell = seqjax.make_cell(name, 1)
    params = cell.init(jax.random.key(0), 1)
    zeros = jax.tree.map(jnp.zeros_like, params)
    if name == "lru":
        nu = jnp.log(-jnp.log(jnp.array([0.999])))
        params = {**zeros, "decay_log": nu, "phase_log": jnp.array([-jnp.inf])}
        state = HiddenState(jnp.ones((1,), jnp.complex64))
    else:
        # Gates at one half: log a = -4 softplus(L).
        target = -jnp.log(0.999) / 4
        params = {**zeros, "decay": jnp.log(jnp.expm1(jnp.array([target])))}
        state = seqjax.cells.SegmentState(jnp.ones(1), jnp.array(False))
    xs = jnp.zeros((10_000, 1), jnp.bfloat16)
    for executor in ("sequential", "associative"):
        _, _, states = seqjax.unroll(
            cell, params, xs, initial_state=state, return_states=True, executor=executor
        )
        sizes = np.abs(np.asarray(states.hidden[:, 0]))
        half_life = int((sizes > 0.5).sum())
        assert abs(half_life / (np.log(0.5) / np.log(0.999)) - 1) < 0.01
        assert 0 < sizes[-1] < 1e-3
