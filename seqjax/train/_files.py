"""JSON that every reader accepts, and files that are never seen half-written."""

import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from seqjax.train._errors import RunError


def replace_file(path: Path, content: str | bytes) -> None:
    """Writes a file so that a reader finds the old content or the new one, never a part.

    Args:
      path: file to write; its folder is made when missing.
      content: text (written as UTF-8) or bytes.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "deep" / "note.txt"
      >>> replace_file(path, "whole")
      >>> path.read_text()
      'whole'
    """
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    sync(temporary)  # or a power cut can leave the new name on an empty file
    os.replace(temporary, path)
    sync(path.parent)


def make_folder(path: Path) -> None:
    """Makes a folder and those above it; their names, too, are kept through a power cut."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync(folder.parent)


def sync(path: Path) -> None:
    """Has the disk keep the content of a file, or the names in a folder, through a power cut."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders, and keeps their names itself
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(path: Path) -> None:
    """Has the disk keep a folder with the files and folders in it; see `sync`."""
    found = [each for each in (*path.rglob("*"), path) if each.is_file() or each.is_dir()]
    with ThreadPoolExecutor(16) as pool:  # the disk joins what waits for it together
        list(pool.map(sync, (each for each in found if os.access(each, os.R_OK))))


def expanded(path: str | Path) -> Path:
    """Returns a path with the user's home in the place of `~`.

    Raises:
      RunError: if there is no such user, or no home.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise RunError(
            f"{path} must begin with the home of a user who has one. Give the whole path."
        ) from None


def plain(value: Any) -> Any:
    """Turns a nest of numbers, arrays and records into what strict JSON can hold.

    Args:
      value: nest of dicts, sequences, strings, Python, NumPy and JAX numbers or arrays.

    Returns:
      The same nest of dicts, lists, strings, numbers, booleans and None. NaN and the infinities,
      which JSON lacks, become None.

    Raises:
      TypeError: if the nest holds anything else.

    Example:
      >>> plain({"sizes": (3, 4), "loss": float("nan")})
      {'sizes': [3, 4], 'loss': None}
    """
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # a NumPy or JAX array or scalar
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        "seqjax.train: settings, metrics and results must be numbers, strings, booleans, None, or "
        f"dicts and lists of them, got {type(value).__name__}. Convert it first, as with str()."
    )


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Formats a nest as strict JSON; see `plain`.

    Args:
      value: nest that `plain` accepts.
      indent: spaces a level, or None for a single line.

    Returns:
      JSON text without a final newline.

    Example:
      >>> to_json({"step": 3, "loss": 0.5})
      '{"step": 3, "loss": 0.5}'
    """
    value = plain(value)
    text = json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character, as in a path whose bytes are no UTF-8
        text = json.dumps(value, indent=indent, allow_nan=False)
    return text


def refuse_deep(value: Any) -> None:
    """Refuses a nest of more levels than anything here writes, on which every recursion would end.

    Args:
      value: what was read of JSON.

    Raises:
      ValueError: if it has more than 50 levels.

    Example:
      >>> refuse_deep({"sizes": [3, 4]})
    """
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(50):
        nests = [node.values() if isinstance(node, dict) else node for node in level]
        level = [child for nest in nests for child in nest if isinstance(child, dict | list)]
        if not level:
            return
    raise ValueError("it is nested more than 50 levels deep")
