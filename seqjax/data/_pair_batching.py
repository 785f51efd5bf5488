"""Batches of pairs of unequal sequences in few shapes, without losing a pair."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seqjax._checks import check_sizes
from seqjax.data._batching import cut_buckets, pad_rows
from seqjax.data._checks import check_ids, check_pair
from seqjax.data._tight_buckets import tight_bucket_lengths


class PairBatch(NamedTuple):
    """Padded pairs, batch first; NumPy arrays on the host, JAX arrays on a device.

    Attributes:
      source: ids, 0 after each end, int32 (B, S).
      source_lengths: int32 (B,).
      target: ids, 0 after each end, int32 (B, T).
      target_lengths: int32 (B,); 0 in rows that only fill the batch.
    """

    source: Any
    source_lengths: Any
    target: Any
    target_lengths: Any


def pair_buckets(
    source_lengths: Sequence[int] | np.ndarray,
    target_lengths: Sequence[int] | np.ndarray,
    num_target: int,
    num_source: int,
    multiple: int = 2,
) -> list[tuple[int, int]]:
    """Chooses shapes of batches: by the target's length, and of alike targets by the source's.

    Args:
      source_lengths: of the pairs.
      target_lengths: of the pairs.
      num_target: groups of targets, cut where the least is padded.
      num_source: groups of sources in each group of targets, cut in the same way.
      multiple: bounds are multiples of it.

    Returns:
      At most `num_target * num_source` pairs of bounds (source, target), the shapes to compile, in
      rising order of the target's. The last holds the longest source and target.

    Raises:
      ValueError: if there are no lengths, or a number is below 1.

    Example:
      >>> pair_buckets([3, 9, 4, 8], [2, 2, 6, 6], 2, 2)
      [(4, 2), (10, 2), (4, 6), (10, 6)]
    """
    sources = check_ids("pair_buckets", "source_lengths", source_lengths)
    targets = check_ids("pair_buckets", "target_lengths", target_lengths)
    check_pair("pair_buckets", source_lengths=sources, target_lengths=targets)
    if not sources.size:
        raise ValueError("pair_buckets: there must be at least one pair of lengths, got none.")
    check_sizes("pair_buckets", num_target=num_target, num_source=num_source, multiple=multiple)

    sources, targets = (-(-np.maximum(side, 1) // multiple) for side in (sources, targets))
    found, lower = [], 0
    for target in tight_bucket_lengths(targets, num_target):
        inside = sources[(targets > lower) & (targets <= target)]
        # The last holds a pair that is unlike any of these.
        bounds = tight_bucket_lengths(inside, num_source)
        if target == targets.max():
            bounds[-1] = int(sources.max())
        found += [(source, target) for source in bounds]
        lower = target
    return [(source * multiple, target * multiple) for source, target in found]


def pair_batches(
    sources: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    batch_size: int,
    buckets: Sequence[tuple[int, int]],
    *,
    rng: np.random.Generator | None,
) -> list[PairBatch]:
    """Puts each pair into a batch of the smallest bucket that holds it.

    The last batch of a bucket is filled with rows of length 0, so no pair is dropped and no other
    shape is ever compiled.

    Args:
      sources: int arrays of shape (length,).
      targets: one for each source.
      batch_size: rows of every batch.
      buckets: bounds (source, target); see `pair_buckets`.
      rng: shuffles the pairs of a bucket, then the batches; None keeps the order given, pairs of
        small buckets first.

    Returns:
      The batches of one epoch: ids `source` (B, S) and `target` (B, T), int32, 0 after each end,
      with `source_lengths` and `target_lengths`, int32 (B,); rows that only fill a batch have a
      target of length 0.

    Raises:
      ValueError: if the arguments do not fit each other or a pair fits no bucket.

    Example:
      >>> pairs = [np.array([5, 6])], [np.array([7])]
      >>> (batch,) = pair_batches(*pairs, 2, [(3, 2)], rng=None)
      >>> batch.source.tolist(), batch.target.tolist()
      ([[5, 6, 0], [0, 0, 0]], [[7, 0], [0, 0]])
    """
    check_pair("pair_batches", sources=sources, targets=targets)
    check_sizes("pair_batches", batch_size=batch_size)
    if not len(buckets) or np.shape(buckets) != (len(buckets), 2) or np.min(buckets) < 1:
        raise ValueError(
            "pair_batches: `buckets` must be pairs of bounds (source, target) of at least 1, got "
            f"{list(buckets)}. See pair_buckets."
        )
    lengths = np.array([[len(ids) for ids in side] for side in (sources, targets)]).T
    order = sorted(buckets, key=lambda bounds: bounds[0] * bounds[1])
    fits = (lengths[:, None] <= np.array(order)[None]).all(-1)
    if not fits.any(-1).all():
        row = int(np.argmin(fits.any(-1)))
        raise ValueError(
            f"pair_batches: pair {row} has lengths {lengths[row].tolist()}, and fits none of the "
            f"buckets {order}. Cut it, or add a bucket."
        )
    smallest = fits.argmax(1)
    members = [np.flatnonzero(smallest == bucket) for bucket in range(len(order))]
    batches = []
    for bounds, chosen in cut_buckets(zip(order, members, strict=True), batch_size, rng):
        parts = []
        for side, bound in zip((sources, targets), bounds, strict=True):
            parts += pad_rows([side[index] for index in chosen.tolist()], batch_size, bound)
        batches.append(PairBatch(*parts))
    return batches
