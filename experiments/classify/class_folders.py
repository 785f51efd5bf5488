"""Your own examples of classes: a folder for each class, with a file for each example."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqjax.data._errors import DataError
from seqjax.data._text_file import list_files

KINDS = (".wav", ".txt")


class ClassFolders(NamedTuple):
    """Files and their classes.

    Attributes:
      kind: `.wav` or `.txt`.
      paths: of the files.
      labels: index in `classes`, int32.
      classes: names of the folders, sorted.
    """

    kind: str
    paths: list[Path]
    labels: np.ndarray
    classes: tuple[str, ...]


def find_class_folders(folder: str | os.PathLike[str]) -> ClassFolders:
    """Lists the examples in `folder/CLASS/*.wav` or `folder/CLASS/*.txt`.

    Args:
      folder: it holds a folder for each class, and those hold files of one of the two kinds.

    Returns:
      The files, by class and name.

    Raises:
      DataError: if there are fewer than two classes, one is empty, or both kinds are there.

    Example:
      >>> import tempfile
      >>> root = Path(tempfile.mkdtemp())
      >>> for name in ("cat", "dog"):
      ...     (root / name).mkdir()
      ...     _ = (root / name / "1.txt").write_text("...")
      >>> find_class_folders(root).classes
      ('cat', 'dog')
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise DataError(f"class_folders: an existing folder is required, got {str(root)!r}.")
    classes = [path.name for path in list_files(root) if path.is_dir()]
    if len(classes) < 2:
        raise DataError(
            f"class_folders: {root} must hold a folder for each of two or more classes, got "
            f"{len(classes)}."
        )
    paths, labels = [], []
    for label, name in enumerate(classes):
        mine = list_files(root / name, KINDS)
        if not mine:
            raise DataError(f"class_folders: {root / name} must hold .wav or .txt files, got none.")
        paths += mine
        labels += [label] * len(mine)
    kinds = sorted({path.suffix.lower() for path in paths})
    if len(kinds) > 1:
        raise DataError(f"class_folders: {root} must hold .wav or .txt files, got both.")
    return ClassFolders(kinds[0], paths, np.array(labels, np.int32), tuple(classes))
