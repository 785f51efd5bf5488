"""What a run says before it starts, after each seed, and at its end."""

import collections
import math
import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
import tabulate

from experiments.summary import devices
from seqjax import train
from seqjax.train._progress import duration
from seqjax.train._state import evaluation_params

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
    cost = measure_cost(study, study.batches(config.seed, 1))
    a_seed = config.epochs * cost.epoch
    in_all = cost.compiling + config.seeds * (a_seed + cost.test)
    about = devices()
    mebibytes = state_bytes(config, study) / 2**20
    seeds, epochs, shapes = (
        f"{number} {noun}" if number == 1 else f"{number} {noun}s"
        for number, noun in (
            (config.seeds, "seed"), (config.epochs, "epoch"), (cost.num_shapes, "compiled shape")
        )
    )  # fmt: skip
    return "\n".join([
        f"data      {study.about}",
        f"devices   {about['count']} x {about['kind']}",
        f"run       {path}",
        "",
        study.functions.summary,
        "",
        f"cost      about {duration(cost.epoch)} an epoch: {cost.num_steps:,} steps and validation",
        f"          at most {duration(a_seed)} a seed ({epochs}), {duration(in_all)} in all "
        f"({seeds} and tests)",
        f"          {shapes}, {duration(cost.compiling)} of compiling; "
        f"{mebibytes:.{0 if mebibytes >= 10 else 1}f} MiB of training state",
        "",
    ])  # fmt: skip


def state_bytes(config: Any, study: "Study") -> int:
    """Returns the bytes of weights, gradient, two moments and, if it is kept, moving average."""
    return (4 + bool(config.ema_decay)) * study.functions.num_params * 4


class Cost(NamedTuple):
    """What a run will cost, in seconds.

    Attributes:
      epoch: of an epoch with its validation.
      test: of testing a seed.
      compiling: of what is still to be compiled.
      num_steps: steps of an epoch.
      num_shapes: shapes of their batches.
    """

    epoch: float
    test: float
    compiling: float
    num_steps: int
    num_shapes: int


def measure_cost(study: "Study", batches: Iterable[Any]) -> Cost:
    """Times a few steps and the validation of parameters that have learnt nothing.

    A step of the commonest shape is timed, after one to compile it. Steps of other shapes are taken
    to cost as much an element of their largest array, and as much to compile. What is compiled here
    is not compiled again.
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
    state = study.step.init(study.functions.init(key), key)

    def step() -> None:
        nonlocal state
        state, _ = study.step.update(state, batch)
        jax.block_until_ready(state)

    first, a_step = _seconds(step), min(_seconds(step) for _ in range(3))
    params = evaluation_params(state)
    study.validate(params)
    validation = _seconds(lambda: study.validate(params))
    elements = {shape: max(math.prod(leaf) for leaf in shape) for shape in shapes}
    total = sum(number * elements[shape] for shape, number in shapes.items())
    return Cost(
        epoch=a_step * total / elements[common] + validation,
        test=validation * (1 + study.test_share),
        compiling=(first - a_step) * (len(shapes) - 1),
        num_steps=shapes.total(),
        num_shapes=len(shapes),
    )


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def seed_line(study: "Study", seed: int, fit: train.FitResult, test: Mapping[str, float]) -> str:
    """Returns what a seed came to, in a line."""
    found = ", ".join(
        f"{_words(name, whose(study.whose, name))} {value:.4g}"
        for name, value in test.items()
        if name in _shown(test, {name: whose(study.whose, name) for name in test})
    )
    chosen_by = _words(study.monitor, whose(study.whose, study.monitor))
    return (
        f"seed {seed}: test {found}; epoch {fit.best_epoch}, validation "
        f"{chosen_by} {fit.validation[study.monitor]:.4g}; {fit.wall_s:.0f} s"
    )


def whose(owners: Mapping[str, str], metric: str) -> str:
    """Returns whose answer a metric is of: the network's own, unless it is said to be another's.

    Example:
      >>> whose({"accuracy": "mixture"}, "test_accuracy")
      'mixture'
      >>> whose({"accuracy": "mixture"}, "test_accuracy_network")
      'network'
    """
    return owners.get(metric.removeprefix("test_").removeprefix("validation_"), "network")


def _shown(metrics: Iterable[str], owners: Mapping[str, str]) -> list[str]:
    """Returns the metrics of the test part; the network's once where the answer is its own."""
    return [
        name
        for name in metrics
        if name.startswith("test_")
        and not (name.endswith("_network") and owners[name.removesuffix("_network")] == "network")
    ]


def _words(metric: str, owner: str) -> str:
    """Returns the name of a metric of the test part in words, and whose it is."""
    name = metric.removeprefix("test_").removesuffix("_network").replace("_", " ")
    return f"{name} ({owner})"


def results_table(result: Mapping[str, Any], headline: str) -> str:
    """Returns the test metrics with their seeds and the baselines, one below the other.

    Args:
      result: content of `result.json`.
      headline: the metric whose baselines stand in the result; it comes first.

    Returns:
      Several lines of text.
    """
    metrics = result["metrics"]
    tests = _shown(metrics, result["whose"])
    of_cell = [name for name in tests if name.removesuffix("_network") == headline]
    rows = []
    for name in (*of_cell, *(name for name in tests if name not in of_cell)):
        low, high = metrics[name]["ci95"]
        interval = "" if low is None else f", 95 % interval {low:.4g} to {high:.4g}"
        seeds = ", ".join(f"{value:.4g}" for value in metrics[name]["per_seed"])
        owner = result["whose"][name]
        shown = f"{result['cell']} ({owner})" if name in of_cell else _words(name, owner)
        rows.append((shown, f"{metrics[name]['mean']:.4g}  (seeds {seeds}{interval})"))
    rows[len(of_cell) : len(of_cell)] = [
        (f"baseline: {name}", f"{value:.4g}") for name, value in result["floors"].items()
    ]
    table = tabulate.tabulate(rows, tablefmt="plain", disable_numparse=True)
    return f"\n{headline} on {result['dataset']}\n{table}\n"


def closing_lines(experiment: str, config: Any, study: "Study", path: Path) -> str:
    """Says where the figure and the summary are, and how to ask the run.

    Args:
      experiment: its name.
      config: the settings.
      study: what was trained.
      path: the run folder.

    Returns:
      Several lines of text.
    """
    lines = [f"figure    {path / 'figures' / 'training.png'}", f"summary   {path / 'summary.md'}"]
    if study.question is not None:
        words = ["python", "-m", f"experiments.{experiment}", f"--workdir={path}"]
        if ":" in config.cell:  # a cell of one's own is loaded by name
            words.append(f"--cell={config.cell}")
        lines.append(f"ask it    {shlex.join(words)} --predict={shlex.quote(study.question)}")
    return "\n".join([*lines, ""])
