"""A user's files: which files of a folder count, and text as UTF-8 and nothing else."""

import os
import stat
from collections.abc import Collection
from pathlib import Path

from seqjax.data._errors import DataError

AnyPath = str | os.PathLike[str]
"""A path as a user gives it."""

_STRAY = ("thumbs.db", "desktop.ini", "__macosx", "@eadir")


def is_stray(path: Path) -> bool:
    """Says whether a system left a file or folder beside the user's own; hidden ones count as such.

    Example:
      >>> [is_stray(Path("cat") / name) for name in ("._1.txt", "Thumbs.db", "1.txt")]
      [True, True, False]
    """
    return path.name.startswith(".") or path.name.lower() in _STRAY


def list_files(folder: Path, suffixes: Collection[str] = ()) -> list[Path]:
    """Lists what a folder holds in the order of its names, without stray files.

    Args:
      folder: an existing folder.
      suffixes: in lower case, such as ".txt"; all by default.

    Returns:
      The paths.

    Raises:
      DataError: if the folder cannot be read.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if not is_stray(path))
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}.") from None
    return [path for path in paths if not suffixes or path.suffix.lower() in suffixes]


def regular_file(path: AnyPath) -> Path:
    """Returns the path of a regular file: reading a pipe or a device might never end.

    Raises:
      DataError: if there is no such file, or it is a folder, a pipe or a device.

    Example:
      >>> regular_file("none.txt")
      Traceback (most recent call last):
      ...
      seqjax.data._errors.DataError: no such file: none.txt.
    """
    try:
        path = Path(path).expanduser()
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"no such file: {path}.") from None
    except (OSError, ValueError, RuntimeError) as error:  # a zero byte, ~nobody
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read: {reason}.") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise DataError(f"{path} must be a file, and is {kind}.")
    return path


def read_text(path: AnyPath) -> str:
    r"""Reads a text of UTF-8; a byte-order mark is dropped, and lines end with \n, not \r\n.

    Args:
      path: the file.

    Returns:
      The text.

    Raises:
      DataError: if the file is missing, cannot be read, or is not UTF-8.
    """
    path = regular_file(path)
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line} must be UTF-8 text, got byte {error.object[error.start]:#04x} at "
            f"position {error.start}. Convert it, for example with iconv."
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
