"""A text as characters, for language models: read and encoded."""

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
