"""Runs the sentiment experiment for every cell and writes the table of README and docs/results.md.

    python scripts/imdb_table.py --data_dir=DIR

Each row is a run of `python -m experiments.imdb` in its own folder below --workdir. What has run is
not run again, so the script can be stopped and started at will. The rows are those of `ROWS`.
"""

import dataclasses
import json
import re
import shutil
from pathlib import Path

from absl import flags

from experiments import command_line, imdb
from experiments.imdb.report import command
from seqjax import train

FLAGS = flags.FLAGS
ROOT = Path(__file__).resolve().parents[1]
BEST, KERAS = imdb.PRESETS["best"], imdb.PRESETS["keras"]
# The cells with default settings, then what stands beside them.
ROWS = {
    "bigru": BEST,
    "bigru, network alone": dataclasses.replace(BEST, linear_path=False),
    "bilstm": dataclasses.replace(BEST, cell="bilstm"),
    "birnn": dataclasses.replace(BEST, cell="birnn"),
    "gru": dataclasses.replace(BEST, cell="gru"),
    "lstm": dataclasses.replace(BEST, cell="lstm"),
    "rnn": dataclasses.replace(BEST, cell="rnn"),
    "bilstm, preset keras": dataclasses.replace(KERAS, seeds=1),
}


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_string("data_dir", None, "folder of prepared data")
    flags.DEFINE_string("cache_dir", None, "where encoded data is kept")
    flags.DEFINE_string("workdir", "runs/imdb_table", "where the runs are kept")
    flags.DEFINE_list("rows", list(ROWS), "the rows to run; the table shows all that have finished")


def body() -> None:
    """Runs what has not run yet, and writes the table."""
    train.use_all_cores()
    workdir = Path(FLAGS.workdir)
    for name in FLAGS.rows:
        name = name.strip()
        if name not in ROWS:
            raise command_line.ConfigError(f"--rows must be among {', '.join(ROWS)}; got {name!r}.")
        config = dataclasses.replace(ROWS[name], dataset="imdb_reviews", data_dir=FLAGS.data_dir)
        imdb.run(config, workdir=folder(workdir, name), resume=True, cache_dir=FLAGS.cache_dir)
        write(workdir)


def folder(workdir: Path, name: str) -> Path:
    """Returns the run folder of a row."""
    return workdir / re.sub(r"\W+", "_", name)


def write(workdir: Path) -> None:
    """Writes the table of the finished rows into README.md and docs/results.md."""
    results = {
        name: json.loads(path.read_text("utf-8"))
        for name in ROWS
        if (path := folder(workdir, name) / "result.json").exists()
    }
    text = table(results)
    begin, end = "<!-- table: imdb -->\n", "<!-- end -->"
    for page in (ROOT / "README.md", ROOT / "docs" / "results.md"):
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
        "| model | test accuracy, % | 95 % interval | each seed | parameters | minutes a seed |",
        "| --- | ---: | ---: | --- | ---: | ---: |",
    ]
    for name, result in results.items():
        accuracy = result["metrics"]["test_accuracy"]
        low, high = accuracy["ci95"]
        interval = "one seed" if low is None else f"{100 * low:.2f} to {100 * high:.2f}"
        seeds = ", ".join(f"{100 * value:.2f}" for value in accuracy["per_seed"])
        minutes = result["metrics"]["seed_wall_s"]["mean"] / 60
        lines.append(
            f"| {name} | {100 * accuracy['mean']:.2f} | {interval} | {seeds} | "
            f"{result['num_params']:,} | {minutes:.1f} |"
        )
    floors = next(iter(results.values()))["floors"]
    lines += [f"| floor: {name} | {100 * value:.2f} | | | | |" for name, value in floors.items()]
    versions = next(iter(results.values()))["versions"]
    lines += ["", f"Python {versions['python']}, JAX {versions['jax']}, Flax {versions['flax']}."]
    lines += ["Commands, with `--data_dir` where the data is not in its usual place:", ""]
    lines += [f"    {command(ROWS[name])}" for name in results]
    return "\n".join(lines)


if __name__ == "__main__":
    command_line.main(define, body)
