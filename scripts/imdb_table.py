"""Runs the sentiment experiment for every cell and writes the table of docs/results.md.

    python scripts/imdb_table.py --data_dir=DIR

Each row is a run of `python -m experiments.imdb` in its own folder below --workdir, as many at a
time as there are cores, each on one: that trains more reviews a second than one run on all of
them. What has run is not run again, so the script can be stopped and started at will.
"""

import concurrent.futures
import dataclasses
import json
import os
import queue
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `experiments`

from experiments import command_line, imdb
from seqjax import train

FLAGS = flags.FLAGS
ROOT = Path(__file__).resolve().parents[1]
BEST, KERAS = imdb.configure(preset="best"), imdb.configure(preset="keras")
# The cells with default settings, then the classic script.
ROWS = {cell: dataclasses.replace(BEST, cell=cell) for cell in imdb.CELLS[::-1]}
ROWS["bilstm keras"] = dataclasses.replace(KERAS, seeds=1)


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_string("data_dir", None, "folder of prepared data")
    flags.DEFINE_string("cache_dir", None, "where encoded data is kept")
    flags.DEFINE_string("workdir", "runs/imdb_table", "where the runs are kept")
    flags.DEFINE_list("rows", list(ROWS), "the rows to run; the table shows all that have finished")


def body() -> None:
    """Runs what has not run yet, and writes the table."""
    names = [name.strip() for name in FLAGS.rows]
    for name in names:
        if name not in ROWS:
            raise command_line.ConfigError(f"--rows must be among {list(ROWS)}; got {name!r}.")
    workdir = Path(FLAGS.workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    cores: queue.Queue[int] = queue.Queue()
    for core in os.sched_getaffinity(0):
        cores.put(core)

    def run(name: str) -> None:
        core = cores.get()
        try:
            log = workdir / f"{folder(workdir, name).name}.log"
            with log.open("a") as file:
                done = subprocess.run(
                    arguments(workdir, name),
                    cwd=ROOT,
                    stdout=file,
                    stderr=file,
                    preexec_fn=lambda: os.sched_setaffinity(0, {core}),
                )
            if done.returncode:
                said = log.read_text("utf-8").strip().rpartition("\n")[2]
                raise train.RunError(f"the row {name} ended with {done.returncode}; {log}: {said}")
        finally:
            cores.put(core)

    with concurrent.futures.ThreadPoolExecutor(cores.qsize()) as pool:
        for future in concurrent.futures.as_completed(pool.submit(run, name) for name in names):
            future.result()
            write(workdir)


def arguments(workdir: Path, name: str) -> list[str]:
    """Returns the command that runs a row."""
    extra = [f"--workdir={folder(workdir, name).absolute()}", "--resume", "--dataset=imdb_reviews"]
    if FLAGS.data_dir:
        extra.append(f"--data_dir={Path(FLAGS.data_dir).absolute()}")
    if FLAGS.cache_dir:
        extra.append(f"--cache_dir={Path(FLAGS.cache_dir).absolute()}")
    return [sys.executable, *shlex.split(ROWS[name].command("imdb"))[1:], *extra]


def folder(workdir: Path, name: str) -> Path:
    """Returns the run folder of a row."""
    return workdir / re.sub(r"\W+", "_", name)


def write(workdir: Path) -> None:
    """Writes the table of the finished rows into docs/results.md."""
    results = {
        name: json.loads(path.read_text("utf-8"))
        for name in ROWS
        if (path := folder(workdir, name) / "result.json").exists()
    }
    text = table(results)
    begin, end = "<!-- table: imdb -->\n", "<!-- end -->"
    page = ROOT / "docs" / "results.md"
    before, _, rest = page.read_text("utf-8").partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}\n{text}\n\n{end}{after}", "utf-8")
    figure = folder(workdir, "bigru") / "figures" / "training.png"
    if figure.exists():
        (ROOT / "docs" / "figures").mkdir(parents=True, exist_ok=True)
        shutil.copy(figure, ROOT / "docs" / "figures" / "imdb_bigru.png")


def table(results: dict[str, dict]) -> str:
    """Returns the table in Markdown, the floors last."""
    lines = [
        "| model | alone, % | with linear path, % | each seed | parameters | minutes a seed |",
        "| --- | ---: | ---: | --- | ---: | ---: |",
    ]
    for name, result in results.items():
        both, network = (
            result["metrics"][metric] for metric in ("test_accuracy", "test_accuracy_network")
        )
        if not ROWS[name].linear_path:
            both = None
        seeds = ", ".join(f"{100 * value:.2f}" for value in (both or network)["per_seed"])
        minutes = result["metrics"]["seed_wall_s"]["mean"] / 60
        lines.append(
            f"| {name} | {percent(network)} | {percent(both)} | {seeds} | "
            f"{result['num_params']:,} | {minutes:.1f} |"
        )
    floors = next(iter(results.values()))["floors"]
    lines += [f"| baseline: {name} | | {100 * value:.2f} | | | |" for name, value in floors.items()]
    versions = next(iter(results.values()))["versions"]
    lines += ["", f"Python {versions['python']}, JAX {versions['jax']}, Flax {versions['flax']}."]
    lines += ["Commands, with `--data_dir` where the data is not in its usual place:", ""]
    lines += [f"    {ROWS[name].command('imdb')}" for name in results]
    return "\n".join(lines)


def percent(metric: dict | None) -> str:
    """Returns a metric's mean and interval in per cent."""
    if metric is None:
        return "-"
    low, high = metric["ci95"]
    interval = "one seed" if low is None else f"{100 * low:.2f} to {100 * high:.2f}"
    return f"{100 * metric['mean']:.2f} ({interval})"


if __name__ == "__main__":
    command_line.run_program(define, body)
