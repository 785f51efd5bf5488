"""What a run says before it starts and after it ends."""

import dataclasses
import shlex
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.imdb.config import PRESETS, Config
from experiments.imdb.model import Functions
from experiments.imdb.task import Task
from seqjax import train


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
    num_train, num_validation, num_test = (
        len(split.labels) for split in (task.train, task.validation, task.test)
    )
    devices = train.devices()
    batches = task.train.batches(config.batch_size, task.buckets)
    words = sum(batch.tokens.size for batch in batches)
    seconds = words * seconds_per_word(functions, step, batches)
    params = functions.num_params
    copies = 4 + bool(config.ema_decay)  # weights, gradient, two moments, moving average
    return "\n".join([
        f"data      {task.reviews.name}: {num_train:,} reviews to train on, {num_validation:,} to "
        f"choose the epoch, {num_test:,} to test; {len(task.vocabulary):,} words",
        f"devices   {devices['count']} x {devices['kind']}",
        f"run       {path}",
        "",
        functions.summary,
        "",
        f"cost      about {duration(seconds)} an epoch of {len(batches):,} steps, at most "
        f"{duration(seconds * config.epochs)} a seed ({config.epochs} epochs), "
        f"seeds {config.seeds}; {len(task.buckets)} compiled shapes; "
        f"{copies * params * 4 / 2**20:.0f} MiB of training state",
    ])  # fmt: skip


def seconds_per_word(functions: Functions, step: train.TrainStep, batches) -> float:
    """Times a training step of the commonest shape, after one to compile it."""
    shapes = [batch.tokens.shape for batch in batches]
    common = max(set(shapes), key=shapes.count)
    batch = train.shard(step.mesh, batches[shapes.index(common)])
    key = jax.random.key(0)
    state = step.init(functions.init(key), key)
    state, _ = step.update(state, batch)
    jax.block_until_ready(state)
    start = time.perf_counter()
    for _ in range(3):
        state, _ = step.update(state, batch)
    jax.block_until_ready(state)
    return (time.perf_counter() - start) / 3 / np.prod(common)


def duration(seconds: float) -> str:
    """Returns a time in words: seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def results_table(result: dict[str, Any]) -> str:
    """Returns test accuracies and the floors, in per cent, one below the other."""
    rows = []
    for metric, name in (
        ("test_accuracy", result["cell"]),
        ("test_accuracy_network", "the network alone"),
    ):
        accuracy = result["metrics"][metric]
        low, high = accuracy["ci95"]
        interval = "" if low is None else f", 95 % interval {100 * low:.2f} to {100 * high:.2f}"
        seeds = ", ".join(f"{100 * value:.2f}" for value in accuracy["per_seed"])
        rows.append((name, f"{100 * accuracy['mean']:.2f}  (seeds {seeds}{interval})"))
    rows += [(f"floor: {name}", f"{100 * value:.2f}") for name, value in result["floors"].items()]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows]
    return "\n".join(["", f"test accuracy on {result['dataset']}, %", *lines, ""])


def command(config: Config) -> str:
    """Returns the command that repeats a run: the settings that differ from its preset's."""
    preset = PRESETS[config.preset]
    parts = ["python", "-m", "experiments.imdb", f"--cell={config.cell}"]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name != "cell" and value != getattr(PRESETS["best"], field.name):
            if field.name != "preset" and value == getattr(preset, field.name):
                continue
            parts.append(f"--{field.name}={value}")
    return shlex.join(parts)
