"""Which files of the UEA and UCR archives a path names, and what is in them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seqjax import data
from seqjax.data._text_file import list_files


def ts_paths(path: str) -> list[Path]:
    """Returns the training and the test file of a folder, or the file itself.

    Raises:
      DataError: if a folder does not have one of each.
    """
    given = Path(path).expanduser()
    if not given.is_dir():
        return [given]
    files = list_files(given, [".ts"])
    parts = [[p for p in files if p.stem.lower().endswith(end)] for end in ("_train", "_test")]
    if any(len(part) != 1 for part in parts):
        raise data.DataError(
            f"ts: {given} must hold one file that ends in _TRAIN.ts and one in _TEST.ts, got "
            f"{', '.join(p.name for p in files) or 'no .ts file'}."
        )
    return [part[0] for part in parts]


def read_parts(paths: Sequence[Path]) -> list[data.TsSequences]:
    """Reads files that belong together.

    Raises:
      DataError: if one is malformed, or they differ in classes or channels.
    """
    parts = [data.read_ts(path) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        if not part.labels:
            raise data.DataError(f"ts: {path} must have @classLabel true and its classes.")
        if part.classes != parts[0].classes:
            raise data.DataError(
                f"ts: {path} must have the classes of {paths[0].name}, "
                f"{', '.join(parts[0].classes)}, got {', '.join(part.classes)}."
            )
        check_channels(path, part.sequences, parts[0].sequences[0].shape[1])
    return parts


def check_channels(path: str | Path, sequences: Sequence[np.ndarray], wanted: int) -> None:
    """Refuses sequences of another number of channels."""
    got = sequences[0].shape[1]
    if got != wanted:
        raise data.DataError(
            f"ts: {path} must have {wanted} channels, as the training sequences, got {got}."
        )
