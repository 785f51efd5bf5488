"""Your own reviews: one text file each, in a folder for each split and label."""

from pathlib import Path

import numpy as np

from seqjax.data._errors import DataError
from seqjax.data._reviews import Reviews
from seqjax.data._text_file import AnyPath, list_files, read_text


def load_folder(data_dir: AnyPath) -> Reviews:
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


def write_reviews(reviews: Reviews, data_dir: AnyPath) -> None:
    """Writes reviews as `--dataset=folder` reads them; those without a label are left out.

    Args:
      reviews: what to write.
      data_dir: the folder that `train` and `test` go to, made when missing.

    Raises:
      DataError: if there are reviews in that folder already, or it cannot be written.

    Example:
      >>> import tempfile
      >>> from seqjax.data import generate_reviews, load_reviews
      >>> folder = tempfile.mkdtemp()
      >>> write_reviews(generate_reviews(num_train=4, num_test=2), folder)
      >>> load_reviews("folder", data_dir=folder).test_labels.tolist()
      [0, 1]
    """
    splits = {
        "train": (reviews.train_texts, reviews.train_labels),
        "test": (reviews.test_texts, reviews.test_labels),
    }
    for split, (texts, labels) in splits.items():
        for number, (text, label) in enumerate(zip(texts, labels.tolist(), strict=True)):
            file = Path(data_dir, split, ("neg", "pos")[label], f"{number:06}.txt")
            if number == 0 and file.parents[1].exists():
                raise DataError(f"write_reviews: {file.parents[1]} is there already; name another.")
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, "utf-8")
            except (OSError, UnicodeEncodeError) as error:
                reason = getattr(error, "strerror", None) or error
                raise DataError(f"write_reviews: {file} cannot be written: {reason}.") from None


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
    paths = list_files(folder, [".txt"])
    if not paths:
        raise DataError(f"folder: {folder} must hold at least one .txt file, got none.")
    return [read_text(path) for path in paths]
