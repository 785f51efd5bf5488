"""Token embeddings and their dropouts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seqjax.nn import Embedding
from seqjax.nn._embedding import pair_buckets

TOKENS = jnp.asarray(np.random.default_rng(0).integers(1, 50, (6, 40)))


def embedding(**options):
    """A table of ones, so that what is dropped shows."""
    options = {"table": np.ones((50, 8))} | options
    return Embedding(50, 8, rngs=nnx.Rngs(0), **options)


def test_looks_rows_up():
    table = np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32)
    embed = embedding(table=table)
    np.testing.assert_array_equal(embed(TOKENS), table[np.asarray(TOKENS)])
    np.testing.assert_array_equal(embed(TOKENS[0]), table[np.asarray(TOKENS[0])])


def test_gradient_is_counted_at_each_use():
    embed = embedding()
    grads = nnx.grad(lambda embed: embed(jnp.array([[3, 3, 7]])).sum())(embed)
    expected = np.zeros((50, 8))
    expected[3], expected[7] = 2, 1
    np.testing.assert_array_equal(grads.table[...], expected)


def test_random_table_follows_the_key():
    one, again, other = (Embedding(50, 8, rngs=nnx.Rngs(k)).table[...] for k in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.01
    assert 0.01 < one.std() < 0.2


def test_no_dropout_without_a_key():
    embed = embedding(dropout=0.5, token_dropout=0.5)
    assert (embed(TOKENS) == 1).all()


def test_dropout_drops_a_feature_from_all_steps_alike():
    ys = np.asarray(embedding(dropout=0.5)(TOKENS, key=jax.random.key(0)))
    assert set(np.unique(ys)) == {0.0, 2.0}
    assert (ys == ys[:, :1]).all()
    assert 0.2 < (ys[:, 0] == 0).mean() < 0.8
    assert len(np.unique(ys[:, 0], axis=0)) > 1


def test_token_dropout_drops_whole_vectors():
    ys = np.asarray(embedding(token_dropout=0.25)(TOKENS, key=jax.random.key(0)))
    assert set(np.unique(ys)) == {0.0, np.float32(1 / 0.75)}
    dropped = ys == 0
    assert (dropped == dropped[..., :1]).all()
    assert 0.15 < dropped[..., 0].mean() < 0.35


def test_dropouts_follow_the_key():
    embed = embedding(dropout=0.3, token_dropout=0.3)
    one, again, other = (embed(TOKENS, key=jax.random.key(k)) for k in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_pair_features_are_appended():
    """The same token after another one has the same vector and another pair."""
    embed = Embedding(50, 8, pair_features=4, pair_buckets=1000, rngs=nnx.Rngs(0))
    assert embed.features == 12
    ys = np.asarray(embed(jnp.array([[5, 7, 9, 7]])))
    assert ys.shape == (1, 4, 12)
    np.testing.assert_array_equal(ys[0, :, :8], np.asarray(embed.table[...])[[5, 7, 9, 7]])
    assert (ys[0, 1, 8:] != ys[0, 3, 8:]).any()
    buckets = np.asarray(pair_buckets(jnp.array([[5, 7, 9, 7]]), 1000))
    np.testing.assert_array_equal(ys[..., 8:], np.asarray(embed.pair_table[...])[buckets])


def test_pair_buckets_depend_on_both_tokens_in_order():
    tokens = jnp.asarray(np.random.default_rng(0).integers(0, 5000, (200, 50)))
    buckets = np.asarray(pair_buckets(tokens, 4096))
    assert buckets.min() >= 0
    assert buckets.max() < 4096
    # About as even as chance: no bucket of 10,000 pairs over 4,096 holds more than a few.
    assert np.bincount(buckets.ravel()).max() < 20
    swapped = np.asarray(pair_buckets(tokens.at[:, :2].set(tokens[:, 1::-1]), 4096))
    assert (swapped[:, 1] != buckets[:, 1]).mean() > 0.95


def test_table_of_another_shape():
    with pytest.raises(ValueError, match=r"\(vocab_size, features\) = \(50, 8\), got \(8, 50\)"):
        embedding(table=np.ones((8, 50)))


@pytest.mark.parametrize("kind", [np.array, jnp.array], ids=["numpy", "jax"])
def test_ids_out_of_range_are_refused(kind):
    """They were read as the last and the first row."""
    with pytest.raises(ValueError, match=r"0 ... vocab_size - 1 = 49, got values from -1 to 99"):
        embedding()(kind([10, 99, -1]))


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.int32, jnp.uint8], ids=lambda d: d.__name__)
def test_ids_out_of_range_under_jit_give_nan(dtype):
    embed = embedding(pair_features=2)
    ids = jnp.array([49, 50, 0, -1]).astype(dtype)
    ys = nnx.jit(lambda embed, ids: embed(ids))(embed, ids)
    assert np.isnan(ys[:, :8]).all(axis=1).tolist() == [False, True, False, True]
    grads = nnx.jit(nnx.grad(lambda embed, ids: jnp.nansum(embed(ids)[:, :8])))(embed, ids)
    np.testing.assert_array_equal(grads.table[...].sum(axis=1), np.eye(50)[[0, 49]].sum(axis=0) * 8)


def test_tokens_not_integers():
    with pytest.raises(TypeError, match="`tokens` must be integers, got float32"):
        embedding()(jnp.ones((2, 3)))
