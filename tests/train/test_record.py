"""Hashes, versions and intervals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments.summary import devices, versions
from seqjax.train._record import interval, params_sha256, summarise


@pytest.mark.parametrize("values", [[1.0, 2.0], [0.81, 0.84, 0.79], list(np.arange(10) ** 2.0)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_interval_is_scipys(values, confidence):
    mean, (low, high) = interval(values, confidence)
    expected = stats.t.interval(
        confidence, len(values) - 1, loc=np.mean(values), scale=stats.sem(values)
    )
    np.testing.assert_allclose([mean, low, high], [np.mean(values), *expected], rtol=1e-12)


def test_interval_covers_at_three_seeds():
    draws = np.random.default_rng(0).normal(size=(2000, 3))
    covered = [low <= 0 <= high for _, (low, high) in map(interval, draws)]
    assert 0.93 < np.mean(covered) < 0.97


def test_interval_of_one_or_none():
    assert interval([0.5]) == (0.5, [None, None])
    with pytest.raises(ValueError, match=r"got 0 values"):
        interval([])
    with pytest.raises(ValueError, match=r"confidence 1\.0"):
        interval([1.0, 2.0], confidence=1.0)


def test_summarise():
    got = summarise([jnp.float32(0.5), 1])
    assert got["mean"] == 0.75
    assert got["per_seed"] == [0.5, 1.0]
    assert got["ci95"][0] < 0.5 < 1.0 < got["ci95"][1]


def test_hash_tells_every_difference():
    base = {"a": np.arange(4, dtype=np.float32), "b": np.zeros(())}
    others = [
        {"a": base["a"].reshape(2, 2), "b": base["b"]},
        {"a": base["a"].view(np.int32), "b": base["b"]},
        {"c": base["a"], "b": base["b"]},
        {"a": np.nextafter(base["a"], 9, dtype=np.float32), "b": base["b"]},
        {"a": base["a"]},
    ]
    hashes = {params_sha256(tree) for tree in (base, *others)}
    assert len(hashes) == 6
    assert params_sha256(dict(reversed(base.items()))) == params_sha256(base)
    assert params_sha256(jax.tree.map(jnp.float32, base)) != params_sha256(base)
    assert params_sha256(jax.tree.map(jnp.asarray, {"a": base["a"]})) == params_sha256(others[4])


def test_hash_of_a_key():
    assert params_sha256(jax.random.key(0)) != params_sha256(jax.random.key(1))


def test_versions_and_devices():
    assert {"python", "jax", "jaxlib", "flax", "optax", "numpy", "seqjax"} == set(versions())
    assert devices() == {"platform": "cpu", "kind": "cpu", "count": 2}
