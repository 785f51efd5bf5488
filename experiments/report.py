"""What a run says before it starts, after each seed, and at its end."""

import collections
import dataclasses
import math
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import tabulate

from experiments.summary import devices
from seqjax import train

if TYPE_CHECKING:
    from experiments.study import Study


def preview(config: Any, study: "Study", path: Path) -> str:
    """Says what a run will do and, from a few timed steps, about how long it will take.

    Args:
      config: the settings.
      study: what is trained.
      path: the run folder.

    Returns:
      Several lines of text.
    """
    seconds, num_steps, num_shapes = cost_of_epoch(study, study.batches(config.seed, 1))
    about = devices()
    mebibytes = state_bytes(config, study) / 2**20
    shapes = "1 compiled shape" if num_shapes == 1 else f"{num_shapes} compiled shapes"
    return "\n".join([
        f"data      {study.about}",
        f"devices   {about['count']} x {about['kind']}",
        f"run       {path}",
        "",
        study.functions.summary,
        "",
        f"cost      about {duration(seconds)} an epoch of {num_steps:,} steps, at most "
        f"{duration(seconds * config.epochs)} a seed ({config.epochs} epochs), seeds "
        f"{config.seeds}; {shapes}; {mebibytes:.{0 if mebibytes >= 10 else 1}f} MiB of training "
        "state",
    ])  # fmt: skip


def state_bytes(config: Any, study: "Study") -> int:
    """Returns the bytes of weights, gradient, two moments and, if it is kept, moving average."""
    return (4 + bool(config.ema_decay)) * study.functions.num_params * 4


def cost_of_epoch(study: "Study", batches: Iterable[Any]) -> tuple[float, int, int]:
    """Returns the seconds of an epoch, its steps, and the number of shapes of its batches.

    A step of the commonest shape is timed, after one to compile it; those of other shapes are taken
    to cost as much an element of their largest array.
    """
    shapes: collections.Counter[tuple[tuple[int, ...], ...]] = collections.Counter()
    examples = {}
    for batch in batches:
        shape = tuple(np.shape(leaf) for leaf in jax.tree.leaves(batch))
        shapes[shape] += 1
        examples.setdefault(shape, batch)
    common = shapes.most_common(1)[0][0]
    batch = train.shard(study.step.mesh, examples[common])
    key = jax.random.key(0)
    state, _ = study.step.update(study.step.init(study.functions.init(key), key), batch)
    jax.block_until_ready(state)
    start = time.perf_counter()
    for _ in range(3):
        state, _ = study.step.update(state, batch)
    jax.block_until_ready(state)
    seconds = (time.perf_counter() - start) / 3
    elements = {shape: max(math.prod(leaf) for leaf in shape) for shape in shapes}
    total = sum(number * elements[shape] for shape, number in shapes.items())
    return seconds * total / elements[common], shapes.total(), len(shapes)


def duration(seconds: float) -> str:
    """Returns a time in words: seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def seed_line(study: "Study", seed: int, fit: train.FitResult, test: Mapping[str, float]) -> str:
    """Returns what a seed came to, in a line."""
    found = ", ".join(
        f"{name.removeprefix('test_').replace('_', ' ')} {value:.4g}"
        for name, value in test.items()
        if name.startswith("test_")
    )
    return (
        f"seed {seed}: test {found}; epoch {fit.best_epoch}, validation "
        f"{study.monitor} {fit.validation[study.monitor]:.4g}; {fit.wall_s:.0f} s"
    )


def results_table(result: Mapping[str, Any], headline: str) -> str:
    """Returns the test metrics with their seeds and the floors, one below the other.

    Args:
      result: content of `result.json`.
      headline: the metric whose floors stand in the result; it comes first.

    Returns:
      Several lines of text.
    """
    metrics = result["metrics"]
    others = [name for name in metrics if name.startswith("test_") and name != headline]
    rows = []
    for name in (headline, *others):
        low, high = metrics[name]["ci95"]
        interval = "" if low is None else f", 95 % interval {low:.4g} to {high:.4g}"
        seeds = ", ".join(f"{value:.4g}" for value in metrics[name]["per_seed"])
        shown = result["cell"] if name == headline else name.removeprefix("test_").replace("_", " ")
        rows.append((shown, f"{metrics[name]['mean']:.4g}  (seeds {seeds}{interval})"))
    rows[1:1] = [(f"floor: {name}", f"{value:.4g}") for name, value in result["floors"].items()]
    table = tabulate.tabulate(rows, tablefmt="plain", disable_numparse=True)
    return f"\n{headline} on {result['dataset']}\n{table}\n"


def command(
    experiment: str,
    config: Any,
    plain: Any,
    *,
    first: Sequence[str] = ("cell",),
    choosing: Mapping[str, Any] | None = None,
) -> str:
    """Returns the command that repeats a run: the settings that differ from their defaults.

    Args:
      experiment: its name.
      config: the settings.
      plain: the defaults that those in `first` and `choosing` bring with them.
      first: settings that are always written, in front.
      choosing: other settings that `plain` was made with, and their own defaults.

    Returns:
      A line for the shell.
    """
    own = choosing or {}
    parts = ["python", "-m", f"experiments.{experiment}"]
    parts += [f"--{name}={getattr(config, name)}" for name in first]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        usual = own[field.name] if field.name in own else getattr(plain, field.name)
        if field.name not in first and value != usual:
            parts.append(f"--{field.name}={value}")
    return shlex.join(parts)
