"""Sequences of numbers with their answers: the one record every numeric task gives."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqjax._checks import check_sizes
from seqjax.data._batching import pad_rows
from seqjax.data._checks import check_ids
from seqjax.data._errors import DataError


class Sequences(NamedTuple):
    """Sequences and their answers, batch first; NumPy arrays on the host, JAX arrays on a device.

    An answer is asked for once a sequence, with weights (B,), or at every step, with weights
    (B, T). Behind the axes of the weights `targets` has any axes of its own, such as the steps and
    variables of a forecast; targets of classes are integers and have none.

    Attributes:
      inputs: shape (B, T, D).
      targets: shape (B, ...) or (B, T, ...).
      weights: 1 where an answer counts and 0 where it does not, float32 (B,) or (B, T).
      lengths: real steps of each sequence, int32 (B,).
    """

    inputs: Any
    targets: Any
    weights: Any
    lengths: Any

    def take(self, indices: np.ndarray, size: int | None = None) -> "Sequences":
        """Returns chosen sequences, and rows that count for nothing up to `size`.

        Args:
          indices: integers of shape (n,).
          size: rows of the result; n by default.

        Returns:
          The sequences in that order; rows that only fill have weight 0, length 0 and zeros.

        Example:
          >>> sequences = make_sequences(np.ones((3, 2, 1)), np.arange(3.0))
          >>> sequences.take(np.array([2]), size=2).weights.tolist()
          [1.0, 0.0]
        """
        missing = (len(indices) if size is None else size) - len(indices)
        if missing < 0:
            raise ValueError(
                f"Sequences.take: `size` must be at least the {len(indices)} indices, got {size}."
            )

        def chosen(values: np.ndarray) -> np.ndarray:
            return np.pad(values[indices], [(0, missing)] + [(0, 0)] * (values.ndim - 1))

        return Sequences(*(chosen(values) for values in self))

    @property
    def sha256(self) -> str:
        """Hash of the arrays, their shapes and dtypes."""
        return arrays_sha256(self)


def arrays_sha256(arrays: Iterable[np.ndarray]) -> str:
    """Hashes arrays, their shapes and dtypes."""
    digest = hashlib.sha256()
    for values in arrays:
        digest.update(f"{values.shape} {values.dtype.name}\n".encode())
        for part in np.array_split(values, max(1, len(values) // 1024)):  # the copies stay small
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


class Splits(NamedTuple):
    """Training, validation and test part of a task."""

    train: Sequences
    validation: Sequences
    test: Sequences


def make_sequences(
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    lengths: np.ndarray | None = None,
    every_step: bool = False,
) -> Sequences:
    """Makes sequences in which every answer counts, unless said otherwise.

    Args:
      inputs: shape (B, T, D).
      targets: shape (B, ...), or (B, T, ...) with `every_step`.
      weights: by default ones, shape (B,), or (B, T) with `every_step`.
      lengths: shape (B,); T by default.
      every_step: whether there is an answer at every step.

    Returns:
      The sequences.

    Raises:
      ValueError: if the shapes do not fit each other.

    Example:
      >>> make_sequences(np.ones((4, 5, 2)), np.ones((4, 5, 1)), every_step=True).weights.shape
      (4, 5)
    """
    if inputs.ndim != 3:
        raise ValueError(
            f"seqjax.data: `inputs` must have shape (B, T, D), got {inputs.shape}. One variable "
            "needs inputs[..., None]."
        )
    shape = inputs.shape[: 2 if every_step else 1]
    if targets.shape[: len(shape)] != shape:
        raise ValueError(
            f"seqjax.data: `targets` must begin with the axes {shape} of `inputs`, got "
            f"{targets.shape}."
        )
    weights = np.broadcast_to(np.float32(1), shape) if weights is None else weights
    lengths = np.full(len(inputs), inputs.shape[1], np.int32) if lengths is None else lengths
    if weights.shape != shape or lengths.shape != shape[:1]:
        raise ValueError(
            f"seqjax.data: `weights` and `lengths` must have shapes {shape} and {shape[:1]}, got "
            f"{weights.shape} and {lengths.shape}."
        )
    check_ids("seqjax.data", "lengths", lengths, inputs.shape[1] + 1)
    if not (np.isfinite(weights).all() and np.min(weights, initial=0) >= 0):
        raise ValueError("seqjax.data: `weights` must be finite numbers of at least 0.")
    return Sequences(inputs, targets, weights, lengths)


def padded(steps: Sequence[np.ndarray]) -> Sequences:
    """Puts arrays of unequal length into one record, without answers.

    Args:
      steps: arrays (T_i, D), at least one.

    Returns:
      Inputs (N, T, D), float32, zero behind each end, with the `lengths`; targets are zeros (N,).

    Example:
      >>> padded([np.ones((2, 1)), np.ones((1, 1))]).inputs[..., 0].tolist()
      [[1.0, 1.0], [1.0, 0.0]]
    """
    longest = max(len(each) for each in steps)
    inputs, lengths = pad_rows(steps, len(steps), longest, np.float32)
    return make_sequences(inputs, np.zeros(len(steps), np.float32), lengths=lengths)


def sequence_batches(
    sequences: Sequences, batch_size: int, rng: np.random.Generator | None = None
) -> "SequenceBatches":
    """Cuts sequences into batches of one size, the last filled with rows that do not count.

    Args:
      sequences: what to cut.
      batch_size: rows of every batch.
      rng: decides the order; None keeps it.

    Returns:
      An iterable of known length that makes each batch when its turn comes.

    Raises:
      ValueError: if `batch_size` is below 1.
      DataError: if there are no sequences.

    Example:
      >>> batches = sequence_batches(make_sequences(np.ones((5, 3, 1)), np.ones((5, 1))), 2)
      >>> [batch.weights.tolist() for batch in batches]
      [[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]]
    """
    check_sizes("sequence_batches", batch_size=batch_size)
    if not len(sequences.inputs):
        raise DataError("sequence_batches: there must be at least one sequence, got none.")
    order = np.arange(len(sequences.inputs))
    return SequenceBatches(sequences, rng.permutation(order) if rng else order, batch_size)


class SequenceBatches:
    """The batches of one epoch; see `sequence_batches`."""

    def __init__(self, sequences: Sequences, order: np.ndarray, batch_size: int):
        """Notes the order."""
        self._sequences, self._order, self._size = sequences, order, batch_size

    def __len__(self) -> int:
        """Returns the number of batches."""
        return -(-len(self._order) // self._size)

    def __iter__(self):
        """Yields the batches."""
        for start in range(0, len(self._order), self._size):
            yield self._sequences.take(self._order[start : start + self._size], self._size)
