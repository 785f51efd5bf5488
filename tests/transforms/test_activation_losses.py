"""Activation regularisers know padding, masks and resets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.nn import activation_loss, temporal_activation_loss

YS = np.random.default_rng(0).normal(size=(3, 5, 2))
LENGTHS = np.array([5, 0, 3])
MASK = np.ones((3, 5), bool)
MASK[0, 2] = False
RESETS = np.zeros((3, 5), bool)
RESETS[2, 1] = True


def test_they_equal_a_loop_over_valid_steps():
    squares, changes = [], []
    for b in range(3):
        for t in range(LENGTHS[b]):
            if MASK[b, t]:
                squares.append(YS[b, t] ** 2)
            if t and MASK[b, t] and MASK[b, t - 1] and not RESETS[b, t]:
                changes.append((YS[b, t] - YS[b, t - 1]) ** 2)
    valid = {"lengths": jnp.asarray(LENGTHS), "mask": jnp.asarray(MASK)}
    ys = jnp.asarray(YS, jnp.float32)
    np.testing.assert_allclose(activation_loss(ys, **valid), np.mean(squares), rtol=1e-6)
    got = temporal_activation_loss(ys, **valid, resets=jnp.asarray(RESETS))
    np.testing.assert_allclose(got, np.mean(changes), rtol=1e-6)


def test_padding_reaches_neither_the_loss_nor_the_gradient():
    ys = jnp.asarray(YS, jnp.float32)
    spoilt = ys.at[1].set(jnp.nan).at[2, 3:].set(jnp.inf)

    def both(ys):
        lengths = jnp.asarray(LENGTHS)
        return activation_loss(ys, lengths=lengths) + temporal_activation_loss(ys, lengths=lengths)

    (value, gradient), (clean, _) = (jax.value_and_grad(both)(each) for each in (spoilt, ys))
    np.testing.assert_array_equal(value, clean)
    assert np.isfinite(gradient).all()
    assert (np.asarray(gradient)[1] == 0).all()


def test_no_valid_step_costs_nothing():
    nothing = {"lengths": jnp.zeros(3, int)}
    assert float(activation_loss(jnp.asarray(YS), **nothing)) == 0
    assert float(temporal_activation_loss(jnp.asarray(YS), **nothing)) == 0


def test_a_mask_in_another_shape_is_refused():
    with pytest.raises(
        ValueError, match=r"`mask` must have shape \(B, T\) = \(3, 5\), got \(5, 3\)"
    ):
        activation_loss(jnp.asarray(YS), mask=MASK.T)
    with pytest.raises(ValueError, match=r"`resets` must have shape \(B, T\)"):
        temporal_activation_loss(jnp.asarray(YS), resets=RESETS.T)
