"""Pieces of music as batches: transposed, and each step predicted from those before it."""

from collections.abc import Sequence

import numpy as np

from seqjax.data import DataError, Segment
from seqjax.data._batching import bucket_members, pad_rows


def transposed(
    rolls: Sequence[np.ndarray], rng: np.random.Generator, semitones: int
) -> list[np.ndarray]:
    """Moves every piece up or down by a number of semitones drawn for it.

    No piece leaves the range of notes that all of them have together, so that what is learnt is
    music for the same voices.

    Args:
      rolls: piano rolls, (steps, 88).
      rng: draws the intervals, with equal chances.
      semitones: the furthest a piece may move; 0 moves none.

    Returns:
      As many piano rolls.

    Example:
      >>> from seqjax.data._chorales import piano_roll
      >>> rolls = [piano_roll([[60]]), piano_roll([[62]])]
      >>> moved = transposed(rolls, np.random.default_rng(0), 12)
      >>> {int(np.flatnonzero(roll)[0]) + 21 for roll in moved} <= {60, 61, 62}
      True
    """
    ranges = [np.flatnonzero(roll.any(axis=0)) for roll in rolls]
    lowest = min((notes[0] for notes in ranges if len(notes)), default=0)
    highest = max((notes[-1] for notes in ranges if len(notes)), default=0)
    moved = []
    for roll, notes in zip(rolls, ranges, strict=True):
        if len(notes):
            down, up = min(semitones, notes[0] - lowest), min(semitones, highest - notes[-1])
            roll = np.roll(roll, int(rng.integers(-down, up + 1)), axis=1)
        moved.append(roll)
    return moved


def sequence_segments(
    sequences: Sequence[np.ndarray],
    batch_size: int,
    bucket_lengths: Sequence[int],
    rng: np.random.Generator | None = None,
) -> list[Segment]:
    """Puts whole sequences of features into batches; each step is predicted from those before it.

    The first step is predicted from zeros. Rows that only fill a batch count for nothing.

    Args:
      sequences: arrays of shape (length, D).
      batch_size: rows of every batch.
      bucket_lengths: rising, see `bucket_lengths`; each sequence is padded to the shortest that
        holds it.
      rng: shuffles the sequences of a bucket, then the batches; None keeps the order.

    Returns:
      The batches of one epoch, each a segment with which every stream starts.

    Raises:
      ValueError: if `batch_size` is below 1, or a sequence fits no bucket.
      DataError: if there are no sequences.

    Example:
      >>> segment, = sequence_segments([np.ones((2, 1))], 1, [3])
      >>> segment.inputs[0, :, 0].tolist(), segment.weights.tolist()
      ([0.0, 1.0, 0.0], [[1.0, 1.0, 0.0]])
    """
    if not len(sequences):
        raise DataError("sequence_segments: there must be at least one sequence, got none.")
    lengths = np.array([len(sequence) for sequence in sequences])
    batches = []
    for bound, chosen in bucket_members(lengths, batch_size, bucket_lengths, rng):
        rows = [sequences[index] for index in chosen.tolist()]
        targets, real = pad_rows(rows, batch_size, bound, np.float32)
        weights = (np.arange(bound) < real[:, None]).astype(np.float32)
        inputs = np.zeros_like(targets)
        inputs[:, 1:] = np.where(weights[:, 1:, None], targets[:, :-1], 0)
        batches.append(Segment(inputs, targets, weights, np.ones(batch_size, bool)))
    return batches
