"""Batches of unequal sequences of ids with one label each, without losing an example."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seqjax._checks import check_choice, check_sizes
from seqjax.data._batching import bucket_members, pad_rows
from seqjax.data._checks import check_ids


class Batch(NamedTuple):
    """Padded sequences, batch first; NumPy arrays on the host, JAX arrays on a device.

    Attributes:
      tokens: ids, 0 after each sequence's end, int32 (B, T).
      lengths: real tokens of each sequence, int32 (B,).
      labels: int32 (B,).
      weights: 1 for an example and 0 for a row that only fills the batch, float32 (B,).
      offsets: logits known beforehand, that a model's own are added to, float32 (B,).
    """

    tokens: Any
    lengths: Any
    labels: Any
    weights: Any
    offsets: Any


def truncate(sequence: np.ndarray, max_length: int, keep: str = "last") -> np.ndarray:
    """Shortens a sequence to at most `max_length`.

    Args:
      sequence: array of shape (length, ...).
      max_length: at least 1.
      keep: the first or the last tokens, or half from each end (`both`; the odd
        one from the first).

    Returns:
      The sequence itself where it is short enough.

    Raises:
      ValueError: if `max_length` or `keep` is not one of these.

    Example:
      >>> truncate(np.arange(10), 4, keep="both").tolist()
      [0, 1, 8, 9]
    """
    check_sizes("truncate", max_length=max_length)
    check_choice("truncate", "keep", keep, ("first", "last", "both"))
    excess = len(sequence) - max_length
    if excess <= 0:
        return sequence
    if keep == "first":
        return sequence[:max_length]
    if keep == "last":
        return sequence[excess:]
    head = (max_length + 1) // 2
    return np.concatenate([sequence[:head], sequence[head + excess :]])


def bucket_lengths(
    lengths: Sequence[int] | np.ndarray, num_buckets: int, multiple: int = 8
) -> list[int]:
    """Chooses bucket lengths that as many sequences each fall into.

    Args:
      lengths: of the sequences.
      num_buckets: the most buckets there may be: the number of shapes to compile.
      multiple: bucket lengths are multiples of it.

    Returns:
      Rising lengths; the last holds the longest sequence.

    Raises:
      ValueError: if there are no lengths, or a number is below 1.

    Example:
      >>> bucket_lengths([3, 9, 17, 30], num_buckets=2)
      [16, 32]
    """
    lengths = check_ids("bucket_lengths", "lengths", lengths)
    check_sizes("bucket_lengths", num_buckets=num_buckets, multiple=multiple)
    if not lengths.size:
        raise ValueError("bucket_lengths: there must be at least one length, got none.")
    quantiles = np.linspace(0, 1, num_buckets + 1)[1:]
    bounds = np.maximum(np.quantile(lengths, quantiles, method="inverted_cdf"), 1)
    return np.unique(np.ceil(bounds / multiple).astype(int) * multiple).tolist()


def bucketed_batches(
    sequences: Sequence[np.ndarray],
    labels: Sequence[int] | np.ndarray,
    batch_size: int,
    bucket_lengths: Sequence[int],
    *,
    rng: np.random.Generator | None,
    offsets: np.ndarray | None = None,
) -> list[Batch]:
    """Puts each sequence into a batch of the shortest bucket that holds it.

    Every batch is (batch_size, one of `bucket_lengths`). The last of a bucket is filled with rows
    of weight 0 and length 0, so no example is dropped and no other shape is ever compiled.

    Args:
      sequences: int arrays of shape (length,); length 0 is fine.
      labels: one for each sequence.
      batch_size: rows of every batch.
      bucket_lengths: rising; see `bucket_lengths`.
      rng: shuffles the examples of a bucket, then the batches; None keeps the order given, short
        buckets first.
      offsets: one for each sequence; zeros where not given.

    Returns:
      The batches of one epoch.

    Raises:
      ValueError: if the arguments do not fit each other or a sequence fits no bucket.

    Example:
      >>> batch, = bucketed_batches([np.array([5, 6])], [1], 2, [3], rng=None)
      >>> batch.tokens.tolist(), batch.weights.tolist()
      ([[5, 6, 0], [0, 0, 0]], [1.0, 0.0])
    """
    labels = np.asarray(labels, np.int32)
    lengths = np.array([len(sequence) for sequence in sequences], np.int32)
    offsets = np.zeros(labels.shape) if offsets is None else offsets
    offsets = np.asarray(offsets, np.float32)
    _check(lengths, labels, offsets)
    batches = []
    for bound, chosen in bucket_members(lengths, batch_size, bucket_lengths, rng):
        rows = [sequences[index] for index in chosen.tolist()]
        filler, weights = (0, batch_size - len(chosen)), np.ones(len(chosen), np.float32)
        others = (np.pad(each, filler) for each in (labels[chosen], weights, offsets[chosen]))
        batches.append(Batch(*pad_rows(rows, batch_size, bound), *others))
    return batches


def _check(lengths: np.ndarray, labels: np.ndarray, offsets: np.ndarray) -> None:
    for name, values in (("labels", labels), ("offsets", offsets)):
        if values.shape != lengths.shape:
            raise ValueError(
                f"bucketed_batches: `{name}` must have shape ({lengths.size},), one for each "
                f"sequence, got {values.shape}."
            )
