import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqjax.data import DataError, RaggedSequences, ragged_batches


def numbered(lengths):
    """Sequence i holds i + 1 everywhere, its target is i."""
    inputs = [np.full((length, 2), i + 1.0, np.float32) for i, length in enumerate(lengths)]
    return RaggedSequences(inputs, np.arange(len(lengths)))


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=30),
    st.integers(1, 7),
    st.sampled_from([[20], [3, 20], [1, 5, 9, 20]]),
    st.booleans(),
)
def test_every_sequence_is_there_once_and_nothing_else_counts(lengths, size, buckets, shuffled):
    sequences = numbered(lengths)
    rng = np.random.default_rng(0) if shuffled else None
    batches = ragged_batches(sequences, size, buckets, rng)
    seen = []
    assert len(list(batches)) == len(batches)
    for batch in batches:
        assert batch.inputs.shape[0] == size
        assert batch.inputs.shape[1] in buckets
        for steps, target, weight, length in zip(*batch, strict=True):
            if weight:
                assert length == lengths[target]
                assert batch.inputs.shape[1] == min(b for b in buckets if b >= length)
                assert (steps[:length] == target + 1).all()
                seen.append(int(target))
            else:
                assert length == target == 0
            assert not steps[length:].any()
    assert sorted(seen) == list(range(len(lengths)))
    assert seen == batches.order.tolist()


def test_answers_that_are_sequences_and_ids():
    ids = [np.array([4, 5], np.int32), np.array([6], np.int32)]
    sequences = RaggedSequences(ids, np.array([[1, -1], [2, 3]]))
    (batch,) = ragged_batches(sequences, 3, [2])
    assert batch.inputs.tolist() == [[4, 5], [6, 0], [0, 0]]
    assert batch.inputs.dtype == np.int32
    assert batch.targets.tolist() == [[1, -1], [2, 3], [0, 0]]


def test_the_seed_decides_the_order():
    sequences = numbered([3] * 40)

    def order(seed):
        return ragged_batches(sequences, 4, [3], np.random.default_rng(seed)).order.tolist()

    assert order(1) == order(1) != order(2)


def test_moments_and_hash():
    sequences = numbered([2, 1])
    mean, std = sequences.moments()
    steps = np.concatenate(sequences.inputs)
    np.testing.assert_allclose(mean, steps.mean(0))
    np.testing.assert_allclose(std, steps.std(0), rtol=1e-6)
    assert numbered([3]).moments()[1].tolist() == [1, 1]
    assert sequences.sha256 == numbered([2, 1]).sha256 != numbered([1, 2]).sha256
    assert sequences.take(np.array([1])).inputs[0].tolist() == [[2, 2]]


def test_mistakes_are_named():
    with pytest.raises(DataError, match="at least one sequence, got none"):
        ragged_batches(RaggedSequences([], np.zeros(0)), 2, [3])
    with pytest.raises(ValueError, match="has length 5, the largest bucket holds 3"):
        ragged_batches(numbered([5]), 2, [3])
