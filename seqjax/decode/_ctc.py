"""Decoding of connectionist temporal classification: from frames to labels.

A path says a symbol, or blank, at every frame; its labelling is what is left when repeats are
merged and blanks dropped. The probability of a labelling is the sum over all paths that lead to it.

Reference: Graves et al. (2006), Connectionist temporal classification: labelling unsegmented
sequence data with recurrent neural networks.
"""

import heapq
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from seqjax._checks import check_integers, check_range, check_sizes


def ctc_collapse(path: Sequence[int] | np.ndarray, blank: int = 0) -> list[int]:
    """Returns the labelling of a path: repeats merged, then blanks dropped.

    Args:
      path: a symbol for every frame.
      blank: the symbol that stands for none.

    Returns:
      The labels.

    Raises:
      ValueError: if `blank` is below 0.

    Example:
      >>> ctc_collapse([0, 3, 3, 0, 3, 5, 5])
      [3, 3, 5]
    """
    check_sizes("ctc_collapse", at_least=0, blank=blank)
    return [int(symbol) for symbol, _ in itertools.groupby(path) if symbol != blank]


def ctc_greedy(scores: Any, lengths: Any, blank: int = 0) -> list[list[int]]:
    """Returns the labelling of the most probable path of each sequence.

    That is not always the most probable labelling; see `ctc_beam_search`.

    Args:
      scores: of each symbol at each frame, such as logits, shape (B, T, K).
      lengths: frames of each sequence, shape (B,); what lies behind them is not read.
      blank: the symbol that stands for none.

    Returns:
      The labels of each sequence.

    Raises:
      ValueError: if the shapes do not fit each other, a length lies outside 0 to T, or `blank` is
        no symbol.

    Example:
      >>> ctc_greedy(np.eye(3)[None, [1, 1, 0, 2, 2]], [4])
      [[1, 2]]
    """
    scores, lengths = np.asarray(scores), np.asarray(lengths)
    if scores.ndim != 3 or lengths.shape != scores.shape[:1]:
        raise ValueError(
            "ctc_greedy: `scores` and `lengths` must have shapes (B, T, K) and (B,), got "
            f"{scores.shape} and {lengths.shape}."
        )
    check_integers("ctc_greedy", "lengths", lengths)
    check_range("ctc_greedy", "lengths", lengths, scores.shape[1], "T")
    check_integers("ctc_greedy", "blank", blank)
    check_range("ctc_greedy", "blank", blank, scores.shape[2] - 1, "K - 1")
    paths = scores.argmax(axis=-1)
    return [ctc_collapse(path[:length], blank) for path, length in zip(paths, lengths, strict=True)]


def ctc_beam_search(
    log_probs: Any, beam_width: int, blank: int = 0
) -> list[tuple[list[int], float]]:
    """Searches for the most probable labellings of one sequence, prefix by prefix.

    For every prefix two probabilities are kept, of the paths to it that end in blank and in its
    last label, since only behind a blank a repeat is a new label:

        b_t(l)   = y_t(blank) (b_{t-1}(l) + n_{t-1}(l))
        n_t(l k) = y_t(k) (n_{t-1}(l k) + b_{t-1}(l) + [l does not end in k] n_{t-1}(l))

    With a beam that holds every prefix the answer is exact.

    Args:
      log_probs: log-probabilities of the symbols at each frame, shape (T, K), T real frames.
      beam_width: prefixes kept from one frame to the next.
      blank: the symbol that stands for none.

    Returns:
      The labellings in the beam with their log-probabilities (sums over the paths that stayed in
      the beam), the most probable first.

    Raises:
      ValueError: if a shape is wrong, the probabilities of a frame do not add up to 1, `beam_width`
        is below 1, or `blank` is no symbol.

    Example:
      >>> probs = np.array([[0.6, 0.4], [0.6, 0.4]])  # blank, label 1
      >>> ctc_greedy(probs[None], [2])
      [[]]
      >>> [(labels, round(math.exp(p), 2)) for labels, p in ctc_beam_search(np.log(probs), 5)]
      [([1], 0.64), ([], 0.36)]

    Reference: Hannun et al. (2014), First-pass large vocabulary continuous speech recognition using
    bi-directional recurrent DNNs.
    """
    log_probs = np.asarray(log_probs, np.float64)
    if log_probs.ndim != 2:
        raise ValueError(
            f"ctc_beam_search: `log_probs` must have shape (T, K), got {log_probs.shape}. Decode "
            "one sequence at a time."
        )
    check_sizes("ctc_beam_search", beam_width=beam_width)
    check_integers("ctc_beam_search", "blank", blank)
    check_range("ctc_beam_search", "blank", blank, log_probs.shape[1] - 1, "K - 1")
    probs = np.exp(log_probs)
    sums = probs.sum(axis=1)
    if not np.allclose(sums, 1, atol=1e-3):
        frame = int(np.abs(sums - 1).argmax())
        raise ValueError(
            f"ctc_beam_search: the probabilities of each frame must add up to 1, got {sums[frame]} "
            f"at frame {frame}. Logits need jax.nn.log_softmax first."
        )
    beam, scale = {(): (1.0, 0.0)}, 0.0  # probabilities are kept divided by exp(scale)
    for row in probs.tolist():
        grown: dict[tuple[int, ...], list[float]] = {}
        for prefix, (after_blank, after_label) in beam.items():
            both = after_blank + after_label
            last = prefix[-1] if prefix else None
            kept = grown.setdefault(prefix, [0.0, 0.0])
            kept[0] += both * row[blank]
            if last is not None:
                kept[1] += after_label * row[last]
            for symbol, probability in enumerate(row):
                if symbol != blank:
                    longer = grown.setdefault((*prefix, symbol), [0.0, 0.0])
                    longer[1] += probability * (after_blank if symbol == last else both)
        best = heapq.nlargest(beam_width, grown.items(), key=lambda item: sum(item[1]))
        largest = sum(best[0][1])
        scale += math.log(largest)
        beam = {prefix: (b / largest, n / largest) for prefix, (b, n) in best}
    return [(list(prefix), scale + math.log(b + n)) for prefix, (b, n) in beam.items() if b + n > 0]
