"""Spoken digits: 3,000 short recordings of six speakers.

Reference: Jackson et al. (2018), Free Spoken Digit Dataset, v1.0.8 (the data and the test indices).
"""

import re
from typing import NamedTuple

import numpy as np

from seqjax._checks import check_sizes
from seqjax.data._audio import read_wav
from seqjax.data._data_dir import find_data
from seqjax.data._errors import DataError
from seqjax.data._text_file import AnyPath, list_files

SOURCE = "https://github.com/Jakobovski/free-spoken-digit-dataset"
DIGITS_RATE = 8000
"""Samples a second of the recordings."""

_TEST_INDICES = 5  # of each digit and speaker, the first recordings, as published
_NAME = re.compile(r"(\d)_(\w+)_(\d+)\.wav")


class Recordings(NamedTuple):
    """Recordings of single digits, at 8,000 samples a second.

    Attributes:
      samples: of each recording, float32 (N_i,).
      digits: int32 (N,).
      speakers: names, (N,).
    """

    samples: list[np.ndarray]
    digits: np.ndarray
    speakers: np.ndarray

    def take(self, indices: np.ndarray) -> "Recordings":
        """Returns chosen recordings, in the order of the indices."""
        samples = [self.samples[i] for i in indices.tolist()]
        return Recordings(samples, self.digits[indices], self.speakers[indices])


class SpokenDigits(NamedTuple):
    """Recordings to train on, to choose the epoch by, and to test."""

    train: Recordings
    validation: Recordings
    test: Recordings


def load_spoken_digits(
    data_dir: AnyPath | None = None, *, held_out: int = 5, seed: int = 0
) -> SpokenDigits:
    """Loads the Free Spoken Digit Dataset with its published test part.

    Args:
      data_dir: folder with `fsdd/recordings/{digit}_{speaker}_{index}.wav`, or one on that path;
        `SEQJAX_DATA_DIR` by default.
      held_out: recordings of each digit and speaker that validate; which, is drawn by `seed`.
      seed: of the draw.

    Returns:
      `train`, `validation` and `test`, each with the `samples` of every recording, float32 (N_i,)
      at 8,000 a second, its `digits`, int32 (N,), and its `speakers`. Recordings of index 0 to 4
      test. Validation has as many of each digit and speaker.

    Raises:
      DataError: if the data is missing, a file is damaged or has another name or rate, or a digit
        and speaker have too few recordings.

    Example:
      >>> len(load_spoken_digits("data").test.digits)  # doctest: +SKIP
      300
    """
    check_sizes("load_spoken_digits", at_least=0, held_out=held_out, seed=seed)
    folder = find_data("spoken_digits", ["fsdd/recordings/*.wav"], data_dir, SOURCE).parent
    found = []
    for path in list_files(folder, [".wav"]):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise DataError(
                f"spoken_digits: files must be called DIGIT_SPEAKER_INDEX.wav, got {path.name} in "
                f"{folder}. Rename or remove it."
            )
        found.append((int(match[1]), match[2], int(match[3]), path))
    found.sort(key=lambda item: item[:3])
    recordings = Recordings(
        [read_wav(path, rate=DIGITS_RATE).samples for *_, path in found],
        np.array([digit for digit, *_ in found], np.int32),
        np.array([speaker for _, speaker, *_ in found]),
    )
    is_test = np.array([index < _TEST_INDICES for _, _, index, _ in found])
    validates = _draw_validation(recordings, is_test, held_out, seed)
    return SpokenDigits(*(
        recordings.take(np.flatnonzero(part))
        for part in (~is_test & ~validates, validates, is_test)
    ))  # fmt: skip


def _draw_validation(
    recordings: Recordings, is_test: np.ndarray, held_out: int, seed: int
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(is_test), bool)
    for digit in np.unique(recordings.digits):
        for speaker in np.unique(recordings.speakers):
            mine = (recordings.digits == digit) & (recordings.speakers == speaker)
            free = np.flatnonzero(mine & ~is_test)
            if len(free) <= held_out or len(free) == mine.sum():
                raise DataError(
                    f"spoken_digits: of digit {digit} by {speaker} more than {held_out} recordings "
                    f"of index {_TEST_INDICES} or above and one below are required, got "
                    f"{len(free)} and {mine.sum() - len(free)}."
                )
            chosen[rng.permutation(free)[:held_out]] = True
    return chosen
