"""What a tagger knows of words: ids of words, of characters, of affixes and of tags."""

import collections
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.batches import truncate
from seqjax import data
from seqjax.data._conllu import TaggedSentence, TaggedSplits
from seqjax.data._vocabulary import UNKNOWN_ID
from seqjax.train._files import replace_file

_ORDINARY = 2  # ids 0 and 1 are padding and unknown
_SUFFIXES, _PREFIXES = (1, 2, 3, 4), (1, 2, 3)
NUM_AFFIXES = len(_SUFFIXES) + len(_PREFIXES) + 1
_SHAPE_LENGTH = 6


class Encoded(NamedTuple):
    """Words as numbers, those of all sentences end to end; row 0 is padding.

    Attributes:
      words: id of each, int32 (N + 1,).
      characters: ids of the characters of each, int32 (N + 1, C).
      word_lengths: how many these are, int32 (N + 1,).
      affixes: ids of its affixes and its shape, int32 (N + 1, NUM_AFFIXES).
      tags: id of each tag, int32 (N + 1,).
      sequences: the rows of each sentence.
    """

    words: np.ndarray
    characters: np.ndarray
    word_lengths: np.ndarray
    affixes: np.ndarray
    tags: np.ndarray
    sequences: list[np.ndarray]


class Vocabulary(NamedTuple):
    """Words, characters, affixes and tags that have a number; see `build_vocabulary`.

    Attributes:
      words: in lower case, from id 2.
      characters: from id 2.
      affixes: from id 2.
      tags: from id 0.
    """

    words: list[str]
    characters: list[str]
    affixes: list[str]
    tags: list[str]

    @property
    def sizes(self) -> dict[str, int]:
        """Number of ids of each, padding and unknown included."""
        special = dict.fromkeys(self._fields, _ORDINARY) | {"tags": 0}
        return {name: len(getattr(self, name)) + special[name] for name in self._fields}

    def encode(self, sentences: Iterable[TaggedSentence], max_characters: int) -> Encoded:
        """Returns sentences as numbers.

        Args:
          sentences: whose tags must all be known.
          max_characters: of a longer word the first and the last are read.

        Returns:
          The numbers.
        """
        sentences = list(sentences)
        ids = [
            {name: number for number, name in enumerate(names, start=_ORDINARY)}
            for names in (self.words, self.characters, self.affixes)
        ]
        tags = {tag: number for number, tag in enumerate(self.tags)}
        flat = [word for sentence in sentences for word in sentence.words]
        encoded = Encoded(
            words=np.zeros(len(flat) + 1, np.int32),
            characters=np.zeros((len(flat) + 1, max_characters), np.int32),
            word_lengths=np.zeros(len(flat) + 1, np.int32),
            affixes=np.zeros((len(flat) + 1, NUM_AFFIXES), np.int32),
            tags=np.zeros(len(flat) + 1, np.int32),
            sequences=[],
        )
        encoded.tags[1:] = [tags[tag] for sentence in sentences for tag in sentence.tags]
        for row, word in enumerate(flat, start=1):
            signs = truncate(np.array(list(word)), max_characters, "both").tolist()
            encoded.words[row] = ids[0].get(word.lower(), UNKNOWN_ID)
            known = [ids[1].get(sign, UNKNOWN_ID) for sign in signs]
            encoded.characters[row, : len(known)] = known
            encoded.word_lengths[row] = len(known)
            encoded.affixes[row] = [ids[2].get(part, UNKNOWN_ID) for part in affixes(word)]
        ends = np.cumsum([len(sentence.words) for sentence in sentences]).tolist()
        starts = [0, *ends[:-1]]
        encoded.sequences.extend(
            np.arange(start + 1, end + 1, dtype=np.int32)
            for start, end in zip(starts, ends, strict=True)
        )
        return encoded

    def save(self, path: Path) -> None:
        """Writes `vocabulary.json` into a folder."""
        text = json.dumps(self._asdict(), ensure_ascii=False, indent=1)
        replace_file(path / "vocabulary.json", text + "\n")

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Reads what `save` wrote.

        Raises:
          DataError: if the file is missing or damaged.
        """
        file = path / "vocabulary.json"
        try:
            content = json.loads(file.read_text("utf-8"))
            found = cls(**content)
            for names in found:
                if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                    raise ValueError("names must be a list of texts")
                if len(set(names)) < len(names):
                    raise ValueError("a name must stand in a list once")
            if not found.tags:
                raise ValueError("it must have a tag")
            return found
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise data.DataError(
                f"tagging: {file} must be a file that a run has written: {error}."
            ) from error


def build_vocabulary(splits: TaggedSplits, min_count: int) -> Vocabulary:
    """Numbers the words, characters and affixes of the training part, and all tags.

    Args:
      splits: the sentences; of those to validate and test the tags alone are read, since a set of
        tags is known beforehand.
      min_count: words and affixes that training holds less often are unknown, in training too, and
        so the network learns what an unknown word is like.

    Returns:
      The vocabulary, the most frequent first.
    """
    flat = [word for sentence in splits.train for word in sentence.words]
    everywhere = (*splits.train, *splits.validation, *splits.test)

    def frequent(names: Iterable[str], least: int) -> list[str]:
        counts = sorted(collections.Counter(names).items(), key=lambda item: (-item[1], item[0]))
        return [name for name, count in counts if count >= least]

    return Vocabulary(
        words=frequent((word.lower() for word in flat), min_count),
        characters=frequent((sign for word in flat for sign in word), 1),
        affixes=frequent((part for word in flat for part in affixes(word)), min_count),
        tags=sorted({tag for sentence in everywhere for tag in sentence.tags}),
    )


def affixes(word: str) -> list[str]:
    """Returns the endings and beginnings of a word, in lower case, and its shape.

    Example:
      >>> affixes("Re-runs")
      ['-s', '-ns', '-uns', '-runs', 'r-', 're-', 're--', 'Xx-x']
    """
    lower = word.lower()
    return [
        *(f"-{lower[-size:]}" for size in _SUFFIXES),
        *(f"{lower[:size]}-" for size in _PREFIXES),
        shape(word),
    ]


def shape(word: str) -> str:
    """Returns what kinds of signs a word has: X and x for letters, 0 for digits, others as a mark.

    Example:
      >>> [shape(word) for word in ("USA", "Turin", "1.25", "co-op")]
      ['X', 'Xx', '0.0', 'x-x']
    """
    kinds = "".join(
        "0" if sign.isdigit() else ("X" if sign.isupper() else "x") if sign.isalpha() else sign
        for sign in word
    )
    return re.sub(r"(.)\1+", r"\1", kinds, flags=re.DOTALL)[:_SHAPE_LENGTH]


def pieces(sentences: Iterable[TaggedSentence], max_length: int) -> Iterator[TaggedSentence]:
    """Yields sentences, those of more than `max_length` words in parts that are as long at most.

    Example:
      >>> long = data.TaggedSentence(tuple("abcde"), tuple("XYXYX"))
      >>> [piece.words for piece in pieces([long], 2)]
      [('a', 'b'), ('c', 'd'), ('e',)]
    """
    for words, tags in sentences:
        for start in range(0, len(words), max_length):
            part = slice(start, start + max_length)
            yield TaggedSentence(words[part], tags[part])


def tokenize(text: str) -> Sequence[str]:
    """Divides a text as English treebanks do: at spaces, marks, and before n't and 's.

    Example:
      >>> " ".join(tokenize("He doesn't like John's well-known U.S. plan, e.g. 1.5!"))
      "He does n't like John 's well-known U.S. plan , e.g. 1.5 !"
    """
    return re.findall(
        r"\w+(?=n't\b)|n't\b|'(?:s|re|ve|ll|d|m)\b|(?:[^\W\d_]\.){2,}|\w+(?:[-.,]\w+)*|\S",
        text.replace("\u2019", "'"),
    )
