"""Four-voice chorales as piano rolls: Bach's, and the resolution they are judged at."""

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seqjax._checks import check_sizes
from seqjax.data._data_dir import find_data
from seqjax.data._errors import DataError
from seqjax.data._text_file import AnyPath, read_text

SOURCE = "https://github.com/czhuang/JSB-Chorales-dataset"
LOWEST = 21
"""MIDI note of the lowest key of a piano."""

NUM_NOTES = 88
"""Keys of a piano."""


class Rolls(NamedTuple):
    """Music as piano rolls: arrays of shape (steps, 88), 1 where a note sounds and 0 elsewhere.

    Attributes:
      train: pieces to learn from.
      validation: pieces that choose.
      test: pieces that judge.
    """

    train: list[np.ndarray]
    validation: list[np.ndarray]
    test: list[np.ndarray]

    @property
    def sha256(self) -> str:
        """Hash of the pieces."""
        digest = hashlib.sha256()
        for part in self:
            for roll in part:
                digest.update(f"{roll.shape}\n".encode() + np.packbits(roll > 0).tobytes())
        return digest.hexdigest()


def load_chorales(data_dir: AnyPath | None = None, *, every: int = 4) -> Rolls:
    """Loads 229 chorales to learn, 76 to validate and 77 to test, as published.

    The file has a step for every sixteenth. Published likelihoods are those of the quarter-note
    roll, which is every fourth of them: 13,807, 4,602 and 4,725 steps. The voices are merged: a
    note that two of them sing is one note of the roll.

    Args:
      data_dir: folder with `jsb_chorales/Jsb16thSeparated.json`, or with the file itself;
        `SEQJAX_DATA_DIR` by default.
      every: sixteenths in a step.

    Returns:
      The piano rolls in `train`, `validation` and `test`: lists of float32 arrays (steps, 88), 1
      where a note sounds and 0 elsewhere.

    Raises:
      DataError: if the file is missing or damaged.

    Example:
      >>> load_chorales("data").test[0].shape  # doctest: +SKIP
      (64, 88)

    Reference: Boulanger-Lewandowski et al. (2012), Modeling temporal dependencies in
    high-dimensional sequences (the split and the measure).
    """
    check_sizes("load_chorales", every=every)
    path = find_data("chorales", ["jsb_chorales/Jsb16thSeparated.json"], data_dir, SOURCE)
    try:
        content = json.loads(read_text(path))
        parts = [[piano_roll(piece[::every]) for piece in content[k]] for k in
                 ("train", "valid", "test")]  # fmt: skip
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise DataError(
            f"chorales: {path} must hold train, valid and test, each a list of pieces of steps of "
            f"notes, and is damaged ({type(error).__name__}: {error}). Copy it again."
        ) from None
    if not all(parts):
        raise DataError(f"chorales: each part of {path} must hold a piece. Copy it again.")
    return Rolls(*parts)


def piano_roll(steps: Sequence[Sequence[int]]) -> np.ndarray:
    """Returns the piano roll of the notes that sound at every step, float32 (steps, 88).

    Args:
      steps: MIDI notes; a negative one is a rest.

    Raises:
      DataError: if there is no step, or a note is not on a piano.

    Example:
      >>> np.flatnonzero(piano_roll([[60, 64, -1]])[0]).tolist()
      [39, 43]
    """
    roll = np.zeros((len(steps), NUM_NOTES), np.float32)
    if not len(steps):
        raise DataError("chorales: a piece must have at least one step, got none.")
    for row, notes in zip(roll, steps, strict=True):
        for note in notes:
            if note >= 0:
                if not LOWEST <= note < LOWEST + NUM_NOTES:
                    raise DataError(
                        f"chorales: notes must be from {LOWEST} to {LOWEST + NUM_NOTES - 1}, got "
                        f"{note}."
                    )
                row[note - LOWEST] = 1
    return roll
