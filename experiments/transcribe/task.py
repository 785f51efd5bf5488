"""The data of the transcription experiment: strings of digits as frames of sound."""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from experiments.command_line import ConfigError
from experiments.features import stack_steps
from experiments.transcribe.config import Config
from experiments.transcribe.digit_strings import DigitStrings, draw_digit_strings
from experiments.transcribe.tones import generate_tones
from seqjax import data
from seqjax.data._spoken_digits import DIGITS_RATE, Recordings, SpokenDigits

DIGITS = 10
_TRAIN, _VALIDATION, _TEST, _SCALE = range(1, 5)  # streams of random numbers, apart
_HELD_OUT = 150  # generated tones that validate, and that test


class Scales(NamedTuple):
    """Units of the frames, taken from training strings.

    Attributes:
      mean: of every feature, (D,).
      std: standard deviation of every feature, (D,).
    """

    mean: np.ndarray
    std: np.ndarray


class Task(NamedTuple):
    """The data of one run.

    Attributes:
      name: what results call it.
      recordings: single digits that train, validate and test.
      train: `train(seed, epoch)`, the training strings of an epoch; each recording is in one.
      validation: strings that choose the epoch.
      test: strings that judge; these do not change.
      scales: units of the network's inputs.
      buckets: padded numbers of steps.
      sha256: hash of the recordings, and of the strings that validate and test.
    """

    name: str
    recordings: SpokenDigits
    train: Callable[[int, int], DigitStrings]
    validation: DigitStrings
    test: DigitStrings
    scales: Scales
    buckets: list[int]
    sha256: str


def load_task(config: Config) -> Task:
    """Loads or generates single digits and makes the strings that do not change.

    Raises:
      DataError: if the data is missing or damaged.
      ConfigError: if strings have too few steps for their digits.
    """
    if config.task == "digits":
        name = "strings of spoken digits"
        recordings = data.load_spoken_digits(config.data_dir, seed=config.split_seed)
    else:
        name, rng = "generated strings of tones", np.random.default_rng(0)
        sizes = (config.train_size, _HELD_OUT, _HELD_OUT)
        recordings = SpokenDigits(*(generate_tones(rng, size) for size in sizes))
    sample = draw(config, recordings.train, [config.split_seed, _SCALE])
    features = [frames(config, samples) for samples in sample.samples]
    scales = Scales(*data.RaggedSequences(features, sample.digits).moments())

    def rounds(part: Recordings, stream: int) -> DigitStrings:
        parts = [draw(config, part, [config.split_seed, stream, i]) for i in range(config.rounds)]
        return DigitStrings(
            [samples for each in parts for samples in each.samples],
            np.concatenate([each.digits for each in parts]),
        )

    validation, test = rounds(recordings.validation, _VALIDATION), rounds(recordings.test, _TEST)
    digest = hashlib.sha256()
    for samples in (*recordings.train.samples, *validation.samples, *test.samples):
        digest.update(samples.tobytes())
    for strings in (validation, test):
        check_steps(config, strings)
        digest.update(strings.digits.tobytes())
    longest = len(frames(config, np.zeros(round(config.max_seconds * DIGITS_RATE))))
    lengths = [*map(len, features), longest]
    return Task(
        name=name,
        recordings=recordings,
        train=lambda seed, epoch: draw(config, recordings.train, [seed, epoch, _TRAIN]),
        validation=validation,
        test=test,
        scales=scales,
        buckets=data.tight_bucket_lengths(lengths, config.num_buckets),
        sha256=digest.hexdigest(),
    )


def draw(config: Config, part: Recordings, seed: list[int]) -> DigitStrings:
    """Strings recordings together, each of them once."""
    return draw_digit_strings(
        np.random.default_rng(seed),
        part,
        max_digits=config.max_digits,
        max_pause_s=config.max_pause_s,
        max_seconds=config.max_seconds,
    )


def frames(config: Config, samples: np.ndarray) -> np.ndarray:
    """Returns a sound's features, (T, stack num_mels)."""
    bands = data.log_mel(samples, DIGITS_RATE, num_mels=config.num_mels)
    return stack_steps(bands, config.stack, config.stride)


def sequences(config: Config, scales: Scales, strings: DigitStrings) -> data.RaggedSequences:
    """Returns strings as the network reads them, in standard units, with their digits."""
    steps = [
        (frames(config, samples) - scales.mean[None]) / scales.std[None]
        for samples in strings.samples
    ]
    return data.RaggedSequences(steps, strings.digits)


def check_steps(config: Config, strings: DigitStrings) -> None:
    """Refuses strings that no path of CTC can say: a step for each digit, a blank in each repeat.

    Raises:
      ConfigError: if there is one.
    """
    digits = strings.digits
    repeats = ((digits[:, 1:] == digits[:, :-1]) & (digits[:, 1:] >= 0)).sum(axis=1)
    needed = (digits >= 0).sum(axis=1) + repeats
    steps = np.array([len(frames(config, samples)) for samples in strings.samples])
    for index in np.flatnonzero(steps < needed)[:1]:
        raise ConfigError(
            f"--stride must leave a string as many steps as it has digits and repeats, got "
            f"{steps[index]} steps for {needed[index]}. Lower it."
        )
