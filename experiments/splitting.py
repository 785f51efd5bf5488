"""A validation split taken from training data."""

import hashlib
from collections.abc import Sequence

import numpy as np

from seqjax.data._errors import DataError


def text_hashes(texts: Sequence[str]) -> np.ndarray:
    """Returns a 64-bit hash of each text, to recognise exact copies.

    Example:
      >>> hashes = text_hashes(["a", "b", "a"])
      >>> bool(hashes[0] == hashes[2]), bool(hashes[0] == hashes[1])
      (True, False)
    """
    digests = b"".join(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for text in texts
    )
    return np.frombuffer(digests, "<u8")


def split_validation(
    labels: Sequence[int] | np.ndarray,
    fraction: float,
    seed: int,
    *,
    groups: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Holds out a fraction of the examples of each label.

    Args:
      labels: one for each example.
      fraction: to hold out, between 0 and 1.
      seed: the same seed gives the same split.
      groups: one value for each example; those of equal value stay on one side. With `text_hashes`
        no text is both learnt and validated on.

    Returns:
      Indices to train on and indices to validate on, each rising.

    Raises:
      ValueError: if the shapes differ or `fraction` is not between 0 and 1.
      DataError: if a side would lack one of the labels.

    Example:
      >>> train, validation = split_validation([0, 0, 1, 1], 0.5, seed=0)
      >>> len(train), len(validation)
      (2, 2)
    """
    labels = np.asarray(labels)
    groups = np.arange(labels.size) if groups is None else np.asarray(groups)
    if labels.ndim != 1 or groups.shape != labels.shape:
        raise ValueError(
            "split_validation: `labels` and `groups` must have one shape (examples,), "
            f"got {labels.shape} and {groups.shape}."
        )
    if not 0 < fraction < 1:
        raise ValueError(
            f"split_validation: `fraction` must be between 0 and 1, exclusive, got {fraction}."
        )
    _, first, group, sizes = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    rng = np.random.default_rng(seed)
    held_out = np.zeros(first.size, bool)
    for label in np.unique(labels):
        # Copies with different labels are rare: their group counts for the label of its first.
        members = rng.permutation(np.flatnonzero(labels[first] == label))
        wanted = fraction * sizes[members].sum()
        # The group that crosses the border is held out if most of it lies before.
        held_out[members[np.cumsum(sizes[members]) - sizes[members] / 2 <= wanted]] = True
    validation = held_out[group]
    for side, name in ((~validation, "training"), (validation, "validation")):
        if np.setdiff1d(labels, labels[side]).size or not side.any():
            raise DataError(
                f"split_validation: the {name} side would lack a label: {labels.size} examples in "
                f"{first.size} groups are too few for a fraction of {fraction}."
            )
    return np.flatnonzero(~validation), np.flatnonzero(validation)
