"""From arrays to one number a seed, and from these to the metrics of `result.json`."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.gradient_flow.config import Config
from experiments.gradient_flow.grid import Point
from experiments.gradient_flow.measure import Arrays, truncations
from experiments.gradient_flow.tasks import make_task
from experiments.gradient_flow.train_tasks import Clipped, Learnt
from experiments.gradient_flow.training import Training, updates_to_threshold
from experiments.intervals import summarise
from seqjax import gradflow

COSINE = 0.9  # a truncated gradient that agrees so well with the full one is called good
SPIKE = 10.0  # times chance: a loss above it is a spike, a last test above it a divergence
FRACTIONS = ("success", "diverged", "clipping_rate", "clipped_fraction")
LOSSES = {"adding": "test_mse", "copying": "test_nll"}
_summarise = jax.jit(gradflow.summarise_norms)
Metrics = dict[str, dict[str, Any]]


def all_metrics(
    config: Config,
    grid: Mapping[Point, Arrays],
    learnt: Sequence[Learnt],
    clipped: Clipped | None,
) -> Metrics:
    """Returns every metric by name, as `result.json` holds it.

    Names are paths: `log_slope_hidden/rnn/radius_0.5/200` (of the gradient of the hidden state, at
    length 200), `lyapunov_1/CELL/INIT`, `truncation_steps/CELL/INIT` (fewest steps tried whose
    gradient has a cosine of 0.9 with the full one), `online_cosine_METHOD/CELL/INIT` and
    `online_ratio_METHOD/CELL/INIT` (of an online gradient with the full one),
    `time_scale/CELL/INIT` (median over units), `test_mse/adding/CELL/INIT`, `success/TASK/...`,
    `updates_to_threshold/TASK/...` (null where a seed never got there), `clipping_rate/clipped`,
    `spikes/clipped` and so on.

    Args:
      config: the settings.
      grid: point to its arrays, from `measure`.
      learnt: from `training_jobs`.
      clipped: from `clipping_job`, if it was run.

    Returns:
      Name to mean, interval and one value a seed.
    """
    found: dict[str, Sequence[float] | np.ndarray] = {}
    for point, arrays in grid.items():
        found.update(of_point(config, point, arrays))
    for each in learnt:
        task = make_task(config, each.task)
        name = f"{each.task}/{each.label}"
        reached = updates_to_threshold(each.training, config.threshold * task.chance)
        found[f"{LOSSES[each.task]}/{name}"] = each.training.test_losses[:, -1]
        found[f"success/{name}"] = np.isfinite(reached)
        found[f"updates_to_threshold/{name}"] = reached
    if clipped is not None:
        chance = make_task(config, "adding").chance
        for name, training in (("clipped", clipped.clipped), ("unclipped", clipped.unclipped)):
            found.update(of_clipping(config, name, training, chance))
    return {name: summarise(_finite(values), bounds=bounds(name)) for name, values in found.items()}


def bounds(name: str) -> tuple[float, float]:
    """Returns the least and the largest value that a metric can have.

    Example:
      >>> bounds("success/adding/lstm/default")
      (0.0, 1.0)
    """
    kind = name.partition("/")[0]
    if kind.startswith(("log_slope_", "lyapunov_")):
        return -np.inf, np.inf
    if kind.startswith("online_cosine_"):
        return -1.0, 1.0
    fraction = kind in FRACTIONS or kind.startswith("saturation_")
    return 0.0, 1.0 if fraction else np.inf


def of_point(config: Config, point: Point, arrays: Arrays) -> dict[str, np.ndarray]:
    """Returns the metrics of one point, a value a seed."""
    found = {}
    for length in config.measured_lengths:
        for key, norms in arrays.items():
            if key.startswith(f"{length}/norm_"):
                field = key.partition("norm_")[2]
                found[f"log_slope_{field}/{point.label}/{length}"] = log_slopes(norms)
    longest = config.measured_lengths[-1]
    tried = np.array(truncations(longest))
    good = arrays[f"{longest}/cosine"] >= COSINE
    good[:, -1] = True  # the full gradient itself
    found[f"truncation_steps/{point.label}"] = tried[good.argmax(axis=1)]
    found[f"lyapunov_1/{point.label}"] = arrays["lyapunov"].mean(axis=1)[:, 0]
    if "spectral_radius" in arrays:
        found[f"spectral_radius/{point.label}"] = arrays["spectral_radius"].mean(axis=1)
    if "time_scale" in arrays:
        found[f"time_scale/{point.label}"] = np.median(arrays["time_scale"], axis=1)
    for key, values in arrays.items():
        if key.startswith("saturation_"):
            found[f"{key}/{point.label}"] = values.sum(axis=1)
        if key.startswith("online_"):
            found[f"{key}/{point.label}"] = values
    return found


def slope_of(metrics: Metrics, point: Point, length: int, field: str = "hidden") -> dict[str, Any]:
    """Returns the log-slope of a field of the state, or of the first one if it has no such field.

    Example:
      >>> slope_of({"log_slope_memory/mlstm/default/9": {"mean": 1}}, Point("mlstm", "default"), 9)
      {'mean': 1}
    """
    ending = f"/{point.label}/{length}"
    if (name := f"log_slope_{field}{ending}") in metrics:
        return metrics[name]
    return next(
        metric
        for name, metric in metrics.items()
        if name.startswith("log_slope_") and name.endswith(ending)
    )


def log_slopes(norms: np.ndarray) -> np.ndarray:
    """Returns the log-slope of gradient norms against the lag, the median over each seed's batch.

    Args:
      norms: shape (S, T, B).

    Returns:
      Array of shape (S,).
    """
    summary = _summarise(np.moveaxis(norms, 1, 0))
    slopes = np.asarray(summary.log_slope)
    seen = np.isfinite(slopes).any(axis=1, keepdims=True).ravel()
    return np.array(
        [np.nanmedian(row) if any_ else np.nan for row, any_ in zip(slopes, seen, strict=True)]
    )


def of_clipping(
    config: Config, name: str, training: Training, chance: float
) -> dict[str, np.ndarray]:
    """Returns the metrics of the exploding network, a value a seed."""
    losses, last = training.train_losses, training.test_losses[:, -1]
    norms = np.where(np.isfinite(training.grad_norms), training.grad_norms, np.inf)
    statistics = [gradflow.clipping_statistics(of_seed, config.clip_norm) for of_seed in norms]
    return {
        f"clipping_rate/{name}": np.array([float(each.rate) for each in statistics]),
        f"clipped_fraction/{name}": np.array([float(each.clipped_fraction) for each in statistics]),
        f"spikes/{name}": (~(losses <= SPIKE * chance)).sum(axis=1),
        f"diverged/{name}": ~(last <= SPIKE * chance),
        f"largest_train_loss/{name}": losses.max(axis=1),
        f"largest_grad_norm/{name}": training.grad_norms.max(axis=1),
        f"final_mse/{name}": last,
    }


def _finite(values: Sequence[float] | np.ndarray) -> list[float]:
    """Returns floats, those that JSON cannot hold as NaN, which becomes null."""
    floats = np.asarray(values, np.float64)
    return np.where(np.isfinite(floats), floats, np.nan).tolist()
