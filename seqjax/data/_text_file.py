"""A file of text, read as UTF-8 and nothing else."""

import os
from pathlib import Path

from seqjax.data._errors import DataError


def read_text(path: str | os.PathLike[str]) -> str:
    """Reads a text of UTF-8.

    Args:
      path: the file.

    Returns:
      The text.

    Raises:
      DataError: if the file is missing, cannot be read, or is not UTF-8.

    Example:
      >>> read_text("none.txt")
      Traceback (most recent call last):
      ...
      seqjax.data._errors.DataError: none.txt cannot be read: No such file or directory.
    """
    path = Path(path).expanduser()
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} must be UTF-8 text, got byte {error.object[error.start]:#04x} at position "
            f"{error.start}. Convert it, for example with iconv."
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
