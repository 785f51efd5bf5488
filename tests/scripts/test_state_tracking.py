"""The tasks of the state-tracking script, against a loop over single sequences."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import state_tracking


@pytest.mark.parametrize(("name", "order"), [("parity", 2), ("sum_mod_5", 5)])
def test_sums(name, order):
    task = state_tracking.TASKS[name]
    lengths = np.array([3, 8, 5])
    batch = task.draw(np.random.default_rng(0), lengths, 8)
    np.testing.assert_array_equal(batch.targets, batch.tokens.cumsum(1) % order)
    np.testing.assert_array_equal(batch.trained.sum(1), lengths)
    np.testing.assert_array_equal(batch.tested.argmax(1), lengths - 1)
    np.testing.assert_array_equal(batch.tested.sum(1), 1)
    assert task.chance == 1 / order


def test_s3_is_a_group_that_does_not_commute():
    product = state_tracking.symmetric()
    np.testing.assert_array_equal(product[0], range(6))
    np.testing.assert_array_equal(product[:, 0], range(6))
    np.testing.assert_array_equal(product[product], product[:, product])  # (ab)c = a(bc)
    np.testing.assert_array_equal(np.sort(product, axis=1), [range(6)] * 6)
    assert (product != product.T).any()


def test_selective_copying():
    lengths = np.array([9, 20, 13])
    batch = state_tracking.selective_copying(np.random.default_rng(0), lengths, 24)
    for tokens, targets, tested, length in zip(
        batch.tokens, batch.targets, batch.tested, lengths, strict=True
    ):
        given = tokens[: length - 4]
        assert (given != 9).all()
        np.testing.assert_array_equal(given[given < 8], targets[tested])
        np.testing.assert_array_equal(np.flatnonzero(tested), np.arange(length - 4, length))
        np.testing.assert_array_equal(tokens[tested], 9)
        np.testing.assert_array_equal(tokens[length:], 8)
