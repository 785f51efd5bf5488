"""The loss of a linear read-out over many classes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.nn._cross_entropy import linear_cross_entropy

OUTPUTS, TABLE, BIAS = jnp.zeros((4, 2)), jnp.ones((4, 2)), jnp.zeros(4)
STRANGE = jnp.array([0, 3, 4, -1])


def test_a_target_out_of_range_is_refused():
    """It was read as the last class."""
    with pytest.raises(ValueError, match=r"`targets` must lie in 0 ... V - 1 = 3, got values from"):
        linear_cross_entropy(OUTPUTS, TABLE, BIAS, STRANGE)
    with pytest.raises(ValueError, match=r"`targets` must have shape \(...\) = \(4,\), got \(2,\)"):
        linear_cross_entropy(OUTPUTS, TABLE, BIAS, STRANGE[:2])


def test_a_target_out_of_range_gives_nan_under_jit():
    for values in jax.jit(linear_cross_entropy)(OUTPUTS, TABLE, BIAS, STRANGE):
        assert np.isnan(values).tolist() == [False, False, True, True]
