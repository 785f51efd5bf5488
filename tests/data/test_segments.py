"""Segments: every pair counts once, streams go on, and nothing sees what it is to predict."""

import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.generate.pieces import sequence_segments
from seqjax import data


def joined(segments):
    """The streams as they were before they were cut: inputs, targets and weights, (B, L)."""
    return tuple(
        np.concatenate([getattr(segment, name) for segment in segments], axis=1)
        for name in ("inputs", "targets", "weights")
    )


@given(st.integers(2, 40), st.integers(1, 6), st.integers(1, 7), st.integers(0, 50))
def test_training_counts_every_pair_once_in_streams_that_go_on(size, streams, length, offset):
    ids = np.arange(size)
    segments = data.training_segments(ids, streams, length, offset=offset)
    assert {segment.inputs.shape for segment in segments} == {(streams, length)}
    assert [segment.starts.tolist() for segment in segments] == [
        [number == 0] * streams for number in range(len(segments))
    ]
    inputs, targets, weights = joined(segments)
    np.testing.assert_array_equal(inputs, targets - 1)
    assert collections.Counter(targets[weights > 0].tolist()) == dict.fromkeys(range(1, size), 1)
    for stream, counts in zip(targets, weights, strict=True):
        real = stream[counts > 0]
        assert ((np.diff(real) == 1) | (np.diff(real) == 2 - size)).all()
        assert (np.diff(counts) <= 0).all()  # filler stands at the end
    assert targets[0, 0] == 1 + offset % (size - 1)


@given(st.integers(2, 40), st.integers(1, 5), st.integers(1, 7), st.integers(0, 9), st.data())
def test_scoring_counts_every_id_of_a_part_once_after_its_past(size, streams, length, warm, draw):
    first = draw.draw(st.integers(1, size - 1))
    last = draw.draw(st.integers(first + 1, size))
    segments = data.scoring_segments(np.arange(size), first, last, streams, length, warm_up=warm)
    inputs, targets, weights = joined(segments)
    np.testing.assert_array_equal(inputs, targets - 1)
    counted = collections.Counter(targets[weights > 0].tolist())
    assert counted == dict.fromkeys(range(first, last), 1)
    for stream, counts in zip(targets, weights, strict=True):
        places = np.flatnonzero(counts)
        if len(places):
            assert places[0] == min(warm, first - 1)
            np.testing.assert_array_equal(np.diff(stream[: places[-1] + 1]), 1)


def test_streams_start_anew_as_often_as_they_are_told():
    rng = np.random.default_rng(0)
    segments = data.training_segments(np.arange(10_001), 10, 5, restart=0.2, rng=rng)
    assert segments[0].starts.all()
    assert np.mean([segment.starts for segment in segments[1:]]) == pytest.approx(0.2, abs=0.03)
    with pytest.raises(ValueError, match="`restart` needs `rng`"):
        data.training_segments(np.arange(9), 1, 2, restart=0.1)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 5), st.booleans())
def test_whole_sequences_are_batched_without_loss(lengths, batch_size, shuffled):
    sequences = [np.full((length, 2), i + 1.0) for i, length in enumerate(lengths)]
    rng = np.random.default_rng(0) if shuffled else None
    segments = sequence_segments(sequences, batch_size, [4, 9], rng)
    found = []
    for segment in segments:
        assert segment.inputs.shape[:1] == segment.starts.shape == (batch_size,)
        assert segment.inputs.shape[1] in (4, 9)
        assert segment.starts.all()
        np.testing.assert_array_equal(segment.inputs[:, 0], 0)
        for row, counts in zip(segment.targets, segment.weights, strict=True):
            length = int(counts.sum())
            np.testing.assert_array_equal(counts, np.arange(len(counts)) < length)
            if length:
                found.append((row[0, 0], length))
                assert (row[:length] == row[0, 0]).all()
    assert sorted(found) == [(i + 1.0, length) for i, length in enumerate(lengths)]
    for segment in segments:
        inside = segment.weights[:, 1:] > 0
        np.testing.assert_array_equal(
            segment.inputs[:, 1:][inside], segment.targets[:, :-1][inside]
        )


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: data.training_segments(np.arange(5), 0, 2),
            ValueError,
            "`num_streams` must be an integer of at least 1, got 0",
        ),
        (lambda: data.training_segments(np.arange(1), 1, 2), data.DataError, "at least two ids"),
        (
            lambda: data.scoring_segments(np.arange(5), 0, 3, 1, 2, warm_up=0),
            ValueError,
            "`first` must be an integer of at least 1, got 0",
        ),
        (lambda: sequence_segments([], 1, [2]), data.DataError, "at least one sequence"),
        (lambda: sequence_segments([np.ones((2, 1))], 0, [2]), ValueError, "got 0"),
        (
            lambda: sequence_segments([np.ones((3, 1))], 1, [2]),
            ValueError,
            "sequence 0 has length 3, the largest bucket holds 2",
        ),
    ],
)
def test_mistakes_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
