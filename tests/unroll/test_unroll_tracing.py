"""One compile for one shape, and no tracer that survives its trace."""

import functools

import jax
import jax.numpy as jnp
import pytest
from cell_table import (
    KINDS,
    as_parameters,
    every_kind_in_sequence,
    only_inexact,
    problem,
    random_params,
    random_state,
    real,
)

import seqjax


def counted(cell, **options):
    """Returns a compiled unroll and the list that grows whenever it is traced."""
    traces = []

    @jax.jit
    def unrolled(params, xs, lengths):
        traces.append(xs.shape)
        return seqjax.unroll(cell, params, xs, lengths=lengths, **options)

    return unrolled, traces


@every_kind_in_sequence
def test_one_trace_for_one_shape(row):
    """New numbers, new lengths and new parameters are no reason to compile again."""
    unrolled, traces = counted(row.cell)
    for seed in range(3):
        data = problem(4, (2,), seed=seed)
        params = random_params(row.cell, seed=seed, dtype=jnp.float32)
        lengths = jnp.array([seed, 4 - seed], jnp.int32)
        unrolled(params, jnp.asarray(data.xs, jnp.float32), lengths)
    assert len(traces) == 1
    unrolled(params, jnp.ones((5, 2, 3)), lengths)
    assert len(traces) == 2


def test_cells_made_alike_can_be_static_arguments():
    """A cell is hashable, so `jit` can take it as a static argument."""
    calls = []

    @functools.partial(jax.jit, static_argnums=0)
    def unrolled(cell, params, xs):
        calls.append(cell)
        return seqjax.unroll(cell, params, xs)[0]

    cell = seqjax.gru(2)
    params = cell.init(jax.random.key(0), 3)
    for scale in (1.0, 2.0):
        unrolled(cell, params, jnp.full((4, 3), scale))
    assert calls == [cell]


@every_kind_in_sequence
def test_steps_traced_do_not_grow_with_time(row, monkeypatch):
    """The step is traced for the loop (and once for the rest), not once a time step."""
    calls, own = [], type(row.cell).step

    def step(*args):
        calls.append(1)
        return own(*args)

    monkeypatch.setattr(type(row.cell), "step", step)
    params = random_params(row.cell, dtype=jnp.float32)
    counts = []
    for steps in (20, 2000):
        calls.clear()
        xs = jax.ShapeDtypeStruct((steps, 3), jnp.float32)
        run = functools.partial(seqjax.unroll, row.cell, executor="scan")
        jax.eval_shape(run, params, xs)
        counts.append(len(calls))
    assert counts[0] >= counts[1] > 0


@pytest.mark.parametrize("row", as_parameters(KINDS, usual=("lstm_learned", "plain", "min_gru")))
def test_no_tracer_leaks(row):
    params = random_params(row.cell, dtype=jnp.float32)
    data = problem()
    start = random_state(row.cell, params, dtype=jnp.float32)

    def total(params, xs, start):
        xs, final = seqjax.unroll(
            row.cell,
            params,
            xs,
            initial_state=start,
            lengths=data.lengths,
            mask=data.mask,
            resets=data.resets,
        )
        return xs.sum() + real(final[0]).sum()

    xs = jnp.asarray(data.xs, jnp.float32)
    with jax.checking_leaks():
        gradient = jax.grad(total, (0, 1, 2), allow_int=True)
        jax.eval_shape(lambda *args: only_inexact(gradient(*args)), params, xs, start)
        jax.eval_shape(jax.vmap(functools.partial(total, params)), xs[None], _stack(start))


def _stack(tree):
    return jax.tree.map(lambda leaf: leaf[None], tree)


def test_memory_of_the_projection_is_bounded():
    """No temporary of all steps' gates: (T, B, gates * H) appears nowhere in the program."""
    cell = seqjax.lstm(16)
    params = random_params(cell, dtype=jnp.float32)
    xs = jax.ShapeDtypeStruct((64, 2, 3), jnp.float32)
    program = str(jax.make_jaxpr(functools.partial(seqjax.unroll, cell))(params, xs))
    assert "8,2,64]" in program
    assert "64,2,64]" not in program
