"""Generated four-voice music: chords of a major key that follow each other by simple rules."""

import numpy as np

from seqjax.data._chorales import piano_roll

# Degrees of the scale that may follow each degree, the tonic being 0: the rules of the textbook.
_FOLLOWING = {0: (3, 4, 5), 3: (0, 1, 4), 4: (0, 5), 5: (1, 3), 1: (4,)}
_SCALE = np.array([0, 2, 4, 5, 7, 9, 11])
_TONICS = (60, 65)  # C and F, which must be heard from the chords


def chord_progressions(
    rng: np.random.Generator, num_pieces: int, *, shortest: int = 12, longest: int = 24
) -> list[np.ndarray]:
    """Draws pieces in which bass, tenor, alto and soprano sing a chord, two steps each.

    Args:
      rng: draws keys, lengths and chords, with equal chances.
      num_pieces: how many.
      shortest: steps of the shortest.
      longest: steps of the longest.

    Returns:
      Piano rolls, float32 (steps, 88) each.

    Example:
      >>> piece, = chord_progressions(np.random.default_rng(0), 1)
      >>> piece.shape[1], piece.sum(axis=1).max()
      (88, np.float32(4.0))
    """
    return [_piece(rng, int(rng.integers(shortest, longest + 1))) for _ in range(num_pieces)]


def _piece(rng: np.random.Generator, length: int) -> np.ndarray:
    tonic = _TONICS[int(rng.integers(len(_TONICS)))]
    degree, steps = 0, []
    while len(steps) < length:
        root, third, fifth = tonic + _SCALE[(degree + np.array([0, 2, 4])) % 7]
        steps += 2 * [[int(note) for note in (root - 12, fifth - 12, third, root)]]
        following = _FOLLOWING[degree]
        degree = following[int(rng.integers(len(following)))]
    return piano_roll(steps[:length])
