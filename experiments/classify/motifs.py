"""Motifs: DNA in which the order of two short words decides the class."""

import numpy as np

from seqjax.data._splice import Splice

_FIRST, _SECOND = "TACGAT", "GGTTCA"
MOTIF_CLASSES = ("first_then_second", "second_then_first", "one_alone")
"""Classes of `generate_motifs`."""


def generate_motifs(rng: np.random.Generator, number: int, *, length: int = 40) -> Splice:
    """Draws DNA in which the order of two motifs decides the class.

    Classes 0 and 1 hold both, one before the other; class 2 holds either one twice. How often a
    letter occurs, or at which place, says next to nothing of classes 0 and 1.

    Args:
      rng: the source of randomness.
      number: of sequences.
      length: the most letters; the least are three quarters of it, and at least 16.

    Returns:
      The sequences and their classes, as many of each as can be.

    Raises:
      ValueError: if `length` is below 16.

    Example:
      >>> motifs = generate_motifs(np.random.default_rng(0), 6)
      >>> sorted(motifs.labels.tolist())
      [0, 0, 1, 1, 2, 2]
    """
    if length < 16:
        raise ValueError(f"generate_motifs: `length` must be at least 16, got {length}.")
    labels = rng.permutation(np.arange(number) % 3).astype(np.int32)
    sequences = []
    for label in labels.tolist():
        size = int(rng.integers(max(16, 3 * length // 4), length + 1))
        letters = rng.choice(list("ACGT"), size)
        twice = (_FIRST, _SECOND)[rng.integers(2)]
        pair = ((_FIRST, _SECOND), (_SECOND, _FIRST), (twice, twice))[label]
        middle = int(rng.integers(6, size - 5))
        starts = (rng.integers(0, middle - 5), rng.integers(middle, size - 5))
        for start, motif in zip(starts, pair, strict=True):
            letters[start : start + 6] = list(motif)
        sequences.append("".join(letters))
    return Splice(sequences, labels)
