"""Your own reviews: one text file each, in a folder for each split and label."""

import os
from pathlib import Path

import numpy as np

from seqjax.data.errors import DataError
from seqjax.data.reviews import Reviews
from seqjax.data.text_file import read_text


def load_folder(data_dir: str | os.PathLike[str]) -> Reviews:
    """Loads `train|test/neg|pos/*.txt`, and `train/unsup/*.txt` where it exists.

    Args:
      data_dir: the folder that holds `train` and `test`; files are UTF-8, taken in order of name.

    Returns:
      The reviews, negative ones first.

    Raises:
      DataError: if a folder is missing or empty, or a file is not UTF-8 text.
    """
    root = Path(data_dir).expanduser()
    if not root.is_dir():
        raise DataError(f"folder: `data_dir` must be an existing folder, got {str(root)!r}.")
    train_texts, train_labels = _read_split(root / "train")
    test_texts, test_labels = _read_split(root / "test")
    unlabelled = root / "train" / "unsup"
    return Reviews(
        "folder",
        train_texts,
        train_labels,
        test_texts,
        test_labels,
        _read_texts(unlabelled) if unlabelled.exists() else [],
    )


def _read_split(split: Path) -> tuple[list[str], np.ndarray]:
    negative, positive = _read_texts(split / "neg"), _read_texts(split / "pos")
    labels = np.repeat(np.array([0, 1], np.int32), [len(negative), len(positive)])
    return negative + positive, labels


def _read_texts(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DataError(
            f"folder: {folder} must be a folder of .txt files, but there is none. "
            "Expected train/neg, train/pos, test/neg and test/pos under --data_dir."
        )
    paths = sorted(folder.glob("*.txt"))
    if not paths:
        raise DataError(f"folder: {folder} must hold at least one .txt file, got none.")
    return [read_text(path) for path in paths]
