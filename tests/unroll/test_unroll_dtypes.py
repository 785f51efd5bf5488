"""Precision: what goes in, what comes out, and what is carried in between."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import (
    BATCH,
    HIDDEN,
    IN,
    STEPS,
    every_kind_in_sequence,
    every_step_in_sequence,
    random_params,
    unroll_with,
)

import seqjax

LOW = [jnp.bfloat16, jnp.float16]


def traced(cell, params, xs, **options):
    """Shapes and dtypes of an unroll, without running it."""
    return jax.eval_shape(
        functools.partial(unroll_with, cell, return_states=True, **options), params, xs
    )


def inputs(dtype):
    return jax.ShapeDtypeStruct((STEPS, BATCH, IN), dtype)


def dtypes(tree):
    """The dtypes of numbers; of complex ones that of a part."""
    numbers = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return {jnp.finfo(leaf.dtype).dtype for leaf in numbers}


@every_step_in_sequence
@pytest.mark.parametrize("dtype", [*LOW, jnp.float32, jnp.float64], ids=lambda d: d.__name__)
def test_outputs_follow_the_input(x64, row, dtype):
    """The carry is float32 or wider, whatever the dtype the parameters are stored in."""
    params = random_params(row.cell, dtype=jnp.bfloat16)
    ys, final, states = traced(row.cell, params, inputs(dtype))
    assert ys.dtype == dtype
    assert dtypes((final, states)) == {jnp.promote_types(dtype, jnp.float32)}
    assert ys.shape == (STEPS, BATCH, HIDDEN)


@every_kind_in_sequence
@pytest.mark.parametrize("carry", [*LOW, jnp.float32], ids=lambda d: d.__name__)
def test_carry_dtype_is_what_was_asked(row, carry):
    params = random_params(row.cell, dtype=jnp.float32)
    ys, final, states = traced(row.cell, params, inputs(jnp.bfloat16), carry_dtype=carry)
    assert ys.dtype == jnp.bfloat16
    # There are no complex numbers of two halves.
    carry = jnp.float32 if row.name == "lru" else carry
    assert dtypes((final, states)) == {jnp.dtype(carry)}


@every_kind_in_sequence
def test_dtype_overrides_the_input(row):
    params = random_params(row.cell, dtype=jnp.float32)
    ys, final, _ = traced(row.cell, params, inputs(jnp.float32), dtype=jnp.bfloat16)
    assert ys.dtype == jnp.bfloat16
    assert dtypes(final) == {jnp.dtype("float32")}
    tokens = jax.ShapeDtypeStruct((STEPS, BATCH, IN), jnp.int32)
    assert traced(row.cell, params, tokens, dtype=jnp.float32)[0].dtype == jnp.float32


@every_kind_in_sequence
def test_initial_state_is_cast_to_the_carry(row):
    params = random_params(row.cell, dtype=jnp.float32)
    start = row.cell.initial_state(params, (BATCH,), jnp.float16)
    final = traced(row.cell, params, inputs(jnp.bfloat16), initial_state=start)[1]
    assert dtypes(final) == {jnp.dtype("float32")}


@every_kind_in_sequence
def test_gradients_have_the_dtype_of_their_arguments(row):
    """Parameters stay in float32 while the products run in bfloat16."""
    params = random_params(row.cell, dtype=jnp.float32)

    def total(params, xs):
        return unroll_with(row.cell, params, xs)[0].astype(jnp.float32).sum()

    of_params, of_xs = jax.eval_shape(jax.grad(total, (0, 1)), params, inputs(jnp.bfloat16))
    assert dtypes(of_params) == {jnp.dtype("float32")}
    assert of_xs.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("make", "dtype"),
    [(seqjax.lstm, jnp.bfloat16), (seqjax.gru, jnp.float16)],
    ids=["lstm-bfloat16", "gru-float16"],
)
def test_low_precision_stays_close_over_500_steps(make, dtype):
    """Against float32 on the same rounded numbers: errors do not build up."""
    cell = make(8)
    low = random_params(cell, dtype=dtype)
    xs = jnp.asarray(np.random.default_rng(1).normal(size=(500, 4, IN)), dtype)

    @jax.jit
    def unrolled(params, xs):
        ys, state = unroll_with(cell, params, xs, chunk_size=500)
        return ys.astype(jnp.float32), state[-1]

    exact = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), low)
    low_ys, low_state = unrolled(low, xs)
    ys, state = unrolled(exact, xs.astype(jnp.float32))
    eps = float(jnp.finfo(dtype).eps)
    difference = np.abs(low_ys - ys)
    # Which products are summed in which order and precision is the processor's affair.
    assert 0 < difference.max() < 16 * eps
    assert np.abs(low_state - state).max() < 16 * eps
    # No drift: the last hundred steps are no worse than the first.
    assert difference[-100:].mean() < 1.5 * difference[:100].mean()


def test_carry_in_float32_keeps_what_bfloat16_would_lose():
    """A sum of 0.01 comes to 5 after 500 steps; in bfloat16 it stops moving at 4."""
    cell = seqjax.linear_cell(
        "running_sum",
        1,
        init=lambda key, in_size, dtype: (),
        coefficients=lambda params, x: (jnp.ones_like(x), x),
    )
    xs = jnp.full((500, 1), 0.01, jnp.bfloat16)
    kept = unroll_with(cell, (), xs)[1].hidden
    lost = unroll_with(cell, (), xs, carry_dtype=jnp.bfloat16)[1].hidden
    np.testing.assert_allclose(kept, 5, rtol=1e-2)
    assert lost <= 4
