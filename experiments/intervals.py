"""A metric over seeds: the mean, and how far it can be trusted."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

_ROUNDING = 1e-6  # by which a sum of fractions in float32 may exceed 1


def interval(
    values: Sequence[float],
    confidence: float = 0.95,
    *,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> tuple[float, list[float | None]]:
    """The mean over seeds and Student's t interval for it.

    Why not the percentile bootstrap: it resamples the seeds at hand, so with n = 3 its interval can
    never be wider than they are, ignores that their spread is itself a guess, and covers the true
    mean about 75 % of the time where 95 % is claimed. The t quantile (4.30 at n = 3) accounts for
    that exactly when seeds scatter normally, and well enough when they roughly do.

    The interval ends at the bounds of the values. The true mean cannot lie beyond them, so the part
    that is cut off never covers it, and the rest covers it as often as the whole. Why not an
    interval on the logit scale: an accuracy of 1 has no logit.

    Args:
      values: one number a seed.
      confidence: probability that the interval covers the mean.
      bounds: the least and the largest value that is possible, as (0, 1) for an accuracy.

    Returns:
      The mean, and `[low, high]`: `[None, None]` for a single seed, which says nothing of
      the spread.

    Raises:
      ValueError: if there are no values, one is out of bounds, or `confidence` is outside (0, 1).

    Example:
      >>> mean, (low, high) = interval([0.80, 0.82, 0.84])
      >>> round(mean, 3), round(low, 3), round(high, 3)
      (0.82, 0.77, 0.87)
      >>> interval([0.98, 1.0], bounds=(0, 1))[1][1]
      1.0
    """
    if len(values) == 0 or not 0.0 < confidence < 1.0:
        raise ValueError(
            "interval: at least one value and 0 < confidence < 1 are required, got "
            f"{len(values)} values and confidence {confidence}."
        )
    array = np.asarray(values, np.float64)
    least, most = bounds
    if (array < least - _ROUNDING).any() or (array > most + _ROUNDING).any():
        raise ValueError(
            f"interval: values must lie in [{least:g}, {most:g}], got "
            f"{array.tolist()}. Correct `bounds`."
        )
    mean = float(array.mean())
    if len(array) == 1:
        return mean, [None, None]
    from scipy import stats  # half a second, which only finished runs need

    half = float(stats.t.ppf((1.0 + confidence) / 2.0, len(array) - 1) * stats.sem(array))
    return mean, [float(max(mean - half, least)), float(min(mean + half, most))]


def summarise(
    per_seed: Sequence[float], *, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> dict[str, Any]:
    """A metric as `result.json` holds it.

    Args:
      per_seed: one number a seed.
      bounds: the least and the largest value that is possible.

    Returns:
      `mean`, `ci95` and `per_seed`.

    Example:
      >>> summarise([0.5])
      {'mean': 0.5, 'ci95': [None, None], 'per_seed': [0.5]}
    """
    values = [float(value) for value in per_seed]
    mean, ci95 = interval(values, bounds=bounds)
    return {"mean": mean, "ci95": ci95, "per_seed": values}


def without_interval(per_seed: Sequence[float]) -> dict[str, Any]:
    """A number of each seed that estimates nothing, as seconds or the selected epoch.

    Args:
      per_seed: one number a seed.

    Returns:
      What `summarise` returns, without an interval.

    Example:
      >>> without_interval([2, 4])
      {'mean': 3.0, 'ci95': [None, None], 'per_seed': [2.0, 4.0]}
    """
    return {**summarise(per_seed), "ci95": [None, None]}
