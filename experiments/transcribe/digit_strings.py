"""Strings of spoken digits: recordings of single ones, end to end, with pauses."""

from typing import NamedTuple

import numpy as np

from seqjax.data._errors import DataError
from seqjax.data._spoken_digits import DIGITS_RATE, Recordings


class DigitStrings(NamedTuple):
    """Strings of spoken digits.

    Attributes:
      samples: of each string, float32 (N_i,), at 8,000 a second.
      digits: shape (strings, max_digits), int32, -1 after the end of a string.
    """

    samples: list[np.ndarray]
    digits: np.ndarray


def draw_digit_strings(
    rng: np.random.Generator,
    recordings: Recordings,
    *,
    max_digits: int = 5,
    max_pause_s: float = 0.3,
    max_seconds: float = 4.0,
) -> DigitStrings:
    """Strings recordings together in random order, each of them once.

    The number of digits is drawn from 1 to `max_digits`, all equally likely; a string ends sooner
    where another recording would make it longer than `max_seconds`. Before each digit and after the
    last there is a pause of 0 to `max_pause_s`, in which there is faint noise (a standard deviation
    of 0.001 to 0.01 of full scale, one for a string): silence of zeros would give the borders away.

    Args:
      rng: the source of randomness.
      recordings: of single digits.
      max_digits: the most digits of a string.
      max_pause_s: seconds of the longest pause.
      max_seconds: the longest string.

    Returns:
      The strings.

    Raises:
      DataError: if a recording by itself, with its pauses, may be longer than `max_seconds`.

    Example:
      >>> sounds = [np.ones(800, np.float32)] * 3
      >>> tones = Recordings(sounds, np.array([7, 7, 7]), np.array(["a", "a", "b"]))
      >>> strings = draw_digit_strings(np.random.default_rng(0), tones)
      >>> int((strings.digits == 7).sum()), strings.digits.shape[1]
      (3, 5)
    """
    longest = max(map(len, recordings.samples)) / DIGITS_RATE + 2 * max_pause_s
    if longest > max_seconds:
        raise DataError(
            f"digit_strings: strings must be allowed at least {longest:.2f} s, the longest "
            f"recording with its pauses, got {max_seconds} s."
        )
    waiting = rng.permutation(len(recordings.samples)).tolist()[::-1]
    samples, digits = [], []
    while waiting:
        level = 10 ** rng.uniform(-3, -2)
        room = round(max_seconds * DIGITS_RATE)
        parts, said = [_pause(rng, level, max_pause_s)], []
        room -= len(parts[0])
        for _ in range(int(rng.integers(1, max_digits + 1))):
            if not waiting or (said and len(recordings.samples[waiting[-1]]) > room):
                break
            chosen = waiting.pop()
            pause = _pause(rng, level, max_pause_s)
            parts += [recordings.samples[chosen], pause]
            room -= len(parts[-2]) + len(pause)
            said.append(int(recordings.digits[chosen]))
        # The last pause may reach beyond the border.
        samples.append(np.concatenate(parts)[: round(max_seconds * DIGITS_RATE)])
        digits.append(said + [-1] * (max_digits - len(said)))
    return DigitStrings(samples, np.array(digits, np.int32))


def _pause(rng: np.random.Generator, level: float, max_pause_s: float) -> np.ndarray:
    size = int(rng.integers(0, round(max_pause_s * DIGITS_RATE) + 1))
    return (level * rng.normal(size=size)).astype(np.float32)
