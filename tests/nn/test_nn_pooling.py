"""Pooling over time, against NumPy loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from seqjax.nn import Pooling
from seqjax.nn._pooling import POOLINGS, masked_last, masked_max, masked_mean

B, T, D = 5, 4, 3
XS = np.random.default_rng(0).normal(size=(B, T, D)).astype(np.float32)
# A full sequence, an empty one, a single step, a hole, and padding in front.
MASK = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1]], bool)


def pooling(kind):
    module = Pooling(kind, D, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(1)
    state = nnx.state(module, nnx.Param)
    random = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), state)
    nnx.update(module, random)
    return module


def loop(module, xs, mask):
    """One sequence after the other, its valid steps alone."""
    rows = []
    for sequence, valid in zip(xs, mask, strict=True):
        steps = sequence[valid].astype(np.float64)
        if not len(steps):
            rows.append(np.zeros(module.out_size))
            continue
        match module.kind:
            case "last":
                rows.append(steps[-1])
            case "middle":
                rows.append(steps[len(steps) // 2])
            case "mean":
                rows.append(steps.mean(axis=0))
            case "max":
                rows.append(steps.max(axis=0))
            case "mean_max":
                rows.append(np.concatenate([steps.mean(axis=0), steps.max(axis=0)]))
            case "attention":
                kernel, bias, score = (
                    np.asarray(p[...])
                    for p in (module.hidden.kernel, module.hidden.bias, module.score.kernel)
                )
                weights = np.exp(np.tanh(steps @ kernel + bias) @ score)
                rows.append((weights * steps).sum(axis=0) / weights.sum())
    return np.stack(rows)


@pytest.mark.parametrize("kind", POOLINGS)
def test_equals_a_loop(kind):
    module = pooling(kind)
    got = np.asarray(module(jnp.asarray(XS), jnp.asarray(MASK)))
    assert got.shape == (B, module.out_size)
    np.testing.assert_allclose(got, loop(module, XS, MASK), rtol=1e-5, atol=1e-6)
    assert (got[1] == 0).all()


@pytest.mark.parametrize("kind", POOLINGS)
def test_padding_changes_no_value_and_no_gradient(kind):
    """NaN and infinities in the padding, also of a sequence that is nothing but padding."""
    module = pooling(kind)

    @nnx.jit
    def run(module, xs):
        def loss(module, xs):
            out = module(xs, jnp.asarray(MASK))
            return (out**2).sum(), out

        return nnx.value_and_grad(loss, argnums=(0, 1), has_aux=True)(module, xs)

    clean = run(module, jnp.where(MASK[..., None], XS, 0))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(clean))
    of_xs = np.asarray(clean[1][1])
    assert (of_xs[~MASK] == 0).all()
    assert (np.abs(of_xs[MASK]).max(axis=-1) > 0).any()
    for fill in (np.nan, np.inf, -np.inf, 1e30):
        dirty = run(module, jnp.where(MASK[..., None], XS, fill))
        for a, b in zip(jax.tree.leaves(clean), jax.tree.leaves(dirty), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", POOLINGS)
def test_any_batch_rank(kind):
    module = pooling(kind)
    expected = loop(module, XS, MASK)
    single = module(jnp.asarray(XS[0]), jnp.asarray(MASK[0]))
    np.testing.assert_allclose(single, expected[0], rtol=1e-5, atol=1e-6)
    nested = module(jnp.asarray(XS[:, None]), jnp.asarray(MASK[:, None]))
    np.testing.assert_allclose(nested, expected[:, None], rtol=1e-5, atol=1e-6)


def test_max_of_negative_numbers():
    """The padding's zero would win over them."""
    xs = -1 - jnp.arange(6.0).reshape(1, 3, 2)
    mask = jnp.array([[True, True, False]])
    np.testing.assert_array_equal(masked_max(xs, mask), [[-1.0, -2.0]])


@pytest.mark.parametrize("pool", [masked_mean, masked_max, masked_last])
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_dtype_is_kept(pool, dtype):
    xs, mask = jax.ShapeDtypeStruct((2, 3, 4), dtype), jax.ShapeDtypeStruct((2, 3), bool)
    assert jax.eval_shape(pool, xs, mask).dtype == dtype


@settings(max_examples=30)
@given(
    mask=st.lists(st.booleans(), min_size=B * T, max_size=B * T),
    kind=st.sampled_from(POOLINGS),
    seed=st.integers(0, 99),
)
def test_any_mask_equals_a_loop(mask, kind, seed):
    mask = np.array(mask).reshape(B, T)
    xs = np.random.default_rng(seed).normal(size=(B, T, D)).astype(np.float32)
    module = pooling(kind)
    got = module(jnp.asarray(np.where(mask[..., None], xs, np.nan)), jnp.asarray(mask))
    np.testing.assert_allclose(got, loop(module, xs, mask), rtol=1e-4, atol=1e-5)


def test_unknown_kind():
    kinds = "last, middle, mean, max, mean_max, attention"
    with pytest.raises(ValueError, match=f"one of {kinds}, got 'sum'"):
        Pooling("sum", D, rngs=nnx.Rngs(0))
