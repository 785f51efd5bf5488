"""Every mistake that `unroll` refuses, with the message that mends it."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import assert_trees_equal, unroll_with

import seqjax
from seqjax.cells import HiddenState

CELL = seqjax.lstm(4)
PARAMS = jax.eval_shape(lambda key: CELL.init(key, 3), jax.random.key(0))
XS = jax.ShapeDtypeStruct((5, 2, 3), jnp.float32)


def unroll(xs=XS, **options):
    """Traces an unroll, known arguments closed over as a user's are."""
    return jax.eval_shape(lambda params, xs: unroll_with(CELL, params, xs, **options), PARAMS, xs)


def raises(message, error=ValueError):
    return pytest.raises(error, match=re.escape(message))


def test_the_arguments_used_here_are_right():
    assert unroll(lengths=jnp.array([5, 0]), mask=jnp.ones((5, 2), bool))[0].shape == (5, 2, 4)


def test_unknown_executor():
    known = "auto, sequential, associative, chunked, newton, scan."
    with raises(f"unknown executor 'fast'; the known executors are {known}"):
        unroll(executor="fast")


def test_unknown_residuals():
    with raises("`residuals` must be one of auto, gates, states, boundaries, got 'none'."):
        unroll(residuals="none")


@pytest.mark.parametrize("truncation", [0, (2, 1), (1, 2, 3)], ids=str)
def test_truncation(truncation):
    with raises(
        f"`truncation` must be integers (k1, k2) with 1 <= k1 <= k2, or one integer for both, got "
        f"{truncation!r}."
    ):
        unroll(truncation=truncation)


def test_state_gradient_clip():
    with raises("`state_gradient_clip` must be a number above 0, got 0.0. None clips nothing."):
        unroll(state_gradient_clip=0.0)


@pytest.mark.parametrize("chunk_size", [0, -3])
def test_chunk_size_below_one(chunk_size):
    with raises(f"Sequential: `chunk_size` must be an integer of at least 1, got {chunk_size}."):
        unroll(chunk_size=chunk_size)


@pytest.mark.parametrize("shape", [(), (5,)], ids=str)
def test_too_few_axes(shape):
    with raises(f"`xs` must have shape (T, *B, D), got {shape}. A sequence of numbers needs"):
        unroll(jax.ShapeDtypeStruct(shape, jnp.float32))


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.bool_, jnp.complex64], ids=lambda d: d.__name__)
def test_not_floating(dtype):
    with raises(f"`xs` must be floating, got {jnp.dtype(dtype)}. Embed token ids", TypeError):
        unroll(jax.ShapeDtypeStruct((5, 2, 3), dtype))


def test_wrong_features():
    with raises(
        "for the parameters of lstm(4), the input must have in_size = 3 features on its last"
    ):
        unroll(jax.ShapeDtypeStruct((5, 2, 4), jnp.float32))


@pytest.mark.parametrize(
    ("cell", "other", "message"),
    [
        (
            CELL,
            seqjax.lstm(6),
            "`input_kernel` of lstm(4) for 3 features must have shape (3, 16), ",
        ),
        (
            CELL,
            seqjax.gru(4),
            "must have shape (3, 16), got (3, 12). Make the parameters with cell",
        ),
        (CELL, seqjax.lru(4), "got (3, 8)."),
        (
            seqjax.lru(4),
            CELL,
            "`decay_log` of lru(4) for 3 features must have shape (4,), got none.",
        ),
        # These ran, with numbers of neither cell.
        (
            CELL,
            seqjax.peephole_lstm(4),
            "`units.forget_peephole` of lstm(4) for 3 features must not ",
        ),
        (CELL, seqjax.slstm(4, heads=2), "must have shape (4, 16), got (2, 2, 8)."),
        (seqjax.gru(4), seqjax.gru(4, reset_after=False), "`recurrent_bias` of gru(4) for 3 "),
        (seqjax.gru(4, reset_after=False), seqjax.gru(4), "must not be there, got (4,)."),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value),
)
def test_parameters_of_another_cell(cell, other, message):
    params = other.init(jax.random.key(0), 3)
    with raises(message):
        seqjax.unroll(cell, params, jnp.ones((5, 2, 3)))


def test_a_learned_initial_state_may_be_left_out_or_added():
    learned = seqjax.lstm(4, learned_initial_state=True)
    params, xs = learned.init(jax.random.key(0), 3), jnp.ones((5, 2, 3))
    without = params._replace(initial_state=None)
    for cell, given in ((learned, without), (CELL, params)):
        assert_trees_equal(seqjax.unroll(cell, given, xs), seqjax.unroll(CELL, without, xs))


def test_parameters_of_a_cell_with_an_init_of_its_own_are_not_checked():
    def init(key, in_size, dtype):
        raise OSError("reads a file")

    cell = seqjax.linear_cell(
        "mine", 3, init=init, coefficients=lambda params, xs: (xs, params["k"] * xs)
    )
    assert seqjax.unroll(cell, {"k": jnp.ones((1, 1, 3))}, jnp.ones((5, 2, 3)))[0].shape == (
        5,
        2,
        3,
    )


def test_lengths_not_integer():
    with raises("`lengths` must be integers, got float32. Pass lengths.astype(int).", TypeError):
        unroll(lengths=jnp.array([5.0, 2.0]))


@pytest.mark.parametrize("shape", [(), (3,), (5, 2)], ids=str)
def test_lengths_of_another_shape(shape):
    with raises(f"`lengths` must have shape (*B,) = (2,), got {shape}. Batch-first data needs"):
        unroll(lengths=jnp.ones(shape, int))


@pytest.mark.parametrize("lengths", [[6, 1], [-1, 5]], ids=str)
@pytest.mark.parametrize("kind", [list, np.array, jnp.array], ids=["list", "numpy", "jax"])
def test_lengths_out_of_range(lengths, kind):
    message = f"lie in 0 ... T = 5, got values from {min(lengths)} to {max(lengths)}. Truncate"
    with raises(message):
        unroll(lengths=kind(lengths))


def test_traced_lengths_are_not_looked_at():
    """Their values are unknown; the data pipeline checks them on the host."""

    def traced(params, xs, lengths):
        return unroll_with(CELL, params, xs, lengths=lengths)

    lengths = jax.ShapeDtypeStruct((2,), jnp.int32)
    assert jax.eval_shape(traced, PARAMS, XS, lengths)[0].shape == (5, 2, 4)


@pytest.mark.parametrize("name", ["mask", "resets"])
def test_steps_not_boolean(name):
    with raises(f"`{name}` must be boolean, got int32. Pass {name}.astype(bool).", TypeError):
        unroll(**{name: jnp.ones((5, 2), jnp.int32)})


@pytest.mark.parametrize("name", ["mask", "resets"])
@pytest.mark.parametrize("shape", [(2, 5), (5,), (5, 2, 1)], ids=str)
def test_steps_of_another_shape(name, shape):
    with raises(f"`{name}` must have shape (T, *B) = (5, 2), got {shape}. Batch-first data"):
        unroll(**{name: jnp.ones(shape, bool)})


def test_initial_state_of_another_cell():
    with raises("`initial_state` must be LSTMState, got HiddenState. Start"):
        unroll(initial_state=HiddenState(jnp.zeros((2, 4))))


def test_initial_state_of_another_batch():
    state = CELL.initial_state(None, (3,), jnp.float32)
    with raises("`initial_state` must have shape (*B,) = (2,), got (3,)."):
        unroll(initial_state=state)


def test_initial_state_of_another_size():
    state = seqjax.lstm(6).initial_state(None, (2,), jnp.float32)
    with raises("must have leaves of shape (2, 4), got (2, 6). Start from cell.init"):
        unroll(initial_state=state)


def test_the_first_argument_is_a_cell():
    with raises(
        "the first argument must be a cell, got GatedParams. Call unroll(cell, p", TypeError
    ):
        seqjax.unroll(PARAMS, CELL, jnp.ones((5, 2, 3)))


def test_a_key_that_no_cell_reads():
    with raises(
        "`key` is for cells that draw noise, and lstm(4) draws none. Leave it out, or add noise"
    ):
        unroll(key=jax.random.key(0))


def test_a_complex_state_of_a_real_cell():
    start = jax.tree.map(lambda leaf: leaf + 0j, CELL.initial_state(PARAMS, (2,)))
    with raises("`initial_state` has a complex field where the cell's state is real", TypeError):
        unroll(initial_state=start)
