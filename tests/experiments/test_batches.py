import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.batches import bucket_lengths, bucketed_batches, truncate

lengths_of = st.lists(st.integers(0, 30), max_size=40)


def numbered(lengths):
    """Sequences whose every token and label tells their number."""
    return [np.full(length, index + 1) for index, length in enumerate(lengths)]


@given(
    lengths=lengths_of,
    batch_size=st.integers(1, 9),
    bounds=st.sets(st.integers(1, 29), max_size=4),
    seed=st.none() | st.integers(0, 99),
)
def test_every_example_once_in_its_bucket(lengths, batch_size, bounds, seed):
    bounds = [*sorted(bounds), 30]
    labels = np.arange(len(lengths)) + 1
    rng = None if seed is None else np.random.default_rng(seed)
    batches = bucketed_batches(
        numbered(lengths), labels, batch_size, bounds, rng=rng, offsets=labels / 2
    )
    seen = []
    for batch in batches:
        assert batch.tokens.shape in {(batch_size, bound) for bound in bounds}
        assert (batch.tokens.dtype, batch.lengths.dtype) == (np.int32, np.int32)
        assert (batch.labels.dtype, batch.weights.dtype) == (np.int32, np.float32)
        assert batch.offsets.dtype == np.float32
        assert batch.weights.any()
        for tokens, length, label, weight, offset in zip(*batch, strict=True):
            assert offset == label / 2
            if weight == 0:
                assert not tokens.any()
                assert length == label == 0
                continue
            assert weight == 1
            seen.append(int(label))
            assert length == lengths[label - 1]
            assert (tokens[:length] == label).all()
            assert not tokens[length:].any()
            assert len(tokens) == next(bound for bound in bounds if bound >= length)
    assert sorted(seen) == labels.tolist()


def test_order_is_given_or_drawn():
    sequences, labels = numbered([1] * 50), np.arange(50)

    def order(seed):
        rng = None if seed is None else np.random.default_rng(seed)
        batches = bucketed_batches(sequences, labels, 5, [1], rng=rng)
        return np.concatenate([batch.labels for batch in batches]).tolist()

    assert order(None) == list(range(50))
    assert order(1) == order(1) != order(2)


def test_offsets_are_zero_unless_given():
    (batch,) = bucketed_batches(numbered([1, 2]), [1, 1], 2, [2], rng=None)
    assert batch.offsets.tolist() == [0, 0]


def test_no_sequences_no_batches():
    assert bucketed_batches([], [], 4, [8], rng=None) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [1, 0]}, r"`labels` must have shape \(1,\)"),
        ({"offsets": np.zeros(2)}, "`offsets`"),
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1, got 0"),
        ({"bucket_lengths": []}, "must be positive and rising"),
        ({"bucket_lengths": [4, 4]}, r"must be positive and rising, got \[4, 4\]"),
        ({"bucket_lengths": [0, 4]}, "must be positive and rising"),
        ({"bucket_lengths": [2]}, "sequence 0 has length 3, the largest bucket holds 2"),
    ],
)
def test_mistakes_are_named(changes, message):
    arguments = {"labels": [1], "batch_size": 2, "bucket_lengths": [4], **changes}
    with pytest.raises(ValueError, match=message):
        bucketed_batches([np.ones(3, int)], **arguments, rng=None)


@pytest.mark.parametrize(
    ("keep", "expected"), [("first", [0, 1, 2]), ("last", [4, 5, 6]), ("both", [0, 1, 6])]
)
def test_truncate(keep, expected):
    assert truncate(np.arange(7), 3, keep).tolist() == expected
    assert truncate(np.arange(7), 1, keep).tolist() == [expected[0] if keep != "last" else 6]
    assert truncate(np.arange(3), 3, keep).tolist() == [0, 1, 2]
    assert truncate(np.arange(0), 3, keep).tolist() == []


def test_truncate_mistakes():
    with pytest.raises(ValueError, match="`max_length` must be an integer of at least 1, got 0"):
        truncate(np.arange(3), 0)
    with pytest.raises(ValueError, match="`keep` must be one of first, last, both, got 'end'"):
        truncate(np.arange(3), 2, "end")


@given(st.lists(st.integers(0, 300), min_size=1), st.integers(1, 6), st.integers(1, 16))
def test_bucket_lengths_hold_everything(lengths, num_buckets, multiple):
    bounds = bucket_lengths(lengths, num_buckets, multiple)
    assert 1 <= len(bounds) <= num_buckets
    assert bounds == sorted(set(bounds))
    assert all(bound > 0 and bound % multiple == 0 for bound in bounds)
    assert max(lengths) <= bounds[-1] < max(max(lengths), 1) + multiple


def test_bucket_lengths_share_the_sequences():
    assert bucket_lengths(np.arange(1, 401), 4, multiple=1) == [100, 200, 300, 400]


@pytest.mark.parametrize("arguments", [([], 2, 8), ([1], 0, 8), ([1], 2, 0)])
def test_bucket_lengths_mistakes(arguments):
    with pytest.raises(ValueError, match=r"of at least 1|at least one length"):
        bucket_lengths(*arguments)
