"""How transcriptions are decoded and judged."""

from collections.abc import Sequence

import numpy as np

from experiments.transcribe.model import BLANK
from seqjax import decode


def said(targets: np.ndarray) -> list[list[int]]:
    """Returns rows of digits, -1 after their end, as lists."""
    return [row[row >= 0].tolist() for row in targets]


def scores(answers: Sequence[Sequence[int]], truth: Sequence[Sequence[int]]) -> dict[str, float]:
    """Judges transcriptions.

        digit error rate = (insertions + deletions + substitutions) / digits, over all strings

    Returns:
      `digit_error_rate`, which may exceed 1, and `string_accuracy`, the part without an error.

    Example:
      >>> scores([[1, 2], [3]], [[1, 2], [3, 4]])
      {'digit_error_rate': 0.25, 'string_accuracy': 0.5}
    """
    errors = [decode.edit_distance(a, b) for a, b in zip(answers, truth, strict=True)]
    return {
        "digit_error_rate": sum(errors) / sum(map(len, truth)),
        "string_accuracy": errors.count(0) / len(errors),
    }


def greedy(log_probs: Sequence[np.ndarray]) -> list[list[int]]:
    """Returns the digits of the most probable path of each string, (T_i, 11) each."""
    return [digits(decode.ctc_greedy(each[None], [len(each)], BLANK)[0]) for each in log_probs]


def beam(log_probs: Sequence[np.ndarray], beam_width: int) -> list[list[int]]:
    """Returns the most probable digits of each string that a beam search finds."""
    return [digits(decode.ctc_beam_search(each, beam_width, BLANK)[0][0]) for each in log_probs]


def digits(symbols: Sequence[int]) -> list[int]:
    """Returns the digits of symbols that are not blank."""
    return [symbol - 1 for symbol in symbols]
