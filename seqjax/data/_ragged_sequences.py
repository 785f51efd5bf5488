"""Sequences of unequal length with their answers, batched by length."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from seqjax.data._batching import bucket_members, pad_rows
from seqjax.data._checks import check_pair
from seqjax.data._errors import DataError
from seqjax.data._sequences import Sequences, arrays_sha256


@dataclasses.dataclass(frozen=True, eq=False)
class RaggedSequences:
    """Sequences of unequal length and an answer to each.

    Answers that are sequences themselves are rows of one array, -1 after their end.

    Attributes:
      inputs: an array of shape (T_i, D), or of ids (T_i,), for each sequence.
      targets: shape (N, ...).

    Raises:
      ValueError: if there are not as many targets as inputs, or two inputs differ in more than
        their length.
    """

    inputs: Sequence[np.ndarray]
    targets: np.ndarray

    def __post_init__(self):
        """Refuses inputs and targets that do not fit each other."""
        check_pair("RaggedSequences", inputs=self.inputs, targets=self.targets)
        shapes = {np.shape(values)[1:] if np.ndim(values) else None for values in self.inputs}
        if len(shapes) > 1 or None in shapes:
            raise ValueError(
                "RaggedSequences: `inputs` must be arrays (T, ...) that differ in T alone, got "
                f"shapes {' and '.join(str(shape) for shape in sorted(shapes, key=str)[:3])} "
                "behind it."
            )

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each sequence, int32 (N,)."""
        return np.array([len(values) for values in self.inputs], np.int32)

    def take(self, indices: np.ndarray) -> "RaggedSequences":
        """Returns chosen sequences, in the order of the indices."""
        return RaggedSequences([self.inputs[i] for i in indices.tolist()], self.targets[indices])

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean and standard deviation of every variable over all steps, float32 (D,).

        The deviation of a variable that does not vary is 1.

        Example:
          >>> steps = [np.array([[1.0], [3.0]]), np.array([[5.0]])]
          >>> mean, std = RaggedSequences(steps, np.zeros(2)).moments()
          >>> mean.tolist(), round(float(std[0]), 3)
          ([3.0], 1.633)
        """
        steps = np.concatenate(self.inputs).astype(np.float64)
        std = steps.std(axis=0)
        return steps.mean(axis=0).astype(np.float32), np.where(std > 1e-6, std, 1).astype(
            np.float32
        )

    @property
    def sha256(self) -> str:
        """Hash of the arrays, their shapes and dtypes."""
        return arrays_sha256((*self.inputs, self.targets))


def ragged_batches(
    sequences: RaggedSequences,
    batch_size: int,
    bucket_lengths: Sequence[int],
    rng: np.random.Generator | None = None,
) -> "RaggedBatches":
    """Puts each sequence into a batch of the shortest bucket that holds it.

    Every batch is padded to (batch_size, one of `bucket_lengths`). The last of a bucket is filled
    with rows of weight 0, length 0 and zeros, so no sequence is dropped.

    Args:
      sequences: what to batch.
      batch_size: rows of every batch.
      bucket_lengths: rising; see `bucket_lengths`.
      rng: decides the order; without it the order is kept, short buckets first.

    Returns:
      An iterable of `Sequences`, of known length, that makes each batch when its turn comes.

    Raises:
      ValueError: if `batch_size` or the buckets are unfit, or a sequence fits no bucket.
      DataError: if there are no sequences.

    Example:
      >>> sequences = RaggedSequences([np.ones((2, 1)), np.ones((1, 1))], np.array([5, 6]))
      >>> batch, = ragged_batches(sequences, 3, [4])
      >>> batch.inputs.shape, batch.lengths.tolist(), batch.targets.tolist()
      ((3, 4, 1), [2, 1, 0], [5, 6, 0])
    """
    if not len(sequences.inputs):
        raise DataError("ragged_batches: there must be at least one sequence, got none.")
    members = bucket_members(sequences.lengths, batch_size, bucket_lengths, rng)
    return RaggedBatches(sequences, members, batch_size)


class RaggedBatches:
    """The batches of one epoch; see `ragged_batches`.

    Attributes:
      order: index of every sequence, in the order of the batches.
    """

    def __init__(
        self, sequences: RaggedSequences, members: list[tuple[int, np.ndarray]], batch_size: int
    ):
        """Notes the members of each batch."""
        self._sequences, self._members, self._size = sequences, members, batch_size
        self.order = np.concatenate([chosen for _, chosen in members])

    def __len__(self) -> int:
        """Returns the number of batches."""
        return len(self._members)

    def __iter__(self) -> Iterator[Sequences]:
        """Yields the batches."""
        for bound, chosen in self._members:
            yield self._padded(bound, chosen)

    def _padded(self, bound: int, chosen: np.ndarray) -> Sequences:
        targets = self._sequences.targets
        rows = [self._sequences.inputs[index] for index in chosen.tolist()]
        dtype = self._sequences.inputs[0].dtype
        inputs, lengths = pad_rows(rows, self._size, bound, dtype)
        answers = np.zeros((self._size, *targets.shape[1:]), targets.dtype)
        answers[: len(chosen)] = targets[chosen]
        weights = (np.arange(self._size) < len(chosen)).astype(np.float32)
        return Sequences(inputs, answers, weights, lengths)
