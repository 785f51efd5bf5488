"""Texts of words set apart by spaces as numbers and back: whole words, or pieces of them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from seqjax._checks import check_sizes
from seqjax.data._checks import check_ids, check_texts
from seqjax.data._errors import DataError
from seqjax.data._vocabulary import PADDING_ID, UNKNOWN_ID, Vocabulary, tokenizing

if TYPE_CHECKING:
    from tokenizers import Tokenizer

START_ID = 2
"""Token before the first of a target."""

END_ID = 3
"""Token after the last of a text."""

_SPECIAL = ("<pad>", "<unk>", "<start>", "<end>")
_END_OF_WORD = "</w>"
_LONGEST_WORD = 10_000  # training on pieces takes the square of a word's length


class TextVocabulary(Vocabulary):
    """Turns texts into ids and ids into texts; 0 is padding, 1 unknown, 2 the start, 3 the end.

    Attributes:
      start_id: 2, before the first token of a target.
      end_id: 3, after the last token of a text.

    Example:
      >>> vocabulary = build_word_vocabulary(["a dog", "a cat"])
      >>> (ids,) = vocabulary.encode(["a dog and"])
      >>> ids.tolist(), vocabulary.decode(ids)
      ([4, 6, 1], 'a dog <unk>')
    """

    start_id: ClassVar[int] = START_ID
    end_id: ClassVar[int] = END_ID

    def pieces(self, ids: Sequence[int] | np.ndarray) -> list[str]:
        """Returns what each id stands for; a piece that ends a word says so by a space.

        Raises:
          ValueError: if an id is not of this vocabulary.
        """
        ids = check_ids("TextVocabulary", "ids", ids, len(self))
        found = [str(self._tokenizer.id_to_token(int(number))) for number in ids]
        whole = _is_whole(self._tokenizer)
        return [
            piece + " " if whole or number < len(_SPECIAL) else piece.replace(_END_OF_WORD, " ")
            for piece, number in zip(found, ids, strict=True)
        ]

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Returns the text of ids; those after the first end, and start and padding, are left out.

        Args:
          ids: integers of shape (length,).

        Raises:
          ValueError: if an id is not of this vocabulary.
        """
        kept = check_ids("TextVocabulary.decode", "ids", ids, len(self))
        kept = kept[: np.argmax(kept == END_ID)] if (kept == END_ID).any() else kept
        kept = kept[(kept != PADDING_ID) & (kept != START_ID)]
        return "".join(self.pieces(kept)).strip()


def build_subword_vocabulary(texts: Iterable[str], size: int) -> TextVocabulary:
    """Learns pieces of words by merging frequent pairs (byte-pair encoding).

    Args:
      texts: training texts, words set apart by white space.
      size: the most ids there may be, the four special ones and the alphabet included.

    Returns:
      The vocabulary.

    Raises:
      DataError: if there is no word in `texts`, one is longer than 10,000 characters, or `size`
        does not hold the alphabet.
      ValueError: if `size` is not above the number of special ids.

    Example:
      >>> vocabulary = build_subword_vocabulary(["low lower", "low slow"], size=13)
      >>> (ids,) = vocabulary.encode(["slower"])
      >>> vocabulary.pieces(ids), vocabulary.decode(ids)
      (['s', 'lo', 'w', 'e', 'r '], 'slower')

    Reference: Sennrich, Haddow and Birch (2016), Neural machine translation of rare words with
    subword units.
    """
    from tokenizers import Tokenizer, models, trainers

    check_sizes("build_subword_vocabulary", at_least=len(_SPECIAL) + 1, size=size)
    tokenizer = Tokenizer(
        models.BPE(unk_token=_SPECIAL[UNKNOWN_ID], end_of_word_suffix=_END_OF_WORD)
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(_SPECIAL),
        end_of_word_suffix=_END_OF_WORD,
        show_progress=False,
    )
    vocabulary = _train(tokenizer, trainer, texts, "build_subword_vocabulary")
    if len(vocabulary) > size:
        raise DataError(
            f"build_subword_vocabulary: `size` must hold the alphabet and the special ids, "
            f"at least {len(vocabulary)}, got {size}."
        )
    return vocabulary


def build_word_vocabulary(texts: Iterable[str], min_frequency: int = 1) -> TextVocabulary:
    """Numbers the words of texts, the most frequent first.

    Args:
      texts: training texts, words set apart by white space.
      min_frequency: rarer words are unknown.

    Returns:
      The vocabulary.

    Raises:
      DataError: if there is no such word in `texts`.
      ValueError: if `min_frequency` is below 1.

    Example:
      >>> build_word_vocabulary(["a dog", "a cat"], min_frequency=2).words
      ['<pad>', '<unk>', '<start>', '<end>', 'a']
    """
    from tokenizers import Tokenizer, models, trainers

    check_sizes("build_word_vocabulary", min_frequency=min_frequency)
    tokenizer = Tokenizer(models.WordLevel(unk_token=_SPECIAL[UNKNOWN_ID]))
    trainer = trainers.WordLevelTrainer(
        vocab_size=2**31 - 1,
        min_frequency=min_frequency,
        special_tokens=list(_SPECIAL),
        show_progress=False,
    )
    return _train(tokenizer, trainer, texts, "build_word_vocabulary")


def _train(tokenizer: "Tokenizer", trainer, texts: Iterable[str], name: str) -> TextVocabulary:
    from tokenizers import pre_tokenizers

    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    check_texts(name, "texts", texts)
    with tokenizing(name):
        tokenizer.train_from_iterator(_short_words(texts, name), trainer)
    if tokenizer.get_vocab_size() <= len(_SPECIAL):
        raise DataError(f"{name}: `texts` must hold a word that is frequent enough, got none.")
    return TextVocabulary(tokenizer)


def _short_words(texts: Iterable[str], name: str) -> Iterator[str]:
    for text in texts:
        if len(text) > _LONGEST_WORD:
            longest = max(text.split(), key=len, default="")
            if len(longest) > _LONGEST_WORD:
                raise DataError(
                    f"{name}: a word must have at most {_LONGEST_WORD} characters, got "
                    f"{len(longest)} in {longest[:20]!r}... Set words apart with spaces."
                )
        yield text


def _is_whole(tokenizer: "Tokenizer") -> bool:
    return type(tokenizer.model).__name__ == "WordLevel"
