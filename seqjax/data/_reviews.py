"""Labelled film reviews, and the one function that finds them."""

import functools
import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqjax.data._checks import check_ids, check_pair, check_texts
from seqjax.data._data_dir import prepared_folder
from seqjax.data._errors import DataError, UnreachableError
from seqjax.data._text_file import AnyPath

DATASETS = ("auto", "imdb_reviews", "generated_reviews", "folder")
"""What `load_reviews` can load."""

_GENERATED_NOTICE = """\
{rule}
 NO REAL DATA: these are GENERATED reviews, and so is every result below.
 Why: {why}
 How to get the real ones: connect to the network and run again, or put the
 archive {url}
 at {archive},
 or name the folder that holds them with --data_dir.
{rule}"""


@dataclass(frozen=True, eq=False)
class Reviews:
    """Texts with their labels (0 = negative, 1 = positive), and texts without any.

    Attributes:
      name: what the reviews are, as results name them.
      train_texts: reviews to learn from.
      train_labels: their labels, int32.
      test_texts: reviews to be judged by.
      test_labels: their labels, int32.
      unlabelled: further reviews; may be empty.

    Example:
      >>> labels = np.array([1], np.int32)
      >>> Reviews("mine", ["good"], labels, ["fine"], labels, []).sha256[:8]
      '9b0a1a77'
    """

    name: str
    train_texts: list[str]
    train_labels: np.ndarray
    test_texts: list[str]
    test_labels: np.ndarray
    unlabelled: list[str]

    def __post_init__(self):
        """Refuses texts and labels that do not fit each other."""
        for part, texts, labels in (
            ("train", self.train_texts, self.train_labels),
            ("test", self.test_texts, self.test_labels),
        ):
            check_texts("Reviews", f"{part}_texts", texts)
            check_ids("Reviews", f"{part}_labels", labels, 2)
            check_pair("Reviews", **{f"{part}_texts": texts, f"{part}_labels": labels})

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of all texts and labels in their order; the name is not content."""
        digest = hashlib.sha256()
        for texts in (self.train_texts, self.test_texts, self.unlabelled):
            _hash_texts(digest, texts)
        for labels in (self.train_labels, self.test_labels):
            digest.update(np.asarray(labels, "<i4").tobytes())
        return digest.hexdigest()


def load_reviews(
    dataset: str = "auto", *, data_dir: AnyPath | None = None, notify: Callable[[str], None] = print
) -> Reviews:
    """Loads the reviews called `dataset`.

    Args:
      dataset: `imdb_reviews`, the Large Movie Review Dataset, prepared by TFDS or from its
        published archive; `folder`, your own `train|test/neg|pos/*.txt`; `generated_reviews`, made
        by a small grammar; `auto`, the real `imdb_reviews` or, without a network,
        and without `data_dir`, the generated ones.
      data_dir: where the data is or shall be: prepared by TFDS, the archive, or what it unpacks to;
        the folder itself or the one above it. By default the environment's TFDS_DATA_DIR, then
        `~/tensorflow_datasets`; `folder` needs it, `generated_reviews` refuses it.
      notify: receives what a user must know, as one text.

    Returns:
      The reviews, in an order that depends on their content only.

    Raises:
      DataError: if `dataset` is unknown, or the data is missing, damaged or cannot be fetched.

    Example:
      >>> load_reviews("generated_reviews").train_labels.shape
      (20000,)
    """
    # Each source is imported when it is asked for: they import this module.
    if dataset == "generated_reviews":
        if data_dir:
            raise DataError(
                f"load_reviews: `generated_reviews` reads no `data_dir`, got {str(data_dir)!r}. "
                "Leave out one of them."
            )
        from seqjax.data._generated_reviews import generate_reviews

        return generate_reviews()
    if dataset == "folder":
        from seqjax.data._folder import load_folder

        if not data_dir:
            raise DataError("load_reviews: `folder` needs `data_dir`, got none. Pass --data_dir.")
        return load_folder(data_dir)
    if dataset not in DATASETS:
        raise DataError(
            f"load_reviews: `dataset` must be one of {', '.join(DATASETS)}; got {dataset!r}."
        )

    from seqjax.data import _imdb_reviews as imdb_reviews

    root = _data_root(data_dir)
    try:
        return imdb_reviews.load_imdb_reviews(root, notify)
    except UnreachableError as error:
        # Only an absent network leads to generated data. Damaged data is an error, and so is a
        # folder that was named and does not hold it.
        if data_dir:
            raise DataError(f"{error} {root} does not hold them.") from None
        if dataset != "auto":
            raise
        notify(
            _GENERATED_NOTICE.format(
                rule="!" * 78,
                why=error,
                url=imdb_reviews.ARCHIVE_URL,
                archive=imdb_reviews.archive_path(root),
            )
        )
    from seqjax.data._generated_reviews import generate_reviews

    return generate_reviews()


def _data_root(data_dir: AnyPath | None) -> Path:
    root = prepared_folder(data_dir)
    # Named by the user: more likely misspelt than meant to be made.
    if data_dir and not root.is_dir():
        raise DataError(
            f"load_reviews: `data_dir` must be an existing folder, got {str(root)!r}. "
            f"Correct it, or create it with `mkdir -p {root}` to download there."
        )
    return root


def _hash_texts(digest, texts: Sequence[str]) -> None:
    # Lengths stand before the bytes, so that moving a character across a border changes the hash.
    digest.update(struct.pack("<q", len(texts)))
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(struct.pack("<q", len(encoded)))
        digest.update(encoded)
