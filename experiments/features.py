"""Features of whole sequences: neighbouring steps side by side, and means of parts."""

import numpy as np


def stack_steps(xs: np.ndarray, size: int, stride: int = 1) -> np.ndarray:
    """Puts each step beside its neighbours, and keeps every `stride`-th.

        y_t = (x_{s t - left}, ..., x_{s t + right}),   left = (size - 1) // 2, right = size // 2

    Steps before the first and after the last are zeros.

    Args:
      xs: shape (T, D).
      size: steps beside each other.
      stride: s.

    Returns:
      Shape (ceil(T / stride), size D).

    Raises:
      ValueError: if `size` or `stride` is below 1.

    Example:
      >>> stack_steps(np.arange(1.0, 6.0)[:, None], 3, 2).tolist()
      [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0], [4.0, 5.0, 0.0]]

    Reference: Sak et al. (2015), Fast and accurate recurrent neural network acoustic models for
    speech recognition.
    """
    if size < 1 or stride < 1:
        raise ValueError(
            f"stack_steps: `size` and `stride` must be at least 1, got {size}, {stride}."
        )
    padded = np.pad(xs, (((size - 1) // 2, size // 2), (0, 0)))
    return np.concatenate([padded[i : i + len(xs)][::stride] for i in range(size)], axis=1)


def segment_means(sequence: np.ndarray, num_segments: int) -> np.ndarray:
    """Returns the means of equal parts of a sequence, whatever its length, one after the other.

    Args:
      sequence: shape (T, D), T at least 1.
      num_segments: parts; where there are more than steps, neighbours share a step.

    Returns:
      Shape (num_segments D,).

    Example:
      >>> segment_means(np.array([[1.0], [3.0], [5.0], [7.0]]), 2).tolist()
      [2.0, 6.0]
    """
    steps = len(sequence)
    ends = np.linspace(0, steps, num_segments + 1)
    first = np.minimum(ends[:-1].astype(int), steps - 1)
    last = np.maximum(np.ceil(ends[1:]).astype(int), first + 1)
    return np.concatenate([sequence[a:b].mean(axis=0) for a, b in zip(first, last, strict=True)])
