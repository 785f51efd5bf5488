"""One run of the gradient-flow experiment: `run(config) -> Result`."""

import dataclasses
import io
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import command_line
from experiments.cells import keep_code
from experiments.gradient_flow.config import Config
from experiments.gradient_flow.family import draw_family, family_metrics, measure_family
from experiments.gradient_flow.figures import draw_measurements
from experiments.gradient_flow.findings import findings
from experiments.gradient_flow.grid import Point, build_cell, shared_programs
from experiments.gradient_flow.jobs import run_jobs
from experiments.gradient_flow.measure import Arrays, measure
from experiments.gradient_flow.metrics import LOSSES, all_metrics, of_point
from experiments.gradient_flow.report import command, preview, write_summary
from experiments.gradient_flow.tasks import draw_test, make_task, window_floor
from experiments.gradient_flow.train_figures import draw_training
from experiments.gradient_flow.train_tasks import Clipped, Learnt, clipping_job, training_jobs
from experiments.memory import refuse_too_large
from experiments.summary import devices, versions
from seqjax import train
from seqjax.train._files import expanded, replace_file
from seqjax.train._record import params_sha256


class Result(NamedTuple):
    """What a run came to.

    Attributes:
      path: the run folder.
      result: the content of `result.json`.
      findings: what was found, in sentences; empty for a run that had finished before.
    """

    path: Path
    result: dict[str, Any]
    findings: list[str]


def run(
    config: Config,
    *,
    workdir: str | Path | None = None,
    resume: bool = False,
    notify: Callable[[str], None] = print,
) -> Result:
    """Measures the grid, trains, and leaves the run folder.

    Beside what every run leaves (docs/howto/runs.md, but no checkpoints: the run is short) there is
    `arrays.npz`, the arrays behind every figure and sentence.

    Args:
      config: the settings.
      workdir: the run folder; `runs/gradient_flow/<cells>-<hash of the settings>` by default.
      resume: whether a run begun there is started again; without it one is refused.
      notify: receives the lines of the report.

    Returns:
      The run folder, its result and the findings.

    Raises:
      RunError: if the folder holds a run that may not be started again, or one of a user's own
        cell whose code has changed since.

    Example:
      >>> from experiments import gradient_flow
      >>> config = gradient_flow.Config(cells="rnn", lengths="20", tasks="", seeds=1)
      >>> result = gradient_flow.run(config).result  # doctest: +SKIP
    """
    refuse_sizes(config)
    settings = dataclasses.asdict(config)
    cells = "+".join(dict.fromkeys(point.cell for point in config.points))
    path = expanded(workdir or command_line.named_workdir("gradient_flow", cells, settings))
    folder = train.open_run(path, settings, resume=resume)
    if folder.finished:
        notify(f"The run in {path} has finished already.")
        return Result(path, folder.result(), [])
    for point in config.points:
        keep_code(point.cell, path)
    for seed in config.all_seeds:
        folder.rewind_metrics(seed)
    notify(preview(config, path))

    start = time.perf_counter()
    grid = measure_grid(config, folder)
    family = {}
    if config.family_length:
        family = measure_family(config.family_length, config.all_seeds)
    notify(f"measured  after {time.perf_counter() - start:.0f} s")
    learnt, clipped = train_all(config, folder)
    wall_s = time.perf_counter() - start
    notify(f"trained   after {wall_s:.0f} s")

    save_arrays(path / "arrays.npz", grid, learnt, clipped)
    draw_measurements(config, grid, folder.figures)
    draw_training(config, learnt, clipped, folder.figures)
    if family:
        draw_family(family, config.family_length, folder.figures / "family.png")
    metrics = all_metrics(config, grid, learnt, clipped)
    metrics |= family_metrics(family, config.family_length)
    params = {f"{each.task}/{each.label}": each.training.params for each in learnt}
    if clipped is not None:
        params["clipping"] = [clipped.clipped.params, clipped.unclipped.params]
    tests = {name: draw_test(make_task(config, name), config.test_size) for name in ("adding",)}
    tests |= {n: draw_test(make_task(config, n), config.test_size) for n in config.trained_tasks}
    result = {
        "experiment": "gradient_flow",
        "cell": cells,
        "dataset": "+".join(tests),
        "num_params": sum(leaf[0].size for leaf in jax.tree.leaves(params)),
        "seeds": config.seeds,
        "epochs_run": 1,  # every training sequence is new and seen once
        "wall_s": round(wall_s, 1),
        "versions": versions(),
        "devices": devices(),
        "data_sha256": params_sha256({name: test.inputs for name, test in tests.items()}),
        "params_sha256": params_sha256(params),
        "floors": floors(config),
        "metrics": metrics,
        "whose": {},
    }
    found = findings(config, metrics)
    write_summary(folder, result, config, found)
    written = folder.write_result(result)  # last: it says that all the rest is there
    notify("\n" + "\n\n".join(found) + f"\n\n{command(config)}\n")
    notify(f"figures   {folder.figures}\nsummary   {path / 'summary.md'}\n")
    name = headline(metrics)
    notify(f"{name} {metrics[name]['mean']:.6g} {written}")
    return Result(path, folder.result(), found)


def refuse_sizes(config: Config) -> None:
    """Refuses settings whose largest arrays are larger than the memory, all seeds together."""
    hidden, steps = config.hidden_size, config.measured_lengths[-1]
    for what, numbers in {
        f"--hidden_size={hidden}": hidden**2,
        f"--batch_size={config.batch_size} with --lengths={steps}": config.batch_size * steps,
        f"--train_batch_size={config.train_batch_size}": config.train_batch_size
        * config.eval_every
        * config.adding_length,
        f"--test_size={config.test_size}": config.test_size * config.adding_length * hidden,
    }.items():
        refuse_too_large(what, 4 * config.seeds * numbers)
    for point in config.points:
        cell = build_cell(point, hidden, steps)
        params = jax.eval_shape(lambda cell=cell: cell.init(jax.random.key(0), 2))
        state = jax.eval_shape(cell.initial_state, params)
        size = sum(leaf.size for leaf in jax.tree.leaves(state))
        what = f"the Jacobians of {point.cell} with --hidden_size={hidden} and --lengths={steps}"
        refuse_too_large(what, 4 * config.seeds * config.jacobian_examples * steps * size**2)


def measure_grid(config: Config, folder: train.RunFolder) -> dict[Point, Arrays]:
    """Measures every point, and leaves a row for each of its seeds."""
    jobs = [lambda group=group: measure(config, group) for group in shared_programs(config.points)]
    found: dict[Point, Arrays] = {}
    for part in run_jobs(jobs):
        found.update(part)
    grid = {point: found[point] for point in config.points}
    for point, arrays in grid.items():
        values = of_point(config, point, arrays)
        for place, seed in enumerate(config.all_seeds):
            numbers = {name: float(each[place]) for name, each in values.items()}
            folder.append_metrics({"kind": "measure", "seed": seed, **numbers})
    return grid


def train_all(config: Config, folder: train.RunFolder) -> tuple[list[Learnt], Clipped | None]:
    """Trains every network, and the exploding one if the vanilla cell is among the cells."""
    lock = threading.Lock()

    def report(row: Mapping[str, Any]) -> None:
        with lock:
            folder.append_metrics(row)

    jobs: list[Callable[[], Any]] = list(training_jobs(config, report))
    explodes = any(point.cell == "rnn" for point in config.points)
    if explodes:
        jobs.append(clipping_job(config, report))
    done = run_jobs(jobs)
    return (done[:-1], done[-1]) if explodes else (done, None)


def save_arrays(
    path: Path,
    grid: Mapping[Point, Arrays],
    learnt: Sequence[Learnt],
    clipped: Clipped | None,
) -> None:
    """Writes the arrays behind the figures, named as the metrics are: seeds first."""
    arrays = {
        f"{point.label}/{name}": values
        for point, found in grid.items()
        for name, values in found.items()
    }
    runs = {f"{each.task}/{each.label}": each.training for each in learnt}
    if clipped is not None:
        runs |= {"clipping/clipped": clipped.clipped, "clipping/unclipped": clipped.unclipped}
    for name, training in runs.items():
        for field in ("updates", "test_losses", "train_losses", "grad_norms"):
            arrays[f"{name}/{field}"] = getattr(training, field)
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    replace_file(path, file.getvalue())


def floors(config: Config) -> dict[str, float]:
    """Returns what costs nothing to reach."""
    values = {}
    for name in config.trained_tasks:
        values[f"{name}_chance"] = make_task(config, name).chance
    if "adding" in config.trained_tasks:
        values["adding_window"] = window_floor(config.adding_length, config.window)
    return values


def headline(metrics: Mapping[str, Any]) -> str:
    """Returns the name of the least test loss of the first task, else of the first slope."""
    tests = [name for name in metrics if name.split("/")[0] in LOSSES.values()]
    if not tests:
        return next(iter(metrics))
    first = [name for name in tests if name.split("/")[1] == tests[0].split("/")[1]]
    means = {name: metrics[name]["mean"] for name in first}
    return min(first, key=lambda name: means[name] if np.isfinite(means[name]) else np.inf)
