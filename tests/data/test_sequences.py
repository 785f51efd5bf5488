"""Sequences, their windows and their batches: nothing lost, nothing counted twice."""

import numpy as np
import pytest

from seqjax import data


def numbered(count, every_step=False):
    inputs = np.arange(count * 6, dtype=np.float32).reshape(count, 3, 2)
    targets = inputs if every_step else inputs[:, -1]
    return data.make_sequences(inputs, targets, every_step=every_step)


@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize("count", [1, 4, 5, 8])
def test_batches_hold_every_sequence_once(count, every_step):
    sequences = numbered(count, every_step)
    batches = data.sequence_batches(sequences, 4, np.random.default_rng(0))
    rows = list(batches)
    assert len(batches) == len(rows) == -(-count // 4)
    assert {row.inputs.shape for row in rows} == {(4, 3, 2)}
    assert {row.weights.shape for row in rows} == {(4, 3) if every_step else (4,)}
    real = np.concatenate([row.lengths for row in rows]) > 0
    seen = np.concatenate([row.inputs for row in rows])[real]
    assert sorted(seen[:, 0, 0].tolist()) == sequences.inputs[:, 0, 0].tolist()
    assert sum(row.weights.sum() for row in rows) == sequences.weights.sum()
    assert not np.concatenate([row.weights for row in rows])[~real].any()


def test_batches_keep_the_order_or_draw_it():
    kept = np.concatenate([b.inputs[:, 0, 0] for b in data.sequence_batches(numbered(8), 4)])
    assert kept.tolist() == sorted(kept)
    drawn = [
        np.concatenate([b.inputs[:, 0, 0] for b in data.sequence_batches(numbered(8), 4, rng)])
        for rng in map(np.random.default_rng, (1, 1, 2))
    ]
    assert drawn[0].tolist() == drawn[1].tolist() != drawn[2].tolist()


def test_sha256_is_of_the_content():
    same = [numbered(2000).sha256, numbered(2000).sha256]
    assert same[0] == same[1]
    other = numbered(2000)
    other.inputs[1999, 2, 1] += 1
    assert other.sha256 != same[0]


def test_forecast_windows():
    series = np.arange(40.0).reshape(20, 2)
    windows = data.forecast_windows(series, 5, 3, stride=2)
    assert windows.inputs.shape == (7, 5, 2)
    assert windows.targets.shape == (7, 3, 2)
    for i in range(7):
        np.testing.assert_array_equal(windows.inputs[i], series[2 * i : 2 * i + 5])
        np.testing.assert_array_equal(windows.targets[i], series[2 * i + 5 : 2 * i + 8])
    one = data.forecast_windows(series, 5, 3, columns=[1])
    np.testing.assert_array_equal(one.targets[0], series[5:8, 1:])
    assert len(data.forecast_windows(series, 17, 3).inputs) == 1


def test_next_step_windows():
    traces = [np.random.default_rng(i).normal(size=(25, 2)) for i in range(2)]
    windows = data.next_step_windows(traces, 6, 4)
    wanted = [(trace[s : s + 6], trace[s + 1 : s + 7]) for trace in traces for s in range(0, 19, 4)]
    np.testing.assert_array_equal(windows.inputs, [pair[0] for pair in wanted])
    np.testing.assert_array_equal(windows.targets, [pair[1] for pair in wanted])
    assert windows.weights.shape == (10, 6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.make_sequences(np.ones((3, 2)), np.ones(3)), r"must have shape \(B, T, D\)"),
        (lambda: data.make_sequences(np.ones((3, 2, 1)), np.ones(4)), r"axes \(3,\) of `inputs`"),
        (
            lambda: data.make_sequences(np.ones((3, 2, 1)), np.ones(3), weights=np.ones(2)),
            r"must have shapes \(3,\) and \(3,\), got \(2,\)",
        ),
        (
            lambda: data.sequence_batches(numbered(2), 0),
            "`batch_size` must be an integer of at least 1, got 0",
        ),
        (
            lambda: data.sequence_batches(numbered(2).take(np.arange(0)), 1),
            "there must be at least one sequence",
        ),
        (lambda: data.forecast_windows(np.ones(5), 1, 1), r"must have shape \(T, D\), got \(5,\)"),
        (
            lambda: data.forecast_windows(np.ones((5, 1)), 0, 1),
            "`lookback` must be an integer of at least 1, got 0",
        ),
        (
            lambda: data.forecast_windows(np.ones((5, 1)), 3, 3),
            r"at least lookback \+ horizon = 3 \+ 3 = 6 steps, got 5",
        ),
        (
            lambda: data.next_step_windows([np.ones((5, 1))], 2, 0),
            "`stride` must be an integer of at least 1, got 0",
        ),
        (lambda: data.next_step_windows([np.ones((5, 1))], 5, 1), "trace 0 must have more than 5"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
