"""The numbers of `unroll`: against plain loops, and against itself run in other ways."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import (
    BATCH,
    BY_NAME,
    HIDDEN,
    IN,
    STEPS,
    STEPS_APART,
    Problem,
    as_parameters,
    assert_trees_close,
    assert_trees_equal,
    both_directions,
    every_backward_pass,
    every_kind,
    every_kind_in_sequence,
    every_step,
    every_step_both_ways,
    few_kinds,
    few_kinds_in_sequence,
    own_executors,
    part,
    problem,
    random_params,
    random_state,
    reference,
    run,
    run_eagerly,
    unroll_with,
)

import seqjax

pytestmark = pytest.mark.usefixtures("x64")

# A run that is not compiled compiles each of its operations, which takes seconds a cell.
EAGER = ("lstm_learned", "min_gru-associative")


@every_step_both_ways
def test_equals_a_plain_loop(row, reverse):
    """Lengths, interior masks, resets and an initial state together; every state, not the last."""
    params, data = random_params(row.cell), problem()
    start = random_state(row.cell, params)
    expected = reference(row, params, data, start, reverse=reverse)
    assert_trees_close(run(row, params, data, start, reverse=reverse), expected)


@pytest.mark.parametrize("row", as_parameters(own_executors(STEPS_APART), usual=EAGER))
def test_eager_equals_jit(row):
    params, data = random_params(row.cell), problem()
    start = random_state(row.cell, params)
    assert_trees_close(run_eagerly(row, params, data, start), run(row, params, data, start))


@few_kinds_in_sequence
def test_every_argument_at_its_default(row):
    """Compiled by the scan alone, as in a notebook; also the default chunk and the last of it."""
    params, data = random_params(row.cell), problem(9, (2,), plain=True)
    expected = reference(row, params, data)
    assert_trees_close(unroll_with(row.cell, params, data.xs), expected[:2])


@every_backward_pass
def test_vmap_equals_batch(row):
    params, data = random_params(row.cell), problem()
    start = random_state(row.cell, params)

    def one(xs, lengths, mask, resets, start):
        ys, final, _ = run(row, params, Problem(xs, lengths, mask, resets), start)
        return ys, final

    mapped = jax.jit(jax.vmap(one, in_axes=(1, 0, 1, 1, 0), out_axes=(1, 0)))
    assert_trees_close(mapped(*data, start), run(row, params, data, start)[:2])


@every_kind_in_sequence
def test_vmap_over_parameters(row):
    """An ensemble: the same data under several parameters."""
    data = problem(plain=True)
    members = [random_params(row.cell, seed=seed) for seed in range(2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    mapped = jax.vmap(lambda params: unroll_with(row.cell, params, data.xs, chunk_size=100)[0])
    for member, ys in zip(members, jax.jit(mapped)(stacked), strict=True):
        assert_trees_close(ys, reference(row, member, data)[0])


@few_kinds
@pytest.mark.parametrize("batch", [(), (2, 1, 2)], ids=str)
def test_any_batch_rank(row, batch):
    params, data = random_params(row.cell), problem(batch=batch)
    start = random_state(row.cell, params, batch)
    got = run(row, params, data, start)
    assert got[0].shape == (STEPS, *batch, HIDDEN)
    assert_trees_close(got, reference(row, params, data, start))


@pytest.mark.parametrize("executor", ["sequential", "scan"])
def test_empty_batch(executor):
    cell = seqjax.gru(HIDDEN)
    for chunk_size in (100, 3):
        xs = jnp.ones((STEPS, 0, IN))
        given = {"executor": executor, "chunk_size": chunk_size}
        ys, state = unroll_with(cell, random_params(cell), xs, **given)
        assert ys.shape == (STEPS, 0, HIDDEN)
    assert state.hidden.shape == (0, HIDDEN)


@every_backward_pass
def test_reverse_is_flip_forward_flip(row):
    params, data = random_params(row.cell), problem(plain=True)
    start = random_state(row.cell, params)
    ys, final, states = run(row, params, data, start, reverse=True)
    flipped = data._replace(xs=data.xs[::-1])
    flipped_ys, flipped_final, flipped_states = run(row, params, flipped, start)
    assert_trees_close(ys, flipped_ys[::-1])
    assert_trees_close(final, flipped_final)
    assert_trees_close(states, jax.tree.map(lambda leaf: leaf[::-1], flipped_states))


def reverse_padded(x, lengths):
    """Reverses each sequence in time and leaves its padding at the end."""
    turned = np.array(x)
    for index, length in np.ndenumerate(lengths):
        own = (slice(0, length), *index)
        turned[own] = turned[own][::-1].copy()
    return turned


@every_backward_pass
def test_reverse_starts_at_the_last_valid_step(row):
    params, data = random_params(row.cell), problem(plain=True)
    data = data._replace(lengths=problem().lengths)
    ys, final, _ = run(row, params, data, reverse=True)
    turned = data._replace(xs=reverse_padded(data.xs, data.lengths))
    turned_ys, turned_final, _ = run(row, params, turned)
    assert_trees_close(ys, reverse_padded(turned_ys, data.lengths))
    assert_trees_close(final, turned_final)


@every_step_both_ways
def test_two_chunks_equal_one_pass(row, reverse):
    """With the state carried over; a reset in the second goes to the cell's own initial state."""
    params, data = random_params(row.cell), problem()
    start = random_state(row.cell, params)
    data.resets[[1, 5], 0] = True
    data.lengths[0], data.mask[:, 0] = STEPS, True
    whole_ys, whole_final, _ = run(row, params, data, start, reverse=reverse)
    for cut in range(STEPS + 1):
        parts = [part(data, 0, cut), part(data, cut, STEPS)]
        ys, state = [None, None], start
        for index in (1, 0) if reverse else (0, 1):
            ys[index], state, _ = run(row, params, parts[index], state, reverse=reverse)
        joined = np.concatenate([ys[0][:cut], ys[1][: STEPS - cut]])
        assert_trees_close((joined, state), (whole_ys, whole_final))


def rounding(row):
    """By how much a step may change others that do not see it: Newton's iterations are shared."""
    return 1e-12 if row.executor == "newton" else 0


@every_step
def test_reset_forgets_everything_before_it(row):
    """Neither the past inputs, nor the initial state that was passed, reach beyond a reset."""
    params, data = random_params(row.cell), problem(plain=True)
    data.resets[3] = True
    ys = run(row, params, data, random_state(row.cell, params, seed=8))[0]
    other = data._replace(xs=np.concatenate([data.xs[:3] + 1, data.xs[3:]]))
    other_ys = run(row, params, other, random_state(row.cell, params, seed=9))[0]
    assert_trees_close(ys[3:], other_ys[3:], rtol=0, atol=rounding(row))
    assert (np.abs(ys[:3] - other_ys[:3]).max(axis=(1, 2)) > 1e-3).all()

    own = run(row, params, part(problem(plain=True), 3, STEPS))[0]
    assert_trees_close(ys[3:], own[:4])


@every_kind
def test_reset_at_a_masked_step_counts(row):
    params, data = random_params(row.cell), problem(plain=True)
    data.mask[3], data.resets[3] = False, True
    ys, _, states = run(row, params, data)
    initial = row.cell.initial_state(params, (BATCH,), jnp.float64)
    assert_trees_equal(jax.tree.map(lambda leaf: leaf[3], states), initial)
    assert_trees_close(ys[4:], run(row, params, part(problem(plain=True), 4, STEPS))[0][:3])


@few_kinds_in_sequence
@both_directions
def test_chunks_with_a_rest_are_equal(row, reverse):
    params, data = random_params(row.cell), problem()
    start = random_state(row.cell, params)
    expected = run(row, params, data, start, reverse=reverse)
    assert_trees_close(run(row, params, data, start, reverse=reverse, chunk_size=3), expected)


@pytest.mark.parametrize("chunk_size", [1, 7, 8])
def test_chunk_sizes_are_equal(chunk_size):
    """One by one, in one piece that just fits, and in one that is longer."""
    row = BY_NAME["gru"]
    params, data = random_params(row.cell), problem()
    expected = run(row, params, data)
    assert_trees_close(run(row, params, data, chunk_size=chunk_size), expected)


@both_directions
def test_chunks_without_a_rest(reverse):
    row, data = BY_NAME["gru"], problem(6)
    params = random_params(row.cell)
    got = run(row, params, data, reverse=reverse, chunk_size=3)
    assert_trees_close(got, reference(row, params, data, reverse=reverse))


@every_step
def test_states_are_consistent(row):
    params, data = random_params(row.cell), problem()
    start = random_state(row.cell, params)
    ys, final, states = run(row, params, data, start)
    assert type(states) is type(final) is type(start)
    assert_trees_equal(jax.tree.map(lambda leaf: leaf[-1], states), final)
    clean = jnp.asarray(np.where(data.valid[..., None], data.xs, 0))
    outputs = row.cell.output(row.cell.prepare(params), states, clean)
    outputs = np.where(data.valid[..., None], outputs, 0)
    assert_trees_close(ys, outputs)  # a compiler may fuse the product and the sum of a read-out


def test_return_states_is_opt_in():
    cell = seqjax.gru(HIDDEN)
    params, xs = random_params(cell), problem().xs
    with jax.disable_jit():
        assert len(unroll_with(cell, params, xs)) == 2
        assert len(unroll_with(cell, params, xs, return_states=True)) == 3


@both_directions
def test_no_steps(reverse):
    row, data = BY_NAME["lstm_learned"], problem(0)
    params = random_params(row.cell)
    start = random_state(row.cell, params)
    ys, final, states = run(row, params, data, start, reverse=reverse)
    assert ys.shape == states[0].shape == (0, BATCH, HIDDEN)
    assert_trees_equal(final, start)


@both_directions
def test_one_step(reverse):
    row, data = BY_NAME["lstm_learned"], problem(1)
    params = random_params(row.cell)
    start = random_state(row.cell, params)
    got = run(row, params, data, start, reverse=reverse)
    assert_trees_close(got, reference(row, params, data, start))


@few_kinds_in_sequence
def test_absent_arguments_equal_trivial_ones(row):
    """No lengths is all T, no mask is all True, no resets is none; one by one."""
    params, data = random_params(row.cell), problem(plain=True)
    expected = run(row, params, data)[:2]
    for given in ({}, {"lengths": data.lengths}, {"mask": data.mask}, {"resets": data.resets}):
        with jax.disable_jit():
            got = unroll_with(row.cell, params, data.xs, **given)
        assert_trees_close(got, expected)


@every_kind
def test_lengths_equal_the_mask_they_stand_for(row):
    params, data = random_params(row.cell), problem(plain=True)
    lengths = problem().lengths
    by_lengths = run(row, params, data._replace(lengths=lengths))
    mask = np.arange(STEPS)[:, None] < lengths
    assert_trees_equal(by_lengths, run(row, params, data._replace(mask=mask)))


def test_lists_and_numpy_arrays_are_taken():
    cell = seqjax.gru(HIDDEN)
    params, data = random_params(cell), problem(plain=True)
    lengths = [7, 0, 1, 6, 3]
    with jax.disable_jit():
        got = unroll_with(cell, params, data.xs, lengths=lengths, mask=data.mask.tolist())
        lengths = jnp.array(lengths, jnp.int8)
        expected = unroll_with(cell, params, jnp.asarray(data.xs), lengths=lengths)
    assert_trees_equal(got, expected)


def test_executors_are_equal():
    cell = seqjax.gru(HIDDEN)
    params, xs = random_params(cell), problem().xs
    with jax.disable_jit():
        plain = unroll_with(cell, params, xs, executor="scan")
        for executor in ("auto", "sequential"):
            assert_trees_equal(unroll_with(cell, params, xs, executor=executor), plain)


@every_step_both_ways
def test_causality(row, reverse):
    """A change at step t leaves the outputs before t (after t in reverse) as they were."""
    params, data = random_params(row.cell), problem(plain=True)
    ys = run(row, params, data, reverse=reverse)[0]
    for t in range(STEPS):
        xs = data.xs.copy()
        xs[t] += 0.5
        moved = np.abs(run(row, params, data._replace(xs=xs), reverse=reverse)[0] - ys)
        untouched = slice(t + 1, None) if reverse else slice(0, t)
        assert (moved[untouched] <= rounding(row)).all()
        assert moved[t].max() > 0


@every_step
def test_sequences_of_a_batch_do_not_meet(row):
    params, data = random_params(row.cell), problem(plain=True)
    xs = data.xs.copy()
    xs[:, 2] += 0.5
    moved = np.abs(run(row, params, data._replace(xs=xs))[0] - run(row, params, data)[0])
    assert (np.delete(moved, 2, axis=1) == 0).all()
    assert moved[:, 2].max() > 0
