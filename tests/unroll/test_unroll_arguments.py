"""Whatever `unroll` is given, it runs or says in one line what it wants."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import unroll_with
from hypothesis import given, settings
from hypothesis import strategies as st

import seqjax

T, B, D, H = 3, 2, 4, 5
CELLS = [
    seqjax.elman(H),
    seqjax.lstm(H),
    seqjax.gru(H, reset_after=False),
    seqjax.min_gru(H),
]
PARAMS = [cell.init(jax.random.key(0), D) for cell in CELLS]
DTYPES = [np.float32, np.float16, np.int32, np.bool_, np.complex64]


def array(shape, dtype):
    """An array of small non-negative numbers."""
    return (np.arange(np.prod(shape, dtype=int)) % 3).reshape(shape).astype(dtype)


sizes = st.integers(0, 4)
shapes = st.lists(sizes, max_size=4).map(tuple)
steps = st.sampled_from([(T, B), (T,), (B,), (T, 1), (B, T), (T, B, 1)]) | shapes
arrays = st.builds(array, shapes, st.sampled_from(DTYPES))
odd = st.sampled_from(
    [None, 3, -1, 2.5, True, "text", (), [1, 2], {"a": 1}, object(), float("nan")]
)
inputs = st.builds(array, st.sampled_from([(T, B, D), (T, D), (T, B, B, D)]), st.just(np.float32))


@st.composite
def states(draw):
    """The state of some cell, of the right batch, of another, or nothing of the kind."""
    index = draw(st.integers(0, len(CELLS) - 1))
    batch = draw(st.sampled_from([(B,), (), (1,), (B, B)]))
    return CELLS[index].initial_state(PARAMS[index], batch, jnp.float32)


ARGUMENTS = {
    "initial_state": states() | odd | arrays,
    "lengths": st.builds(array, steps, st.sampled_from(DTYPES)) | odd,
    "mask": st.builds(array, steps, st.sampled_from(DTYPES)) | odd,
    "resets": st.builds(array, steps, st.sampled_from(DTYPES)) | odd,
    "reverse": st.booleans(),
    "return_states": st.booleans(),
    "dtype": st.sampled_from([None, jnp.bfloat16, jnp.float32, jnp.int32, "float16", "no dtype"]),
    "carry_dtype": st.sampled_from([None, jnp.float32, jnp.float16, jnp.int32, "no dtype"]),
    "chunk_size": st.sampled_from([None, 1, 2, 100, 0, -3, 2.5, "two"]),
    "executor": st.sampled_from(["auto", "sequential", "scan", "quick", None, 3]),
    "residuals": st.sampled_from(["auto", "gates", "states", "boundaries", "none", 1]),
    "truncation": st.sampled_from([None, 1, 2, (1, 2), (2, 1), 0, (1, 2, 3), "k", 1.5, (1.5, 2)]),
    "state_gradient_clip": st.sampled_from([None, 1.0, 0, -1, float("nan"), "one"]),
}


@settings(max_examples=400, deadline=None)
@given(
    st.integers(0, len(CELLS) - 1),
    inputs | st.builds(array, shapes, st.sampled_from(DTYPES)) | odd,
    st.dictionaries(st.sampled_from(sorted(ARGUMENTS)), st.none(), max_size=3),
    st.data(),
)
def test_it_runs_or_says_what_it_wants(index, xs, chosen, data):
    options = {name: data.draw(ARGUMENTS[name], label=name) for name in chosen}
    found = outcome(lambda: unroll_with(CELLS[index], PARAMS[index], xs, **options))
    if isinstance(found, Exception):
        assert isinstance(found, ValueError | TypeError)
        assert str(found).startswith("seqjax"), repr(found)
        assert "\n" not in str(found)
    else:
        assert found[0].shape == (*np.shape(xs)[:-1], H)


def outcome(run):
    """What a call would return, as shapes, or what it raises."""
    try:
        return jax.eval_shape(run)
    except Exception as error:
        return error


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"truncation": (1.5, 2)}, r"`truncation` must be integers \(k1, k2\)"),
        ({"truncation": "k"}, r"`truncation` must be integers \(k1, k2\)"),
        ({"chunk_size": 2.5}, "`chunk_size` must be an integer of at least 1, got 2.5"),
        ({"state_gradient_clip": "one"}, "must be a number above 0, got 'one'"),
        ({"dtype": "no dtype"}, "`dtype` must be a dtype, got 'no dtype'"),
        ({"carry_dtype": "int32"}, "`carry_dtype` must be floating, got int32"),
        ({"mask": "text"}, "`mask` must be an array of numbers, got str"),
        ({"lengths": "text"}, "`lengths` must be an array of numbers, got str"),
        ({"lengths": np.array([1.0, 2.0])}, "`lengths` must be integers, got float32"),
        ({"xs": {"a": 1}}, "`xs` must be an array of numbers, got dict"),
        ({"xs": None}, "`xs` must be an array of numbers, got NoneType"),
    ],
)
def test_what_was_found(changes, message):
    options = {"xs": array((T, B, D), np.float32), **changes}
    with pytest.raises(
        (ValueError, TypeError), match=r"^seqjax\.(unroll|executors\.Sequential): .*" + message
    ):
        unroll_with(CELLS[0], PARAMS[0], options.pop("xs"), **options)
