"""Drawn shapes, lengths, masks, resets and options, against plain Python loops."""

import jax
import numpy as np
from cell_table import (
    BATCH,
    BY_NAME,
    IN,
    KINDS,
    STEPS,
    Problem,
    assert_trees_close,
    random_params,
    random_state,
    reference,
    run,
)
from hypothesis import given, settings
from hypothesis import strategies as st


@st.composite
def problems(draw, shapes=((STEPS, (BATCH,)), (4, (2, 1)))):
    """Two shapes, since each is compiled; any lengths, masks, resets and numbers."""
    steps, batch = draw(st.sampled_from(shapes))
    size = int(np.prod(batch, dtype=int))
    lengths = draw(st.lists(st.integers(0, steps), min_size=size, max_size=size))
    booleans = st.lists(st.booleans(), min_size=steps * size, max_size=steps * size)
    mask, resets = draw(booleans), draw(booleans)
    xs = np.random.default_rng(draw(st.integers(0, 99))).normal(size=(steps, *batch, IN))
    return Problem(
        xs,
        np.array(lengths, int).reshape(batch),
        np.array(mask, bool).reshape(steps, *batch),
        np.array(resets, bool).reshape(steps, *batch),
    )


@settings(max_examples=100)
@given(
    row=st.sampled_from([*KINDS, BY_NAME["user"]]),
    data=problems(),
    reverse=st.booleans(),
    garbage=st.sampled_from([0.0, np.nan, np.inf, 1e200]),
)
def test_unroll_equals_a_plain_loop(row, data, reverse, garbage):
    with jax.enable_x64(True):
        params = random_params(row.cell)
        start = random_state(row.cell, params, data.lengths.shape)
        dirty = data._replace(xs=np.where(data.valid[..., None], data.xs, garbage))
        got = run(row, params, dirty, start, reverse=reverse)
        assert_trees_close(got, reference(row, params, data, start, reverse=reverse))


@settings(max_examples=30)
@given(data=problems(), reverse=st.booleans())
def test_steps_one_by_one_equal_one_pass(data, reverse):
    """A sequence fed to `cell.step` by hand, as a program that streams would, masks by `where`."""
    row = BY_NAME["user"]
    with jax.enable_x64(True):
        params = random_params(row.cell)
        batch = data.lengths.shape
        start = random_state(row.cell, params, batch)
        final = run(row, params, data, start, reverse=reverse)[1]
        initial = row.cell.initial_state(params, batch, np.float64)

        def where(condition, new, old):
            return jax.tree.map(lambda a, b: np.where(condition[..., None], a, b), new, old)

        state = start
        for t in range(len(data.xs))[:: -1 if reverse else 1]:
            state = where(data.resets[t], initial, state)
            new = STEP(params, state, data.xs[t])
            state = where(data.valid[t], new, state)
        assert_trees_close(final, state)


def _step(params, state, x):
    cell = BY_NAME["user"].cell
    return cell.step(params, state, cell.project(params, x))


STEP = jax.jit(_step)
