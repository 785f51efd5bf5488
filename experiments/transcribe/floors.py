"""What costs next to nothing and must be beaten: digit error rates without a network."""

import itertools

import numpy as np

from experiments.features import segment_means
from experiments.transcribe.config import Config
from experiments.transcribe.scoring import said, scores
from experiments.transcribe.task import DIGITS, Task
from seqjax import data, floors
from seqjax.data._spoken_digits import DIGITS_RATE

_SEGMENTS = 8  # equal parts of a recording, whose means the ridge sees
_LEVELS = (0.2, 0.3, 0.4, 0.5, 0.6)  # between the faintest and the loudest frame of a string
_PAUSES = (1, 3, 6)  # frames


def fit_floors(config: Config, task: Task) -> dict[str, float]:
    """Returns the digit error rates on test of what needs no network.

    `nothing` answers no digit. `constant` answers every string alike, with the digit and the number
    of them that suit the validation strings best. `energy_ridge` cuts strings where the sound is
    faint, level and pause chosen on validation strings, and gives each piece to a ridge that has
    learnt single recordings.
    """
    validation, test = said(task.validation.digits), said(task.test.digits)

    def rate_of(constant: list[int]) -> float:
        return scores([constant] * len(validation), validation)["digit_error_rate"]

    numbers = range(config.max_digits + 1)
    constant = min(([d] * n for d in range(DIGITS) for n in numbers), key=rate_of)
    features, labels = [], []
    for part in (task.recordings.train, task.recordings.validation):
        features.append(np.stack([piece_features(bands(config, each)) for each in part.samples]))
        labels.append(part.digits)
    ridge = floors.fit_ridge_classes(features[0], labels[0], features[1], labels[1])

    def answers(sounds: list[np.ndarray], level: float, pause: int) -> list[list[int]]:
        found = []
        for frames in sounds:
            pieces = [piece_features(piece) for piece in loud_pieces(frames, level, pause)]
            found.append(ridge(np.stack(pieces)).tolist() if pieces else [])
        return found

    heard = [bands(config, samples) for samples in task.validation.samples]

    def rate_of_choice(choice: tuple[float, int]) -> float:
        return scores(answers(heard, *choice), validation)["digit_error_rate"]

    choice = min(itertools.product(_LEVELS, _PAUSES), key=rate_of_choice)
    heard_in_test = [bands(config, samples) for samples in task.test.samples]
    return {
        "nothing": 1.0,
        "constant": scores([constant] * len(test), test)["digit_error_rate"],
        "energy_ridge": scores(answers(heard_in_test, *choice), test)["digit_error_rate"],
    }


def bands(config: Config, samples: np.ndarray) -> np.ndarray:
    """Returns the log-energies of a sound, (frames, num_mels)."""
    return data.log_mel(samples, DIGITS_RATE, num_mels=config.num_mels)


def piece_features(frames: np.ndarray) -> np.ndarray:
    """Returns what the ridge sees of a digit."""
    return segment_means(frames, _SEGMENTS).astype(np.float64)


def loud_pieces(frames: np.ndarray, level: float, pause: int) -> list[np.ndarray]:
    """Cuts frames where they are faint.

    Args:
      frames: log-energies, (T, num_mels).
      level: a frame is loud above this part of the way from the faintest mean to the loudest.
      pause: pieces closer than this many frames are one.

    Returns:
      The pieces in their order.

    Example:
      >>> frames = np.array([0.0, 9, 9, 0, 0, 9, 0])[:, None]
      >>> [len(piece) for piece in loud_pieces(frames, 0.5, 1)]
      [2, 1]
      >>> [len(piece) for piece in loud_pieces(frames, 0.5, 3)]
      [5]
    """
    energy = frames.mean(axis=1)
    loud = np.flatnonzero(energy > energy.min() + level * (energy.max() - energy.min()))
    if not len(loud):
        return []
    breaks = np.flatnonzero(np.diff(loud) > pause)
    firsts, lasts = loud[[0, *(breaks + 1)]], loud[[*breaks, -1]]
    return [frames[a : b + 1] for a, b in zip(firsts, lasts, strict=True)]
