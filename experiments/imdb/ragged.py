"""Many sequences of tokens in one flat array."""

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np


class Ragged(Sequence[np.ndarray]):
    """Sequences of unequal length, stored end to end; reads like a list of arrays.

    Attributes:
      tokens: all tokens, int32.
      offsets: where each sequence starts, and the end of the last, int64.

    Example:
      >>> sequences = Ragged.from_arrays([np.array([5, 6]), np.array([7])])
      >>> sequences[0].tolist(), sequences.lengths.tolist()
      ([5, 6], [2, 1])
    """

    def __init__(self, tokens: np.ndarray, offsets: np.ndarray):
        """Wraps `tokens` and `offsets` without copying them."""
        ends = offsets[[0, -1]].tolist() if offsets.ndim == 1 and offsets.size else None
        if ends != [0, tokens.size] or np.any(np.diff(offsets) < 0):
            raise ValueError(
                f"Ragged: `offsets` must rise from 0 to the number of tokens, {tokens.size}; "
                f"got ends {ends}."
            )
        self.tokens = tokens
        self.offsets = offsets

    @classmethod
    def from_arrays(cls, arrays: Sequence[np.ndarray]) -> "Ragged":
        """Stores `arrays`, each of shape (length,), end to end."""
        offsets = np.zeros(len(arrays) + 1, np.int64)
        np.cumsum([len(array) for array in arrays], out=offsets[1:])
        tokens = np.concatenate([np.zeros(0, np.int32), *arrays], dtype=np.int32)
        return cls(tokens, offsets)

    @property
    def lengths(self) -> np.ndarray:
        """Length of each sequence, int64."""
        return np.diff(self.offsets)

    def take(self, indices: np.ndarray) -> list[np.ndarray]:
        """Returns the sequences at `indices`, in that order."""
        return [self[int(index)] for index in indices]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> "list[np.ndarray]": ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = range(len(self))[index]  # resolves negative indices, raises IndexError
        return self.tokens[self.offsets[position] : self.offsets[position + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[position] for position in range(len(self)))
