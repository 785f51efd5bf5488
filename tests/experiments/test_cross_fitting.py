"""Out-of-fold logits are those of fits that have not seen the text, or a copy of it."""

import numpy as np
import pytest

from experiments.imdb.cross_fitting import calibration, cross_fit, stacking_weights
from seqjax.floors import fit_naive_bayes_logistic


def texts(number, seed=0):
    """Texts of which word 2 or 3 tells the label, three times out of four."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, number)
    hints = np.where(rng.random(number) < 0.75, labels, 1 - labels)
    return [np.array([4 + rng.integers(30), 2 + h, 4 + rng.integers(30)]) for h in hints], labels


def test_accuracy_out_of_fold_is_that_on_new_texts():
    sequences, labels = texts(600)
    crossed = cross_fit(sequences, labels, order=2)
    out_of_fold = np.mean((crossed.out_of_fold > 0) == labels)
    new = crossed.model.accuracy(*texts(600, seed=1))
    assert abs(out_of_fold - new) < 0.06


def test_a_text_is_not_in_its_own_fit():
    # Every text has a word of its own, with which a fit that saw it would get it right.
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    sequences = [np.array([2 + i, 2 + i]) for i in range(200)]
    crossed = cross_fit(sequences, labels, order=1)
    assert np.ptp(crossed.out_of_fold) < 0.2


def test_copies_share_a_fold():
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.permutation(np.arange(40) % 2), 10)
    sequences = [np.array([2 + i // 10]) for i in range(400)]
    apart = cross_fit(sequences, labels, order=1)
    together = cross_fit(sequences, labels, order=1, groups=np.arange(400) // 10)
    assert np.mean((apart.out_of_fold > 0) == labels) > 0.9  # the copies give the label away
    assert np.mean((together.out_of_fold > 0) == labels) < 0.7


def test_the_whole_fit_is_the_plain_one():
    sequences, labels = texts(200)
    crossed = cross_fit(sequences, labels, order=2)
    plain = fit_naive_bayes_logistic(sequences, labels, 2)
    np.testing.assert_allclose(
        crossed.logits(sequences), crossed.scale * plain.logits(sequences), rtol=1e-4, atol=1e-5
    )


def test_calibration_gives_probabilities_that_hold():
    rng = np.random.default_rng(0)
    true = rng.normal(size=20_000) * 2
    labels = rng.random(true.size) < 1 / (1 + np.exp(-true))
    assert calibration(5 * true, labels) == pytest.approx(1 / 5, rel=0.05)


def test_calibration_keeps_the_sign_of_logits_that_are_always_wrong():
    assert 0 < calibration(np.array([1.0, -1.0]), np.array([0, 1])) < 1e-3


def test_a_fold_may_take_the_only_text_of_its_class():
    """The rest is of one class, from which only how frequent it is can be learnt."""
    sequences, labels = [np.array([2, 2])] * 5, np.array([1, 1, 1, 1, 0])
    found = cross_fit(sequences, labels, order=1, folds=5).out_of_fold
    assert found[4] > 0
    assert np.isfinite(found).all()


@pytest.mark.parametrize("folds", [1, 7])
def test_folds_are_checked(folds):
    sequences, labels = texts(6)
    with pytest.raises(ValueError, match="`folds` must lie between 2 and the number of groups, 6"):
        cross_fit(sequences, labels, order=1, folds=folds)


def test_stacking_ignores_what_says_nothing():
    rng = np.random.default_rng(0)
    true = rng.normal(size=20_000) * 2
    labels = rng.random(true.size) < 1 / (1 + np.exp(-true))
    logits = np.stack([2 * true, rng.normal(size=true.size)], axis=1)
    np.testing.assert_allclose(stacking_weights(logits, labels), [0.5, 0.0], atol=0.08)


def test_stacking_weighs_two_halves_of_the_truth():
    rng = np.random.default_rng(0)
    halves = rng.normal(size=(20_000, 2)) * 2
    labels = rng.random(len(halves)) < 1 / (1 + np.exp(-halves.sum(axis=1)))
    np.testing.assert_allclose(stacking_weights(halves, labels), [1, 1], rtol=0.06)


def test_stacking_shapes():
    with pytest.raises(ValueError, match=r"shape \(examples, models\)"):
        stacking_weights(np.zeros(3), np.zeros(3))
