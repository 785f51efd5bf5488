"""Every mistake that a cell refuses, with the message that mends it."""

import re

import jax
import jax.numpy as jnp
import pytest
from cell_table import every_form

import seqjax
from seqjax.cells import CELLS


def raises(message, error=ValueError):
    return pytest.raises(error, match=re.escape(message))


def gated(**options):
    options = {"gates": ("a", "b"), "update": lambda state, a, b: state} | options
    return seqjax.gated_cell("mine", options.pop("hidden_size", 4), **options)


@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
def test_hidden_size_below_one(make):
    with raises("`hidden_size` must be an integer of at least 1, got 0"):
        make(0)


@pytest.mark.parametrize("gates", [(), ("a", "a")], ids=["none", "repeated"])
def test_gates_not_distinct(gates):
    with raises("seqjax.gated_cell('mine'): `gates` must be one or more distinct names, got "):
        gated(gates=gates)


def test_unknown_gates():
    with raises("gates must be among ('a', 'b'), got ['c', 'd']."):
        gated(unsummed=("d",), bias_inits={"c": jax.nn.initializers.zeros})


@pytest.mark.parametrize("unsummed", [("a",), ("b", "a")], ids=["first", "order"])
def test_unsummed_gates_not_last(unsummed):
    with raises("`unsummed` must name the last gates of ('a', 'b') in their order"):
        gated(unsummed=unsummed)


@pytest.mark.parametrize(
    "options", [{"inner_gates": ("a",)}, {"inner_gates": ("b",), "unsummed": ("b",)}]
)
def test_inner_gates_not_last(options):
    with raises("`inner_gates` must name the last gates of ('a'"):
        gated(inner_state=lambda state, **gates: state, **options)


@pytest.mark.parametrize("options", [{"inner_gates": ("b",)}, {"inner_state": lambda s, a: a}])
def test_inner_gates_without_their_state_or_the_reverse(options):
    with raises("`inner_gates` and `inner_state` must be given together, got ("):
        gated(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "`heads` must divide hidden_size = 4, got 3."),
        ({"heads": -1}, "`heads` must be an integer of at least 0, got -1."),
        ({"heads": 2.0}, "`heads` must be an integer of at least 0, got 2.0."),
        (
            {"heads": 0, "unsummed": ("b",)},
            "unsummed and inner gates need a recurrent product, got heads=0.",
        ),
        (
            {"use_bias": False, "bias_inits": {"a": jnp.ones}},
            "without `use_bias` no gate has a bias, got `bias_inits` of ['a']. Leave one of the",
        ),
        (
            {"initial_values": {"memory": 1.0}},
            "`initial_values` must name fields of ('hidden',), got ['memory'].",
        ),
        (
            {"units": {"a": jnp.ones}},
            "`units` must not be the name of a gate or \"state\", got ['a'].",
        ),
        (
            {"initial_values": {"hidden": -jnp.inf}, "learned_initial_state": True},
            "with `learned_initial_state`, `initial_values` must be finite, got {'hidden': -inf}.",
        ),
    ],
)
def test_parts_that_do_not_fit(options, message):
    with raises(f"seqjax.gated_cell('mine'): {message}"):
        gated(**options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: seqjax.lru(4, min_radius=1.0), "0 <= min_radius < max_radius <= 1"),
        (lambda: seqjax.lru(4, state_size=0), "`state_size` must be at least 1"),
        (lambda: seqjax.rg_lru(4, heads=3), "`heads` must divide hidden_size = 4"),
        (lambda: seqjax.slstm(4, heads=3), "`heads` must divide hidden_size = 4"),
        (lambda: seqjax.slstm(4, block_ratio=2.0), "`block_ratio` must lie in [0, 1], got 2.0."),
        (lambda: seqjax.ind_rnn(4, max_timescale=0.0), "`max_timescale` must be above 0 steps"),
        (
            lambda: seqjax.projected_lstm(4, memory_size=3),
            "`memory_size` must be an integer of at least 4, got 3.",
        ),
        (lambda: seqjax.projected_lstm(4, memory_size=5.0), "`memory_size` must be an integer of"),
        (lambda: seqjax.layer_norm_lstm(4, epsilon=0.0), "`epsilon` must be above 0, got 0.0."),
        (lambda: seqjax.layer_norm_gru(4, epsilon=-1.0), "`epsilon` must be above 0, got -1.0."),
        (lambda: seqjax.antisymmetric_rnn(4, step_size=0.0), "at least 0, got 0.0, 0.1 and 1.0."),
        (lambda: seqjax.antisymmetric_rnn(4, damping=-0.1), "at least 0, got 0.1, -0.1 and 1.0."),
        (lambda: seqjax.leaky_rnn(4, time_constant=0.5), "at least 1 step, above 1 with `learned`"),
        (lambda: seqjax.leaky_rnn(4, time_constant=1, learned=True), "`learned`, got 1."),
        (lambda: seqjax.leaky_rnn(4, time_constant=float("nan")), "must be finite and at least 1"),
        (lambda: seqjax.lem(4, step_size=1.5), "`step_size` must lie in (0, 1], got 1.5."),
        (lambda: seqjax.co_rnn(4, damping=-1.0), "at least 0, got 0.042, 2.7 and -1.0."),
        (lambda: seqjax.unicornn(4, step_size=0.0), "`stiffness` at least 0, got 0.0 and 30.65."),
        (lambda: seqjax.qrnn(4, window=0), "`window` must be an integer of at least 1, got 0"),
        (lambda: seqjax.qrnn(4, window=2.0), "`window` must be an integer of at least 1, got 2.0"),
        (
            lambda: seqjax.s5(4, state_size=3),
            "`state_size` must be a multiple of 2 * blocks = 2, g",
        ),
        (
            lambda: seqjax.s5(4, state_size=0),
            "`state_size` must be an integer of at least 1, got 0.",
        ),
        (lambda: seqjax.s5(4, state_size=6, blocks=2), "a multiple of 2 * blocks = 4, got 6."),
        (lambda: seqjax.s5(4, blocks=0), "`blocks` must be an integer of at least 1, got 0"),
        (lambda: seqjax.s5(4, min_step=0.0), "0 < min_step < max_step, got 0.0 and 0.1."),
        (lambda: seqjax.s6(4, max_step=1e-4), "0 < min_step < max_step, got 0.001 and 0.0001."),
        (
            lambda: seqjax.s6(4, state_size=0),
            "`state_size` must be an integer of at least 1, got 0.",
        ),
        (lambda: seqjax.s6(4, rank=0), "`rank` must be an integer of at least 1, got 0"),
        (lambda: seqjax.mamba2(4, heads=3), "`heads` must divide hidden_size = 4, got 3."),
        (
            lambda: seqjax.mamba2(4, state_size=0),
            "seqjax.mamba2: `state_size` must be an integer of",
        ),
        (lambda: seqjax.mamba2(4, min_step=1.0), "0 < min_step < max_step, got 1.0 and 0.1."),
        (lambda: seqjax.gla(4, heads=3), "seqjax.gla: `heads` must divide hidden_size = 4, got 3."),
        (lambda: seqjax.gla(4, key_size=0), "`key_size` must be an integer of at least 1, got 0"),
        (lambda: seqjax.gla(4, rank=0), "`rank` must be an integer of at least 1, got 0"),
        (lambda: seqjax.gla(4, temperature=0.0), "`temperature` must be above 0, got 0.0."),
        (lambda: seqjax.cfc(4, backbone_size=0), "`backbone_size` must be an integer of at least"),
        (
            lambda: seqjax.cfc(4, timed=True).init(jax.random.key(0), 1),
            "seqjax cfc.init: `in_size` must be an integer of at least 2, got 1.",
        ),
        (lambda: seqjax.ltc(4, unfolds=0), "`unfolds` must be an integer of at least 1, got 0"),
        (
            lambda: seqjax.mlstm(4, heads=0),
            "seqjax.mlstm: `heads` must be an integer of at",
        ),
        (lambda: seqjax.delta_net(4, heads=3), "seqjax.delta_net: `heads` must divide hidden_size"),
        (lambda: seqjax.gated_delta_net(4, heads=2.0), "`heads` must be an integer of at least 1"),
    ],
)
def test_options_out_of_range(make, message):
    with raises(message):
        make()


def linear(**options):
    def coefficients(params, xs):
        return jnp.ones_like(xs), xs

    options = {
        "init": lambda key, size, dtype=jnp.float32: (),
        "coefficients": coefficients,
    } | options
    return seqjax.linear_cell("mine", 4, **options)


def test_a_state_of_another_shape_needs_an_output():
    with raises("a state of shape (2,) needs `output`, which computes the 4 real output"):
        linear(state_shape=(2,))
    with raises("a complex state needs `output`"):
        linear(complex_state=True)


@pytest.mark.parametrize(
    "coefficients",
    [
        lambda params, xs: (xs, xs[..., :2]),
        lambda params, xs: (xs[..., :3], xs),
        lambda params, xs: (xs[0], xs),
    ],
)
def test_coefficients_of_another_shape(coefficients):
    cell = linear(coefficients=coefficients)
    with raises("for an input of shape (7, 2, 4), `coefficients` must return b of shape (7, 2, 4)"):
        seqjax.unroll(cell, (), jnp.ones((7, 2, 4)))


def test_complex_coefficients_of_a_real_state():
    cell = linear(coefficients=lambda params, xs: (xs, 1j * xs))
    with raises("complex coefficients need linear_cell(complex_state=True)", TypeError):
        seqjax.unroll(cell, (), jnp.ones((7, 4)))


@pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("in_size", [0, -1])
def test_in_size_below_one(make, in_size):
    with raises(f".init: `in_size` must be an integer of at least 1, got {in_size}."):
        make(4).init(jax.random.key(0), in_size)


@every_form
def test_wrong_number_of_features(row):
    params = row.cell.init(jax.random.key(0), 3)
    with raises("must have in_size = 3 features on its last axis, got 5. Make the parameters"):
        seqjax.step(row.cell, params, jnp.ones((2, 5)))
    with raises("init(key, in_size=5), or fix the input."):
        seqjax.unroll(row.cell, params, jnp.ones((4, 2, 5)))


def test_unknown_activation():
    with raises("seqjax.lstm: `activation` must be one of elu, gelu, hard_sigmoid, relu, sigmoid,"):
        seqjax.lstm(4, activation="swish2")
    with pytest.raises(TypeError, match="must be a name or a pointwise function, got 3"):
        seqjax.gru(4, gate_activation=3)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("max_timescale", [2, -5.0, float("nan")])
def test_chrono_timescale_too_short(max_timescale):
    makes = [seqjax.chrono]
    for make in (seqjax.lstm, seqjax.gru, seqjax.min_gru):
        makes.append(lambda value, make=make: make(4, max_timescale=value))
    makes.append(lambda value: seqjax.gru(4, max_timescale=value, reset_after=False))
    for make in makes:
        with raises("`max_timescale` must be greater than 2 steps, got"):
            make(max_timescale)


def test_unknown_cell_name():
    with raises("unknown cell 'lstn'; the known cells are rnn, lstm, gru, min_gru, ind_rnn, "):
        seqjax.make_cell("lstn", 4)
