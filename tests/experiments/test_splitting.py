import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.splitting import split_validation, text_hashes
from seqjax.data import DataError


@given(st.integers(10, 60), st.integers(10, 60), st.floats(0.1, 0.9), st.integers(0, 9))
def test_sides_are_disjoint_complete_and_stratified(negatives, positives, fraction, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat([0, 1], [negatives, positives]))
    train, validation = split_validation(labels, fraction, seed)
    assert sorted([*train, *validation]) == list(range(labels.size))
    for label, number in ((0, negatives), (1, positives)):
        assert abs((labels[validation] == label).sum() - fraction * number) <= 0.5 + 1e-9


@settings(max_examples=30)
@given(st.lists(st.integers(0, 30), min_size=30, max_size=60), st.integers(0, 9))
def test_copies_stay_on_one_side(texts, seed):
    groups = text_hashes([str(text) for text in [*texts, 98, 99, 98, 99]])
    labels = np.array([text % 2 for text in texts] + [0, 1, 0, 1])
    try:
        train, validation = split_validation(labels, 0.3, seed, groups=groups)
    except DataError:
        assert min(np.unique(groups[labels == label]).size for label in (0, 1)) < 6
        return
    assert not set(groups[train]) & set(groups[validation])


def test_the_seed_decides():
    labels = np.repeat([0, 1], 50)
    first, again, other = (split_validation(labels, 0.2, seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert first.tolist() != other.tolist()


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="`fraction` must be between 0 and 1, exclusive, got 1"):
        split_validation([0, 1], 1, 0)
    with pytest.raises(ValueError, match=r"must have one shape \(examples,\), got \(2,\) and \(1,"):
        split_validation([0, 1], 0.5, 0, groups=np.array([1]))
    with pytest.raises(DataError, match="validation side would lack a label: 4 examples"):
        split_validation([0, 0, 1, 1], 0.1, 0)
    with pytest.raises(DataError, match="side would lack a label"):
        split_validation([0, 1], 0.6, 0)
    with pytest.raises(DataError, match="side would lack a label"):
        split_validation([], 0.6, 0)
