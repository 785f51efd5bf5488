"""What the numbers of a result can be, and which way they are better."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments.intervals import summarise, without_interval


class Kind(NamedTuple):
    """A kind of metric.

    Attributes:
      least: the smallest value that is possible.
      most: the largest.
      larger_is_better: whether it is.
    """

    least: float
    most: float
    larger_is_better: bool

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest value."""
        return self.least, self.most

    @property
    def difference_bounds(self) -> tuple[float, float]:
        """The least and the largest difference of two values."""
        return self.least - self.most, self.most - self.least


KINDS = {
    "accuracy": Kind(0, 1, True),
    "bleu": Kind(0, 100, True),
    "error_rate": Kind(0, math.inf, False),  # insertions count, so it may exceed 1
    "nll": Kind(0, math.inf, False),  # of classes and symbols, whose probabilities are at most 1
    "loss": Kind(0, math.inf, False),  # one of these
    "bits_per_character": Kind(0, math.inf, False),
    "mse": Kind(0, math.inf, False),
    "mae": Kind(0, math.inf, False),
}
PARTS = ("test_", "validation_")


def kind_of(metric: str) -> Kind:
    """Returns what kind of number a metric is.

    Args:
      metric: its name, in which that of the kind stands, such as "test_string_accuracy_greedy".

    Returns:
      The kind.

    Raises:
      ValueError: if no kind has such a name.

    Example:
      >>> kind_of("test_accuracy_network").bounds
      (0, 1)
    """
    for word, kind in KINDS.items():
        if word in metric:
            return kind
    raise ValueError(
        f"experiments.metrics: a metric must be named after one of {', '.join(KINDS)}, got "
        f"{metric!r}. Add its kind to KINDS."
    )


def summary(name: str, per_seed: Sequence[float]) -> dict[str, Any]:
    """Returns a number of each seed as `result.json` holds it.

    Metrics of the validation and the test part get an interval within their bounds. Other numbers,
    as seconds, epochs or fitted weights, get none.

    Args:
      name: what the number is called.
      per_seed: its values.

    Returns:
      `mean`, `ci95` and `per_seed`.

    Example:
      >>> summary("test_accuracy", [0.98, 1.0])["ci95"][1]
      1.0
      >>> summary("seed_wall_s", [3.0, 5.0])["ci95"]
      [None, None]
    """
    if not name.startswith(PARTS):
        return without_interval(per_seed)
    return summarise(per_seed, bounds=kind_of(name).bounds)
