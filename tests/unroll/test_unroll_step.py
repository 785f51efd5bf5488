"""A step with carried state equals `unroll`, for every cell."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import IN, every_form, random_params, random_state

import seqjax

_step = jax.jit(seqjax.step, static_argnums=0)
_unroll = jax.jit(functools.partial(seqjax.unroll, return_states=True), static_argnums=0)


@every_form
def test_equals_unroll(row):
    """Outputs and every state; one row for the whole batch, and from a state that is not zero."""
    params = random_params(row.cell, dtype=jnp.float32)
    xs = jnp.asarray(np.random.default_rng(0).normal(size=(5, 2, IN)), jnp.float32)
    start = random_state(row.cell, params, (2,), dtype=jnp.float32)
    ys, _, states = _unroll(row.cell, params, xs, initial_state=start)
    state = start
    for t, x in enumerate(xs):
        y, state = _step(row.cell, params, x, state)
        np.testing.assert_allclose(y, ys[t], rtol=2e-6, atol=1e-6)
        for leaf, expected in zip(state, states, strict=True):
            np.testing.assert_allclose(leaf, expected[t], rtol=2e-6, atol=1e-6)


def test_starts_by_itself():
    """Without a state a step starts from the cell's, a learned one too."""
    cell = seqjax.lstm(4, learned_initial_state=True)
    params = random_params(cell, dtype=jnp.float32)
    x = jnp.ones((2, IN))
    y, state = _step(cell, params, x, cell.initial_state(params, (2,)))
    first, first_state = seqjax.step(cell, params, x)
    np.testing.assert_allclose(first, y, atol=1e-6)
    np.testing.assert_allclose(first_state.cell, state.cell, atol=1e-6)
    zeros = jax.tree.map(jnp.zeros_like, first_state)
    assert np.abs(_step(cell, params, x, zeros)[0] - first).max() > 1e-3


def test_low_precision_keeps_its_state():
    cell = seqjax.gru(4)
    params = random_params(cell, dtype=jnp.float32)
    y, state = _step(cell, params, jnp.ones((1, IN), jnp.bfloat16))
    assert (y.dtype, state.hidden.dtype) == (jnp.bfloat16, jnp.float32)


def test_wrong_features():
    cell = seqjax.elman(4)
    with pytest.raises(ValueError, match="must have in_size = 3 features on its last axis"):
        seqjax.step(cell, random_params(cell, dtype=jnp.float32), jnp.ones((1, 5)))
