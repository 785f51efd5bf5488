"""What a run says before it starts and after it ends."""

import dataclasses
import shlex
import time
from pathlib import Path
from typing import Any

import jax

from experiments.regression.config import Config, configure
from experiments.regression.model import Functions
from experiments.regression.task import Task
from seqjax import data, train


def preview(
    config: Config, task: Task, functions: Functions, step: train.TrainStep, path: Path
) -> str:
    """Says what the run will do and, from a few timed steps, about how long it will take.

    Args:
      config: the settings.
      task: the data.
      functions: the model.
      step: the training step.
      path: the run folder.

    Returns:
      Several lines of text.
    """
    batches = data.sequence_batches(task.sample, config.batch_size)
    seconds = len(batches) * seconds_per_step(functions, step, next(iter(batches)))
    devices = train.devices()
    copies = 4 + bool(config.ema_decay)  # weights, gradient, two moments, moving average
    shape = " x ".join(map(str, task.sample.inputs.shape[1:]))
    return "\n".join([
        f"data      {task.name}: {len(task.sample.inputs):,} sequences of {shape} to train on, "
        f"{len(task.validation.inputs):,} to choose the epoch, {len(task.test.inputs):,} to test",
        f"devices   {devices['count']} x {devices['kind']}",
        f"run       {path}",
        "",
        functions.summary,
        "",
        f"cost      about {duration(seconds)} an epoch of {len(batches):,} steps, at most "
        f"{duration(seconds * config.epochs)} a seed ({config.epochs} epochs), "
        f"seeds {config.seeds}; {copies * functions.num_params * 4 / 2**20:.1f} MiB of training "
        "state",
    ])  # fmt: skip


def seconds_per_step(functions: Functions, step: train.TrainStep, batch: data.Sequences) -> float:
    """Times a training step, after one to compile it."""
    batch = train.shard(step.mesh, batch)
    key = jax.random.key(0)
    state, _ = step.update(step.init(functions.init(key), key), batch)
    jax.block_until_ready(state)
    start = time.perf_counter()
    for _ in range(3):
        state, _ = step.update(state, batch)
    jax.block_until_ready(state)
    return (time.perf_counter() - start) / 3


def duration(seconds: float) -> str:
    """Returns a time in words: seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def results_table(result: dict[str, Any], headline: str) -> str:
    """Returns the headline metric and the floors, one below the other."""
    metric = result["metrics"][headline]
    low, high = metric["ci95"]
    interval = "" if low is None else f", 95 % interval {low:.4g} to {high:.4g}"
    seeds = ", ".join(f"{value:.4g}" for value in metric["per_seed"])
    rows = [(result["cell"], f"{metric['mean']:.4g}  (seeds {seeds}{interval})")]
    rows += [(f"floor: {name}", f"{value:.4g}") for name, value in result["floors"].items()]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows]
    return "\n".join(["", f"{headline} on {result['dataset']}", *lines, ""])


def command(config: Config) -> str:
    """Returns the command that repeats a run: the settings that differ from its task's."""
    given = {"task": config.task, "preset": config.preset}
    if config.task == "csv":
        given |= {"data_file": config.data_file, "csv_layout": config.csv_layout}
    plain = configure(**given)
    parts = ["python", "-m", "experiments.regression"]
    parts += [f"--cell={config.cell}", f"--task={config.task}"]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in ("cell", "task"):
            continue
        shown = field.name in given and value != field.default
        if shown or value != getattr(plain, field.name):
            parts.append(f"--{field.name}={value}")
    return shlex.join(parts)
