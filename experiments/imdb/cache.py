"""Reviews are encoded once: a cache whose entries are named by what they are made from."""

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.imdb.ragged import Ragged
from seqjax.data._reviews import Reviews
from seqjax.data._text_file import AnyPath
from seqjax.data._vocabulary import TOKENIZER_VERSION, Vocabulary, build_vocabulary

_SPLITS = ("train", "test", "unlabelled")
_ABANDONED_S = 3600  # no process writes an entry for so long
_LAYOUT = 1  # of the file; raised when its arrays change


@dataclass(frozen=True, eq=False)
class EncodedReviews:
    """Reviews as word ids.

    Attributes:
      vocabulary: of the training texts.
      train: ids of each training review.
      train_labels: 0 or 1, int32.
      test: ids of each test review.
      test_labels: 0 or 1, int32.
      unlabelled: ids of the reviews without label; may be empty.
    """

    vocabulary: Vocabulary
    train: Ragged
    train_labels: np.ndarray
    test: Ragged
    test_labels: np.ndarray
    unlabelled: Ragged


def encode_reviews(
    reviews: Reviews,
    vocab_size: int,
    cache_dir: AnyPath | None = None,
    notify: Callable[[str], None] = print,
    *,
    punctuation: bool = True,
) -> EncodedReviews:
    """Encodes `reviews` with a vocabulary of their training texts, or reads an earlier encoding.

    An entry appears whole or not at all, so processes may share the folder. A damaged one is set
    aside under another name and made again.

    Args:
      reviews: what to encode.
      vocab_size: the most ids there may be; see `build_vocabulary`.
      cache_dir: by default `seqjax` in $XDG_CACHE_HOME or in ~/.cache. Where nothing can be written
        the reviews are encoded all the same.
      notify: receives a line when an entry is damaged or cannot be written.
      punctuation: whether punctuation marks are tokens; see `build_vocabulary`.

    Returns:
      The encoded reviews.

    Raises:
      DataError: if `vocab_size` is too small.
    """
    made_from = f"{reviews.sha256} {vocab_size} {TOKENIZER_VERSION} {_LAYOUT}"
    if not punctuation:
        made_from += " words alone"
    key = hashlib.sha256(made_from.encode()).hexdigest()
    folder = cache_folder(cache_dir)
    entry = folder / f"{reviews.name}-{key[:16]}.npz"
    arrays = read_entry(entry, key, notify)
    if arrays is None:
        vocabulary = build_vocabulary(reviews.train_texts, vocab_size, punctuation=punctuation)
        arrays = _encode(reviews, vocabulary)
        try:
            write_entry(entry, key, arrays)
        except OSError as error:
            notify(f"cache: cannot write {entry} ({error.strerror or error}); going on without it.")
    ragged = {name: Ragged(arrays[f"{name}_tokens"], arrays[f"{name}_offsets"]) for name in _SPLITS}
    return EncodedReviews(
        vocabulary=Vocabulary.from_json(arrays["vocabulary"].tobytes().decode("utf-8")),
        train_labels=np.asarray(reviews.train_labels, np.int32),
        test_labels=np.asarray(reviews.test_labels, np.int32),
        **ragged,
    )


def cache_folder(cache_dir: AnyPath | None = None) -> Path:
    """Returns the folder of cached data: `cache_dir`, or the user's own by default."""
    if cache_dir is None:
        default = Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache"))
        # A user without a home, as in a container, has no cache: nothing can be written there.
        return (default if default.is_absolute() else Path(os.devnull)) / "seqjax"
    return Path(cache_dir).expanduser()


def _encode(reviews: Reviews, vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    arrays = {"vocabulary": np.frombuffer(vocabulary.to_json().encode("utf-8"), np.uint8)}
    texts = (reviews.train_texts, reviews.test_texts, reviews.unlabelled)
    for name, split in zip(_SPLITS, texts, strict=True):
        ragged = Ragged.from_arrays(vocabulary.encode(split))
        arrays[f"{name}_tokens"], arrays[f"{name}_offsets"] = ragged.tokens, ragged.offsets
    return arrays


def read_entry(
    entry: Path, key: str, notify: Callable[[str], None]
) -> dict[str, np.ndarray] | None:
    """Reads the arrays of a cache entry.

    Args:
      entry: its path.
      key: what it must have been made from.
      notify: receives a line when the entry is damaged.

    Returns:
      The arrays, or None where there is no entry, or a damaged one, which is set aside.
    """
    if not entry.exists():
        return None
    try:
        with entry.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if arrays.pop("checksum").tobytes() != _checksum(key, arrays):
            raise ValueError("its checksum is wrong")
        return arrays
    except FileNotFoundError:  # another process has just set it aside
        return None
    except Exception as error:  # zipfile and NumPy raise whatever a broken file leads to
        aside = _set_aside(entry)
        notify(f"cache: {entry} is damaged ({error}); kept as {aside.name} and made again.")
        return None


def _set_aside(entry: Path) -> Path:
    aside = entry.with_name(entry.name + ".damaged")  # one is enough to look at
    with contextlib.suppress(OSError):
        os.replace(entry, aside)
    return aside


def write_entry(entry: Path, key: str, arrays: dict[str, np.ndarray]) -> None:
    """Writes the arrays of a cache entry, which appears whole or not at all.

    Args:
      entry: its path.
      key: what it is made from.
      arrays: its content; no name may be "checksum".

    Raises:
      OSError: if it cannot be written.
    """
    entry.parent.mkdir(parents=True, exist_ok=True)
    for left in entry.parent.glob("*.partial"):  # by a process that was killed
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED_S:
                left.unlink()
    handle, partial = tempfile.mkstemp(dir=entry.parent, prefix=entry.name, suffix=".partial")
    try:
        checksum = np.frombuffer(_checksum(key, arrays), np.uint8)
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, checksum=checksum, **arrays)
        os.replace(partial, entry)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)


def _checksum(key: str, arrays: dict[str, np.ndarray]) -> bytes:
    digest = hashlib.sha256(key.encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.digest()
