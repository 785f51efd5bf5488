"""A text as characters, for language models: read, encoded, and split in time."""

import hashlib
from typing import NamedTuple

import numpy as np

from seqjax.data._checks import check_ids
from seqjax.data._data_dir import find_data
from seqjax.data._errors import DataError
from seqjax.data._text_file import AnyPath, read_text

SOURCE = "https://github.com/karpathy/char-rnn"


class Alphabet(NamedTuple):
    """Characters and their ids.

    Attributes:
      characters: each once, its place being its id.
    """

    characters: str

    def encode(self, text: str) -> np.ndarray:
        """Returns the ids of a text, int32 (len(text),).

        Raises:
          DataError: if it holds a character that the alphabet does not.

        Example:
          >>> Alphabet("abc").encode("cab").tolist()
          [2, 0, 1]
        """
        places = {character: place for place, character in enumerate(self.characters)}
        try:
            return np.array([places[character] for character in text], np.int32)
        except KeyError as error:
            raise DataError(
                f"characters: every character must occur in the text that was learnt, got "
                f"{error.args[0]!r} in {text[:40]!r}."
            ) from None

    def decode(self, ids: np.ndarray) -> str:
        """Returns the text of ids of shape (N,).

        Raises:
          ValueError: if there is no such character.
        """
        found = check_ids("Alphabet.decode", "ids", ids, len(self.characters))
        return "".join(self.characters[i] for i in found.tolist())


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


def load_shakespeare(data_dir: AnyPath | None = None) -> str:
    """Loads tiny Shakespeare: 1.1 million characters of plays, of 65 kinds.

    Args:
      data_dir: folder with `tinyshakespeare/input.txt`, or with the file itself; `SEQJAX_DATA_DIR`
        by default.

    Returns:
      The text.

    Raises:
      DataError: if the file is missing or damaged.

    Example:
      >>> len(load_shakespeare("data"))  # doctest: +SKIP
      1115394

    Reference: Karpathy (2015), The unreasonable effectiveness of recurrent neural networks.
    """
    return read_text(find_data("shakespeare", ["tinyshakespeare/input.txt"], data_dir, SOURCE))
