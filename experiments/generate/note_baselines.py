"""What is known of the next chord without a memory: note by note, rates and a repetition."""

from collections.abc import Sequence

import numpy as np


def note_rates(train: Sequence[np.ndarray], pieces: Sequence[np.ndarray]) -> float:
    """Predicts every note by how often it sounds; the loss of that.

    Args:
      train: piano rolls to count, (steps, D).
      pieces: piano rolls to judge.

    Returns:
      The mean over steps of the negative log-likelihood summed over notes, in nats.

    Example:
      >>> note_rates([np.array([[0.0], [1.0]])], [np.array([[1.0]])]) == np.log(2)
      np.True_
    """
    notes = np.concatenate(pieces)
    rates = _rates(np.concatenate(train))
    return float(_losses(np.broadcast_to(rates, notes.shape), notes).sum(axis=1).mean())


def note_repetition(train: Sequence[np.ndarray], pieces: Sequence[np.ndarray]) -> float:
    """Predicts every note from whether it sounds already: a logistic regression on that alone.

    Its maximum-likelihood fit is a rate of each note in both cases; a piece begins in silence.

    Args:
      train: piano rolls to count, (steps, D).
      pieces: piano rolls to judge.

    Returns:
      The mean over steps of the negative log-likelihood summed over notes, in nats.

    Example:
      >>> held = [np.repeat([[1.0, 0.0], [0.0, 1.0]], 50, axis=0)]
      >>> note_repetition(held, held) < 0.3 < note_rates(held, held)
      True
    """
    before, notes = _pairs(train)
    seen, judged = _pairs(pieces)
    probabilities = np.zeros_like(judged)
    for sounding in (0, 1):
        counts = (before == sounding).sum(axis=0)
        hits = ((before == sounding) * notes).sum(axis=0)
        probabilities += (seen == sounding) * _smoothed(hits, counts)
    return float(_losses(probabilities, judged).sum(axis=1).mean())


def _pairs(pieces: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    before = [np.concatenate([np.zeros_like(piece[:1]), piece[:-1]]) for piece in pieces]
    return np.concatenate(before), np.concatenate(pieces).astype(np.float64)


def _rates(notes: np.ndarray) -> np.ndarray:
    return _smoothed(notes.sum(axis=0), len(notes))


def _smoothed(hits: np.ndarray, counts) -> np.ndarray:
    # Krichevsky and Trofimov's estimate: what never happened stays possible.
    return (hits + 0.5) / (counts + 1.0)


def _losses(probabilities: np.ndarray, notes: np.ndarray) -> np.ndarray:
    return -np.where(notes > 0, np.log(probabilities), np.log1p(-probabilities))
