"""Words and their numbers."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from seqjax._errors import first_line
from seqjax.data._checks import check_texts
from seqjax.data._errors import DataError
from seqjax.data._text_file import AnyPath, read_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PADDING_ID = 0
"""Token of the padding."""

UNKNOWN_ID = 1
"""Token of every word that the vocabulary lacks."""

# Raised whenever the same texts would be cut or numbered differently: it is part of a cache's key.
TOKENIZER_VERSION = 1

_SPECIAL = ("<pad>", "<unk>")
# Words, with the apostrophes inside them, and the marks that carry feeling or end a clause.
# Hyphens, brackets, quotes and the rest separate.
_WORD = r"[\p{L}\p{N}]+(?:'[\p{L}\p{N}]+)*"
_MARK = r"[!?.,]"
_ENCODE_AT_ONCE = 2000  # texts; an Encoding is some fifty times larger than its ids


class Vocabulary:
    """Turns texts into word ids: 0 is padding, 1 any unknown word, then words by frequency.

    Attributes:
      padding_id: 0.
      unknown_id: 1.

    Example:
      >>> vocabulary = build_vocabulary(["It isn't good, it is GOOD!"], size=100)
      >>> [ids.tolist() for ids in vocabulary.encode(["good <br /> it", "unheard"])]
      [[2, 3], [1]]
    """

    padding_id: ClassVar[int] = PADDING_ID
    unknown_id: ClassVar[int] = UNKNOWN_ID

    def __init__(self, tokenizer: "Tokenizer"):
        """Wraps a trained tokenizer; see `build_vocabulary`."""
        self._tokenizer = tokenizer

    def __len__(self) -> int:
        """Number of ids, padding and unknown included; may be less than was asked for."""
        return self._tokenizer.get_vocab_size()

    @property
    def words(self) -> list[str]:
        """The word of each id."""
        ids = self._tokenizer.get_vocab()
        return sorted(ids, key=ids.__getitem__)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Returns the ids of each text, int32 of shape (words,); uses every core.

        Raises:
          TypeError: if `texts` is one text.
          DataError: if a text cannot be written as UTF-8.
        """
        check_texts("Vocabulary.encode", "texts", texts)
        encoded = []
        for start in range(0, len(texts), _ENCODE_AT_ONCE):
            with tokenizing("Vocabulary.encode"):
                batch = self._tokenizer.encode_batch_fast(
                    list(texts[start : start + _ENCODE_AT_ONCE])
                )
            encoded += [np.asarray(encoding.ids, np.int32) for encoding in batch]
        return encoded

    def to_json(self) -> str:
        """Returns the vocabulary as the tokenizers library writes it."""
        return self._tokenizer.to_str()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Returns the vocabulary that `to_json` wrote.

        Raises:
          DataError: if the text is none.
        """
        from tokenizers import Tokenizer

        with tokenizing("Vocabulary.from_json: a text written by Vocabulary.to_json is required"):
            return cls(Tokenizer.from_str(text))

    def save(self, path: AnyPath) -> None:
        """Writes `to_json` to a file."""
        Path(path).write_text(self.to_json(), "utf-8")

    @classmethod
    def load(cls, path: AnyPath) -> Self:
        """Reads what `save` wrote.

        Raises:
          DataError: if the file is missing or is no vocabulary.
        """
        try:
            return cls.from_json(read_text(path))
        except DataError as error:
            raise DataError(
                f"Vocabulary.load: {path} must be a file written by Vocabulary.save: {error}"
            ) from error


@contextlib.contextmanager
def tokenizing(where: str) -> Iterator[None]:
    """Makes one line of whatever the library of the tokenizers raises.

    Args:
      where: what was done, for the message.

    Raises:
      DataError: if a text cannot be written as UTF-8, or the library refuses it.
    """
    try:
        yield
    except DataError:
        raise
    except BaseException as error:  # it raises bare Exception, and panics
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = first_line(error)
        if isinstance(error, UnicodeEncodeError | TypeError):
            reason = "a text must be Unicode that can be written as UTF-8, without lone surrogates"
        raise DataError(f"{where}: {reason}.") from error


def build_vocabulary(texts: Iterable[str], size: int, *, punctuation: bool = True) -> Vocabulary:
    """Numbers the most frequent words of `texts`.

    Text is lower-cased, `<br />` and accents removed. Tokens are words, whole with their inner
    apostrophes, and each of `! ? . ,`; other signs are dropped.

    Args:
      texts: training texts.
      size: the most ids there may be, with padding and unknown: at least 3.
      punctuation: whether the marks are tokens, or dropped like other signs.

    Returns:
      The vocabulary. Words equally frequent are numbered in alphabetical order.

    Raises:
      TypeError: if `size` is not an integer, or `texts` is one text.
      DataError: if `size` is below 3, there is no word in `texts`, or one cannot be written as
        UTF-8.

    Example:
      >>> build_vocabulary(["a b b"], size=3).words
      ['<pad>', '<unk>', 'b']
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    check_texts("build_vocabulary", "texts", texts)
    if isinstance(size, bool) or not isinstance(size, int | np.integer):
        raise TypeError(f"build_vocabulary: `size` must be an integer, got {size!r}.")
    if size < len(_SPECIAL) + 1:
        raise DataError(
            f"build_vocabulary: `size` must be at least 3 (padding, unknown, a word), got {size}."
        )
    tokenizer = Tokenizer(models.WordLevel(unk_token=_SPECIAL[UNKNOWN_ID]))
    tokenizer.normalizer = normalizers.Sequence(
        [
            # Possessive: what was passed over is not tried again, however long it is.
            normalizers.Replace(Regex(r"<br\s*+/?>"), " "),
            normalizers.Replace("’", "'"),
            normalizers.NFD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
        ]
    )
    token = f"{_WORD}|{_MARK}" if punctuation else _WORD
    # Inverted, the pattern says what stays rather than what separates.
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(token), "removed", invert=True)
    trainer = trainers.WordLevelTrainer(
        vocab_size=int(size), special_tokens=list(_SPECIAL), show_progress=False
    )
    with tokenizing("build_vocabulary"):
        tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() == len(_SPECIAL):
        raise DataError("build_vocabulary: `texts` must hold at least one word, got none.")
    # A trained tokenizer reads "<pad>" in a text as padding; one made of the same words does not.
    words = models.WordLevel(tokenizer.get_vocab(), unk_token=_SPECIAL[UNKNOWN_ID])
    plain = Tokenizer(words)
    plain.normalizer, plain.pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    return Vocabulary(plain)
