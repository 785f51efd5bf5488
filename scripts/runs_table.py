"""Prints finished runs as a Markdown table: a row a run, then the floors, then the commands.

    python scripts/runs_table.py runs/regression/gru-1a2b runs/regression/lstm-3c4d

Runs of different data come one group below the other, each under its own floors. Numbers are those
of `result.json`: the mean over the seeds, Student's t interval at 95 %, and every seed.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import app

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `experiments`

from experiments import command_line
from seqjax import train


def read(path: str) -> dict[str, Any]:
    """Reads a run: its result, and beside it the headline and the command of its summary."""
    folder = Path(path)
    if not (folder / "config.json").exists():
        raise train.RunError(f"{path} holds no run; give folders that hold a result.json.")
    result = train.RunFolder(folder, {}).result()
    # The floors are in units of the headline, which is the first test metric.
    result["headline"] = next(name for name in result["metrics"] if name.startswith("test_"))
    summary = (folder / "summary.md").read_text("utf-8")
    command = summary.partition("```sh\n")[2].partition("\n```")[0]
    result["command"] = re.sub(r"--data_dir=\S+", "--data_dir=DIR", command)
    return result


def table(results: Sequence[dict[str, Any]]) -> str:
    """Returns the rows of runs that share their data."""
    headline, scale, digits = results[0]["headline"], 1, 4
    unit = ""
    if "accuracy" in headline:
        scale, digits, unit = 100, 2, ", %"
    name = headline.removeprefix("test_").replace("_", " ")

    def number(value: float) -> str:
        value *= scale
        return f"{value:.{digits}f}" if abs(value) >= 0.01 or not value else f"{value:.1e}"

    lines = [
        f"| {results[0]['dataset']} | test {name}{unit} | each seed | parameters | min a seed |",
        "| --- | ---: | --- | ---: | ---: |",
    ]
    for result in results:
        metric = result["metrics"][headline]
        low, high = metric["ci95"]
        interval = "" if low is None else f" ({number(low)} to {number(high)})"
        seeds = ", ".join(map(number, metric["per_seed"]))
        minutes = result["metrics"]["seed_wall_s"]["mean"] / 60
        lines.append(
            f"| {result['cell']} | {number(metric['mean'])}{interval} | {seeds} | "
            f"{result['num_params']:,} | {minutes:.1f} |"
        )
    floors = {name: value for result in results for name, value in result["floors"].items()}
    lines += [f"| baseline: {name} | {number(value)} | | | |" for name, value in floors.items()]
    return "\n".join(lines)


def report(paths: Sequence[str]) -> str:
    """Returns the tables of some runs and the commands that repeat them."""
    results = [read(path) for path in paths]
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for result in results:
        key = (result["experiment"], result["dataset"], result["data_sha256"])
        groups.setdefault(key, []).append(result)
    versions = results[0]["versions"]
    parts = [table(group) for group in groups.values()]
    shown = ", ".join(f"{name} {versions[name]}" for name in ("python", "jax") if name in versions)
    parts += [f"({shown})", "\n".join(f"    {result['command']}" for result in results)]
    return "\n\n".join(parts)


def main(args: Sequence[str]) -> None:
    """Prints the report."""
    if len(args) < 2:
        command_line.fail("give the folders of one or more finished runs.")
    try:
        print(report(args[1:]))
    except train.RunError as error:
        command_line.fail(str(error))


if __name__ == "__main__":
    sys.exit(app.run(main))
