"""Garbage in the padding, NaN included, changes no output, no state and no gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import (
    BATCH,
    BY_NAME,
    STEPS,
    assert_trees_equal,
    both_directions,
    every_backward_pass,
    every_kind,
    few_kinds,
    few_kinds_in_sequence,
    problem,
    random_params,
    random_state,
    run,
    values_and_gradients,
)

import seqjax

pytestmark = pytest.mark.usefixtures("x64")

GARBAGE = [np.nan, np.inf, -np.inf, 1e300, "random"]


def fill(data, garbage):
    if garbage == "random":
        garbage = 100 * np.random.default_rng(9).normal(size=data.xs.shape)
    return data._replace(xs=np.where(data.valid[..., None], data.xs, garbage))


@every_backward_pass
def test_garbage_changes_nothing(row):
    """Lengths 0, 1 and T, interior masks and resets; gradients of parameters, input and state.

    All are equal to the last bit, and the gradient with respect to the padding is exactly zero.
    """
    params, data = random_params(row.cell), problem()
    start = random_state(row.cell, params)
    clean = values_and_gradients(row, params, fill(data, 0.0), start)
    (ys, _, _), (_, of_xs, _) = clean
    assert (of_xs[~data.valid] == 0).all()
    assert (np.abs(of_xs[data.valid]).max(axis=-1) > 0).mean() > 0.5
    assert (ys[~data.valid] == 0).all()
    for garbage in GARBAGE:
        got = values_and_gradients(row, params, fill(data, garbage), start)
        assert_trees_equal(got, clean)


@few_kinds
def test_garbage_changes_nothing_in_reverse(row):
    params, data = random_params(row.cell), problem()
    start = random_state(row.cell, params)
    clean = values_and_gradients(row, params, fill(data, 0.0), start, reverse=True)
    for garbage in GARBAGE:
        got = values_and_gradients(row, params, fill(data, garbage), start, reverse=True)
        assert_trees_equal(got, clean)


@pytest.mark.parametrize("given", ["lengths", "mask"])
def test_garbage_with_lengths_alone_and_mask_alone(given):
    row, data = BY_NAME["gru"], problem()
    argument = {given: getattr(data, given)}
    alone = problem(plain=True)._replace(xs=data.xs, **argument)

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1))
    def gradient(params, xs):
        return (seqjax.unroll(row.cell, params, xs, **argument)[0] ** 2).sum()

    params = random_params(row.cell)
    clean = gradient(params, fill(alone, 0.0).xs)
    assert_trees_equal(gradient(params, fill(alone, np.nan).xs), clean)


@every_backward_pass
@both_directions
def test_outputs_are_zero_at_masked_steps(row, reverse):
    data = problem()
    ys = run(row, random_params(row.cell), data, reverse=reverse)[0]
    assert (ys[~data.valid] == 0).all()
    assert (np.abs(ys[data.valid]).max(axis=-1) > 0).mean() > 0.5


@every_backward_pass
@both_directions
def test_length_zero_returns_the_initial_state(row, reverse):
    """The one that was passed, or the cell's own (learned, where it is)."""
    params, data = random_params(row.cell), problem()
    data = fill(data._replace(resets=data.resets & False), np.nan)
    empty = data.lengths == 0
    for start in (
        random_state(row.cell, params),
        row.cell.initial_state(params, (BATCH,), jnp.float64),
    ):
        final = run(row, params, data, start, reverse=reverse)[1]
        assert_trees_equal([leaf[empty] for leaf in final], [leaf[empty] for leaf in start])


@few_kinds_in_sequence
def test_default_state_of_an_empty_sequence(row):
    params = random_params(row.cell)
    xs = np.full((STEPS, BATCH, 3), np.nan)
    run = jax.jit(functools.partial(seqjax.unroll, row.cell))
    ys, final = run(params, xs, lengths=np.zeros(BATCH, int))
    assert_trees_equal(final, row.cell.initial_state(params, (BATCH,), jnp.float64))
    assert (ys == 0).all()


@every_kind
def test_state_stays_through_masked_steps(row):
    params, data = random_params(row.cell), problem(plain=True)
    data.mask[2:5] = False
    states = run(row, params, data)[2]
    for t in (2, 3, 4):
        assert_trees_equal([leaf[t] for leaf in states], [leaf[1] for leaf in states])


@every_kind
def test_final_state_is_that_of_the_last_valid_step(row):
    """Not that of the last step: what every other framework is asked to gather by hand."""
    params, data = random_params(row.cell), problem(plain=True)
    lengths = np.array([7, 1, 2, 6, 3])
    states = run(row, params, data)[2]
    final = run(row, params, data._replace(lengths=lengths))[1]
    for leaf, steps in zip(final, states, strict=True):
        np.testing.assert_array_equal(leaf, steps[lengths - 1, np.arange(BATCH)])


@few_kinds
def test_more_padding_changes_nothing(row):
    """The same sequences padded to 7 and to 12 steps."""
    params, data = random_params(row.cell), problem()
    more = ((0, 5), (0, 0))
    longer = data._replace(
        xs=np.pad(data.xs, (*more, (0, 0)), constant_values=np.nan),
        mask=np.pad(data.mask, more, constant_values=True),
        resets=np.pad(data.resets, more),
    )
    ys, final, _ = run(row, params, data)
    longer_ys, longer_final, _ = run(row, params, longer)
    np.testing.assert_allclose(longer_ys[:STEPS], ys, rtol=1e-12)
    assert (longer_ys[STEPS:] == 0).all()
    for a, b in zip(final, longer_final, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@every_kind
def test_nan_in_a_valid_step_is_not_hidden(row):
    params, data = random_params(row.cell), problem(plain=True)
    data.xs[3, 1] = np.nan
    ys = run(row, params, data)[0]
    assert np.isnan(ys[3:, 1]).all()
    assert not np.isnan(np.delete(ys, 1, axis=1)).any()
    assert not np.isnan(ys[:3]).any()
