"""A text as characters, split in time."""

import hashlib
from typing import NamedTuple

import numpy as np

from seqjax.data import Alphabet, DataError


class Characters(NamedTuple):
    """A text, split in time: the first part chooses, the second is learnt, the last judges.

    Attributes:
      ids: the whole text, int32 (N,).
      alphabet: of the whole text, in the order of code points.
      learnt: place where the second part begins.
      test: place where the last part begins.
      sha256: hash of the text, as UTF-8.
    """

    ids: np.ndarray
    alphabet: Alphabet
    learnt: int
    test: int
    sha256: str

    @property
    def train(self) -> np.ndarray:
        """The ids of the second part."""
        return self.ids[self.learnt : self.test]


def split_characters(
    text: str, *, validation_fraction: float = 0.05, test_fraction: float = 0.1
) -> Characters:
    """Encodes a text and splits it: its end is the test part, its beginning validates.

    What is learnt reaches to the test part, as it does for a model that goes on with a text.

    Args:
      text: the text.
      validation_fraction: of the whole text.
      test_fraction: of the whole text.

    Returns:
      The text in three parts.

    Raises:
      ValueError: if a fraction is not above 0, or they leave nothing to learn.
      DataError: if the text is too short for each part to hold two characters.

    Example:
      >>> text = split_characters("to be or not to be, " * 5)
      >>> text.alphabet.characters, text.learnt, text.test, len(text.train)
      (' ,benort', 5, 90, 85)
    """
    if not (validation_fraction > 0 and test_fraction > 0) or (
        validation_fraction + test_fraction >= 1
    ):
        raise ValueError(
            "split_characters: fractions above 0 whose sum is below 1 are required, got "
            f"{validation_fraction} and {test_fraction}."
        )
    test = len(text) - int(len(text) * test_fraction)
    learnt = int(len(text) * validation_fraction)
    if min(learnt, test - learnt, len(text) - test) < 2:
        raise DataError(
            "characters: each part of the text must hold at least two characters, got "
            f"{learnt}, {test - learnt} and {len(text) - test}. Use a longer text."
        )
    alphabet = Alphabet("".join(sorted(set(text))))
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    return Characters(alphabet.encode(text), alphabet, learnt, test, digest)
