"""Tones of a telephone's keys, which stand in for spoken digits."""

import numpy as np

from seqjax.data._spoken_digits import DIGITS_RATE, Recordings

_ROWS, _COLUMNS = (697.0, 770.0, 852.0, 941.0), (1209.0, 1336.0, 1477.0)


def generate_tones(rng: np.random.Generator, number: int, *, speakers: int = 3) -> Recordings:
    """Draws tones of a telephone's keys: two sines, as many of each digit as can be.

    A speaker is a factor of the pitch within 2 %; length (0.1 to 0.25 s), loudness, phases and the
    noise beneath differ from one recording to the next.

    Args:
      rng: the source of randomness.
      number: of recordings.
      speakers: how many there are.

    Returns:
      The recordings.

    Example:
      >>> tones = generate_tones(np.random.default_rng(0), 20)
      >>> np.bincount(tones.digits).tolist()
      [2, 2, 2, 2, 2, 2, 2, 2, 2, 2]

    Reference: ITU-T Q.23 (1988), Technical features of push-button telephone sets.
    """
    digits = rng.permutation(np.arange(number) % 10).astype(np.int32)
    pitches = np.linspace(0.98, 1.02, speakers)
    chosen = rng.integers(0, speakers, number)
    samples = []
    for digit, speaker in zip(digits.tolist(), chosen.tolist(), strict=True):
        # On a telephone 0 stands below 8, in the fourth row.
        row, column = (3, 1) if digit == 0 else divmod(digit - 1, 3)
        time = np.arange(rng.integers(800, 2001)) / DIGITS_RATE
        angles = [2 * np.pi * pitches[speaker] * f * time for f in (_ROWS[row], _COLUMNS[column])]
        sines = sum(np.sin(angle + rng.uniform(0, 2 * np.pi)) for angle in angles)
        noise = 0.02 * rng.normal(size=len(time))
        samples.append((rng.uniform(0.1, 0.4) * sines + noise).astype(np.float32))
    return Recordings(samples, digits, np.array([f"tone_{i}" for i in chosen]))
