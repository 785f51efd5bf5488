"""A grid of settings: each member is a run of its own, and one table compares them.

Members that differ in nothing but what the optimiser has in its state are trained together where
experiment and `--mesh` allow it, others one after the other. What is done is not done again: a
sweep that was stopped goes on with the members it was in, at their last checkpoints.
"""

import functools
import itertools
import json
import math
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import command_line
from experiments.command_line import ConfigError
from experiments.intervals import summarise
from experiments.metrics import kind_of
from experiments.optimizer import IN_STATE
from experiments.study import Experiment, run_studies
from seqjax import train
from seqjax.train._files import replace_file

MOST = 10_000  # members; more are a slip, and would fill the memory before the first is trained


class Member(NamedTuple):
    """A member of a sweep.

    Attributes:
      name: what it is called, such as "hidden_size=64,learning_rate=0.001".
      settings: what it changes.
      result: content of its `result.json`.
    """

    name: str
    settings: dict[str, Any]
    result: dict[str, Any]


def parse(text: str, config_type: type) -> list[dict[str, Any]]:
    """Reads a grid as it stands on the command line.

    Args:
      text: `name=value,value;name=value,...`.
      config_type: configuration whose fields may be named.

    Returns:
      The settings of every member, the last name changing fastest.

    Raises:
      ConfigError: if it is malformed, or a name or value is not one that the configuration has.

    Example:
      >>> from experiments import regression
      >>> parse("hidden_size=8,16;learning_rate=1e-3", regression.Config)
      [{'hidden_size': 8, 'learning_rate': 0.001}, {'hidden_size': 16, 'learning_rate': 0.001}]
    """
    axes: dict[str, list[Any]] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, values = part.partition("=")
        name = name.strip()
        if not equals or name in axes:
            raise ConfigError(
                "--sweep must be written name=value,value;name=value,value with each name once, "
                f"got {part!r}."
            )
        axes[name] = [command_line.parse_setting(config_type, name, v) for v in values.split(",")]
    if not axes or "seeds" in axes or "seed" in axes:
        raise ConfigError(
            "--sweep must name a setting other than seed and seeds, which are --seed and --seeds "
            f"for all members, got {text!r}."
        )
    if (count := math.prod(map(len, axes.values()))) > MOST:
        raise ConfigError(f"--sweep must be of at most {MOST:,} members, got {count:,}.")
    combinations = itertools.product(*axes.values())
    members = [dict(zip(axes, combination, strict=True)) for combination in combinations]
    if len({_name(member) for member in members}) < len(members):
        raise ConfigError(f"--sweep must name each value once, got {text!r}.")
    return members


def run_sweep(
    experiment: Experiment,
    given: Mapping[str, Any],
    text: str,
    *,
    workdir: str | Path | None = None,
    resume: bool = False,
    mesh: str = "auto",
    notify: Callable[[str], None] = print,
    **options: Any,
) -> list[Member]:
    """Runs every member and compares them.

    Args:
      experiment: what is run.
      given: settings of all members.
      text: the grid, see `parse`.
      workdir: the folder; `runs/<experiment>/sweep-<hash>` by default. Each member is a run folder
        in it.
      resume: whether a sweep begun there is continued; without it one is refused.
      mesh: how devices share the work, as `--mesh` says it; see `seqjax.train.data_mesh`.
      notify: receives the lines of the report.
      **options: further arguments of `prepare`.

    Returns:
      The members. `sweep.md` and `sweep.json` in the folder hold the same.

    Raises:
      ConfigError: if the grid, or a member of it, cannot be used; before any is trained.
      DataError, RunError: as a run does.
    """
    name, configure = experiment.name, experiment.config.configure
    grid = parse(text, experiment.config)
    configs = [configure(**{**given, **settings}) for settings in grid]
    about = {"experiment": name, "given": dict(given), "sweep": grid}
    plain = Path("runs") / name / f"sweep-{command_line.config_hash(about)}"
    folder = train.open_run(workdir or plain, about, resume=resume)
    prepare = functools.partial(experiment.prepare, **options)
    results: dict[str, dict[str, Any]] = {}
    for group in _groups(grid):
        runs = {_name(grid[i]): (configs[i], folder.path / _name(grid[i])) for i in group}
        numbers = ", ".join(str(i + 1) for i in group)
        notify(f"\nmember {numbers} of {len(grid)}: {'; '.join(runs)}")
        found = run_studies(name, runs, prepare, resume=True, mesh=mesh, notify=notify)
        results |= {member: run.result for member, run in zip(runs, found, strict=True)}
        jax.clear_caches()  # no other member runs the programs of these
    members = [Member(_name(settings), settings, results[_name(settings)]) for settings in grid]
    report = compare(members)
    replace_file(folder.path / "sweep.md", report)
    content = [member._asdict() for member in members]
    replace_file(folder.path / "sweep.json", json.dumps(content, indent=1) + "\n")
    notify("\n" + report)
    return members


def _groups(grid: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Returns which members can have one program, in the order of the first of each group."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, settings in enumerate(grid):
        shapes = tuple(item for item in settings.items() if item[0] not in IN_STATE)
        groups.setdefault(shapes, []).append(number)
    return list(groups.values())


def compare(members: Sequence[Member]) -> str:
    """Returns a Markdown table of the members, each against the one that validation prefers.

    Members with the same seeds are compared seed by seed: the mean of the differences in the test
    metric, Student's t interval for it and the probability of one as far from 0 by chance, in the
    two-sided paired test. Probabilities are those of single comparisons; with M members, judge them
    against 0.05 / (M - 1).

    Args:
      members: at least one.

    Returns:
      The table.
    """
    headline = next(name for name in members[0].result["metrics"] if name.startswith("test_"))
    metric = headline.removeprefix("test_")
    validation = f"validation_{metric}"
    kind = kind_of(metric)
    sign = -1 if kind.larger_is_better else 1
    best = min(members, key=lambda m: sign * m.result["metrics"][validation]["mean"])
    reference = best.result["metrics"][headline]["per_seed"]
    lines = [
        f"| member | parameters | {validation.replace('_', ' ')} | test {metric} | "
        "difference to the preferred | p |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for member in members:
        found = member.result["metrics"][headline]
        difference = "preferred by validation | "
        if member is not best:
            difference = _paired(found["per_seed"], reference, kind.difference_bounds)
        lines.append(
            f"| {member.name} | {member.result['num_params']:,} | "
            f"{member.result['metrics'][validation]['mean']:.4g} | {_with_interval(found)} | "
            f"{difference} |"
        )
    seeds = best.result["seeds"]
    return "\n".join([*lines, "", f"Seeds {seeds}; intervals at 95 %.", ""])


def paired_p(differences: Iterable[float]) -> float:
    """The two-sided paired t-test: how often chance gives a mean as far from 0.

    Args:
      differences: one a seed, two or more.

    Returns:
      The probability; 0 if all differ by the same, and 1 if none differs.

    Example:
      >>> round(paired_p([1.0, 2.0, 3.0]), 4)
      0.0742
    """
    from scipy import stats  # half a second, which only a finished sweep needs

    array = np.asarray(list(differences), np.float64)
    if np.allclose(array, array[0], rtol=1e-12, atol=0):
        return 1.0 if array.mean() == 0 else 0.0
    test: Any = stats.ttest_1samp(array, 0.0)
    return float(test.pvalue)


def _paired(
    values: Sequence[float], reference: Sequence[float], bounds: tuple[float, float]
) -> str:
    differences = [a - b for a, b in zip(values, reference, strict=True)]
    shown = _with_interval(summarise(differences, bounds=bounds), signed=True)
    return f"{shown} | {f'{paired_p(differences):.3f}' if len(differences) > 1 else ''}"


def _with_interval(metric: Mapping[str, Any], *, signed: bool = False) -> str:
    low, high = metric["ci95"]
    style = "+.4g" if signed else ".4g"
    mean = f"{metric['mean']:{style}}"
    return mean if low is None else f"{mean} ({low:{style}} to {high:{style}})"


def _name(settings: Mapping[str, Any]) -> str:
    # The name of a folder, so no value may lead out of it.
    name = ",".join(f"{name}={value}" for name, value in settings.items())
    return urllib.parse.quote(name, safe="=,.+-_ ", errors="surrogateescape")
