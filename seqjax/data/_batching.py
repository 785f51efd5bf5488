"""Which sequences make each batch, in few shapes and without losing one; and their padding."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from seqjax._checks import check_sizes


def bucket_members(
    lengths: np.ndarray,
    batch_size: int,
    bucket_lengths: Sequence[int],
    rng: np.random.Generator | None,
) -> list[tuple[int, np.ndarray]]:
    """Says which sequences make each batch of an epoch, and how long the batch is.

    Args:
      lengths: of the sequences.
      batch_size: the most sequences of a batch.
      bucket_lengths: rising; each sequence goes to the shortest that holds it.
      rng: shuffles the members of a bucket, then the batches; None keeps the order, short buckets
        first.

    Returns:
      For each batch the length of its bucket, and indices of its sequences.

    Raises:
      ValueError: if `batch_size` or `bucket_lengths` is unfit, or a sequence fits no bucket.

    Example:
      >>> bucket_members(np.array([2, 9, 3]), 2, [4, 10], rng=None)
      [(4, array([0, 2])), (10, array([1]))]
    """
    bounds = np.asarray(bucket_lengths)
    _check_buckets(lengths, batch_size, bounds)
    buckets = np.searchsorted(bounds, lengths)
    members = [np.flatnonzero(buckets == bucket) for bucket in range(len(bounds))]
    return cut_buckets(zip(bounds.tolist(), members, strict=True), batch_size, rng)


def cut_buckets(
    buckets: Iterable[tuple[Any, np.ndarray]], batch_size: int, rng: np.random.Generator | None
) -> list[tuple[Any, np.ndarray]]:
    """Cuts the members of each bucket into batches; `rng` shuffles members, then batches."""
    batches = []
    for bound, members in buckets:
        members = members if rng is None else rng.permutation(members)
        starts = range(0, len(members), batch_size)
        batches += [(bound, members[start : start + batch_size]) for start in starts]
    return batches if rng is None else [batches[index] for index in rng.permutation(len(batches))]


def pad_rows(
    rows: Sequence[np.ndarray], number: int, length: int, dtype: Any = np.int32
) -> tuple[np.ndarray, np.ndarray]:
    """Puts rows (n, ...) into one array (number, length, ...) with zeros behind each; their `n`."""
    padded = np.zeros((number, length, *np.shape(rows[0])[1:]), dtype)
    lengths = np.zeros(number, np.int32)
    for place, row in enumerate(rows):
        padded[place, : len(row)], lengths[place] = row, len(row)
    return padded, lengths


def _check_buckets(lengths: np.ndarray, batch_size: int, bounds: np.ndarray) -> None:
    check_sizes("bucket_members", batch_size=batch_size)
    if bounds.ndim != 1 or not bounds.size or bounds[0] < 1 or np.any(np.diff(bounds) <= 0):
        raise ValueError(
            f"bucket_members: `bucket_lengths` must be positive and rising, got {bounds.tolist()}."
        )
    if lengths.max(initial=0) > bounds[-1]:
        raise ValueError(
            f"bucket_members: sequence {lengths.argmax()} has length {lengths.max()}, the largest "
            f"bucket holds {bounds[-1]}. Shorten it with truncate, or add a bucket."
        )
