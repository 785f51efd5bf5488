"""Bucket lengths that leave the least padding."""

from collections.abc import Sequence

import numpy as np

from seqjax._checks import check_sizes
from seqjax.data._checks import check_ids


def tight_bucket_lengths(lengths: Sequence[int] | np.ndarray, num_buckets: int) -> list[int]:
    """Chooses the bucket lengths for which all sequences together are padded least.

        min sum_i (bound of the bucket of i),   by dynamic programming over the lengths there are

    Where few sequences are much longer than the others this takes far fewer steps an epoch than
    buckets of as many sequences each.

    Args:
      lengths: of the sequences.
      num_buckets: the most buckets there may be: the number of shapes to compile.

    Returns:
      Rising lengths; the last holds the longest sequence.

    Raises:
      ValueError: if there are no lengths, or `num_buckets` is below 1.

    Example:
      >>> tight_bucket_lengths([4, 4, 5, 5, 5, 40], num_buckets=2)
      [5, 40]
    """
    lengths = check_ids("tight_bucket_lengths", "lengths", lengths)
    check_sizes("tight_bucket_lengths", num_buckets=num_buckets)
    if not len(lengths):
        raise ValueError("tight_bucket_lengths: there must be at least one length, got none.")
    bounds, counts = np.unique(np.maximum(lengths, 1), return_counts=True)
    below = np.concatenate([[0], counts.cumsum()])  # sequences shorter than each bound
    # cost[j]: padded steps of the sequences in the first j lengths, in as many buckets as so far.
    cost = np.concatenate([[0.0], np.full(len(bounds), np.inf)])
    choices = []
    for _ in range(min(num_buckets, len(bounds))):
        # totals[i, j]: the last bucket holds the lengths i to j.
        totals = cost[:-1, None] + (below[None, 1:] - below[:-1, None]) * bounds[None]
        totals = np.where(np.tri(len(bounds), dtype=bool).T, totals, np.inf)
        choices.append(totals.argmin(axis=0))
        # Fewer buckets are never better, so only the full number is followed.
        cost = np.concatenate([[np.inf], totals.min(axis=0)])
    chosen, last = [], len(bounds) - 1
    for choice in reversed(choices):
        chosen.append(int(bounds[last]))
        last = int(choice[last]) - 1
    return chosen[::-1]
