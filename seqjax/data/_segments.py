"""A long sequence, cut into the records that next-step models are trained on."""

from typing import Any, NamedTuple

import numpy as np

from seqjax._checks import check_sizes
from seqjax.data._checks import check_ids
from seqjax.data._errors import DataError


class Segment(NamedTuple):
    """Some steps of every stream of a batch; NumPy arrays on the host, JAX arrays on a device.

    The segment that follows continues each stream where this one ends, unless it starts anew there.

    Attributes:
      inputs: what is seen at every step: ids, int32 (B, T), or features, (B, T, D).
      targets: what follows it, of the same shape.
      weights: 1 where an answer counts and 0 where it does not, float32 (B, T).
      starts: whether the stream begins with this segment, bool (B,).
    """

    inputs: Any
    targets: Any
    weights: Any
    starts: Any


def training_segments(
    ids: np.ndarray,
    num_streams: int,
    length: int,
    *,
    offset: int = 0,
    restart: float = 0.0,
    rng: np.random.Generator | None = None,
) -> list[Segment]:
    """Cuts a sequence into parallel streams, and those into segments with which a state is carried.

    Every pair of an id and the one before it counts once; what fills the last segments does not.

    Args:
      ids: integers of shape (N,), at least two.
      num_streams: B, rows of every segment.
      length: T, steps of a segment.
      offset: the pair with which the first stream begins; behind the last pair comes the first.
      restart: rate at which a stream starts again with a segment. Where no stream ever does, a
        state that has just begun is one that the model has hardly met.
      rng: draws which do.

    Returns:
      The segments in the order of the streams.

    Raises:
      ValueError: if `num_streams` or `length` is below 1, or `restart` lacks its generator.
      DataError: if there is no pair.

    Example:
      >>> first, second = training_segments(np.arange(10), 2, 3)
      >>> first.inputs.tolist(), second.targets.tolist(), second.weights.tolist()
      ([[0, 1, 2], [5, 6, 7]], [[4, 5, 5], [9, 1, 1]], [[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])

    Reference: Williams and Peng (1990), An efficient gradient-based algorithm for on-line training
    of recurrent network trajectories (truncated back-propagation through time).
    """
    ids = _checked("training_segments", ids, num_streams, length)
    check_sizes("training_segments", at_least=0, offset=offset)
    if not 0 <= restart <= 1:
        raise ValueError(
            f"training_segments: `restart` must be a rate from 0 to 1, got {restart!r}."
        )
    pairs = len(ids) - 1
    share = -(-pairs // num_streams)
    places = np.arange(num_streams)[:, None] * share + np.arange(share)[None]
    targets = 1 + (offset + places) % pairs
    # Filler only ends a stream, so that no state which counts has seen it.
    segments = _cut(ids, targets, (places < pairs).astype(np.float32), length)
    if not restart:
        return segments
    if rng is None:
        raise ValueError("training_segments: `restart` needs `rng`, which draws the streams.")
    return [
        segment._replace(starts=segment.starts | (rng.random(num_streams) < restart))
        for segment in segments
    ]


def scoring_segments(
    ids: np.ndarray, first: int, last: int, num_streams: int, length: int, *, warm_up: int
) -> list[Segment]:
    """Cuts a part of a sequence so that each of its ids counts once, with a long past.

    Args:
      ids: integers of shape (N,), the whole sequence.
      first: the first id that counts, at least 1.
      last: the one behind the last that counts, at most N.
      num_streams: B, streams read side by side.
      length: T, steps of a segment.
      warm_up: steps that each stream reads before the first that counts; fewer where the sequence
        has fewer before `first`.

    Returns:
      The segments in the order of the streams.

    Raises:
      ValueError: if `num_streams` or `length` is below 1, or the part does not lie in the sequence.

    Example:
      >>> for segment in scoring_segments(np.arange(20), 10, 16, 2, 4, warm_up=2):
      ...     segment.targets.tolist(), segment.weights.tolist()
      ([[8, 9, 10, 11], [11, 12, 13, 14]], [[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
      ([[12, 12, 12, 12], [15, 15, 15, 15]], [[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    """
    ids = _checked("scoring_segments", ids, num_streams, length)
    check_sizes("scoring_segments", at_least=0, warm_up=warm_up)
    check_sizes("scoring_segments", first=first, last=last)
    if not 1 <= first < last <= len(ids):
        raise ValueError(
            f"scoring_segments: 1 <= first < last <= {len(ids)} is required, got {first} and "
            f"{last}."
        )
    warm_up = min(warm_up, first - 1)
    share = -(-(last - first) // num_streams)
    steps = np.arange(-warm_up, share)[None]
    targets = first + np.arange(num_streams)[:, None] * share + steps
    counts = (steps >= 0) & (targets < last)
    return _cut(ids, np.minimum(targets, len(ids) - 1), counts.astype(np.float32), length)


def _cut(ids: np.ndarray, targets: np.ndarray, weights: np.ndarray, length: int) -> list[Segment]:
    missing = (0, -targets.shape[1] % length)
    targets = np.pad(targets, ((0, 0), missing), mode="edge")
    weights = np.pad(weights, ((0, 0), missing))
    segments = []
    for start in range(0, targets.shape[1], length):
        steps = slice(start, start + length)
        here = targets[:, steps]
        starts = np.full(len(targets), start == 0)
        segments.append(Segment(ids[here - 1], ids[here], weights[:, steps], starts))
    return segments


def _checked(where: str, ids: np.ndarray, num_streams: int, length: int) -> np.ndarray:
    """Returns the ids as an array."""
    check_sizes(where, num_streams=num_streams, length=length)
    ids = check_ids(where, "ids", ids)
    if len(ids) < 2:
        raise DataError(f"segments: there must be at least two ids, got {len(ids)}.")
    return ids
