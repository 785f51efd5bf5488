"""Hashes, versions and intervals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments.intervals import interval, summarise, without_interval
from experiments.summary import devices, versions
from seqjax.train._record import params_sha256


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


def test_interval_ends_at_the_bounds():
    """Found on an accuracy whose interval went to 1.00005, and a likelihood's below 0."""
    assert interval([0.998, 1.0], bounds=(0, 1))[1][1] == 1
    mean, (low, high) = interval([0.0004, 0.0034], bounds=(0, np.inf))
    assert (low, high) == (0, pytest.approx(interval([0.0004, 0.0034])[1][1]))
    assert mean == pytest.approx(0.0019)
    inside = [0.5, 0.52, 0.51]
    assert interval(inside, bounds=(0, 1)) == interval(inside)
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], got \[0.5, 1.5\]"):
        interval([0.5, 1.5], bounds=(0, 1))


def test_the_bounds_cost_no_coverage():
    """Accuracies near 1, whose unbounded interval often ends above 1."""
    draws = np.random.default_rng(0).beta(300, 2, size=(4000, 3))
    truth, covered, plain = 300 / 302, [], []
    for values in draws:
        low, high = interval(values, bounds=(0, 1))[1]
        covered.append(low <= truth <= high <= 1)
        low, high = interval(values)[1]
        plain.append(low <= truth <= high)
    assert covered == plain
    assert np.mean(covered) > 0.9


def test_without_interval():
    assert without_interval([1, 2]) == {"mean": 1.5, "ci95": [None, None], "per_seed": [1.0, 2.0]}


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
