"""Injects faults into a real training run, and checks that it ends as if none had occurred.

    python scripts/faults.py --kills=50 --terminations=10 --truncations=10 --json=faults.json

Every trial is a run of `experiments.regression` in a folder of its own, a process as a user starts
it. These are the kinds:

- It is stopped at a random moment by SIGKILL or SIGTERM, or stopped and its newest checkpoint cut
  short.
- Before a single operation on a file, of all that it does, it is killed, is sent three SIGTERM at
  once, or finds the disk full; or the power is cut, and what was not synchronised is lost.
- Its standard streams are closed, full, or a pipe that nobody reads any more. It must end well.
- It runs on a file system that is too small (Linux, as root), and is refused room.

Then it is resumed with `--resume`. The parameters, and the rows of metrics.jsonl but for seconds,
must be those of a run that nobody touched. Exit status 1 if some are not.
"""

import hashlib
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from absl import app, flags

from seqjax import train
from seqjax.train._files import replace_file

FLAGS = flags.FLAGS
flags.DEFINE_integer("kills", 50, "runs stopped by SIGKILL", lower_bound=0)
flags.DEFINE_integer("terminations", 10, "runs stopped by SIGTERM", lower_bound=0)
flags.DEFINE_integer("truncations", 10, "runs whose newest checkpoint is cut short", lower_bound=0)
flags.DEFINE_integer("operations", 10, "faults of each kind at single operations", lower_bound=0)
flags.DEFINE_boolean("streams", True, "whether standard streams are closed, full and broken")
flags.DEFINE_integer("seed", 0, "draws the moments")
flags.DEFINE_integer("epochs", 6, "epochs of the run", lower_bound=2)
flags.DEFINE_integer("seeds", 1, "seeds of the run; several train together", lower_bound=1)
flags.DEFINE_string("json", None, "file for the trials")
AT_OPERATIONS = ("kill", "signal", "full disk", "power cut")
TIMES = ("wall_s", "examples_per_s")
STREAMS = ("{} >&- 2>&-", "{} >/dev/full 2>/dev/full", "{} 2>&1 | head -1")
ROOT = Path(__file__).resolve().parents[1]
# `python -m experiments.regression`, except that no checkpoint is left out for being too soon.
PROGRAM = """
import os
import runpy
from experiments import study
study.CHECKPOINT_SECONDS = 0
if "FAULT" in os.environ:
    import fault_injection
    fault_injection.arrange(os.environ["FAULT"])
runpy.run_module("experiments.regression", run_name="__main__", alter_sys=True)
"""


class Runs:
    """Processes that train the same run in different folders, and share compiled programs."""

    def __init__(self, base: Path, epochs: int, seeds: int):
        """Makes the command.

        Args:
          base: folder of all their folders.
          epochs: of the run.
          seeds: likewise.
        """
        self.base = base
        self._command = [sys.executable, "-c", PROGRAM, "--task=sine"]
        self._command += [f"--seeds={seeds}", "--mesh=members", f"--epochs={epochs}", "--resume"]
        cache = {
            "JAX_COMPILATION_CACHE_DIR": str(base / "cache"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        self._environment = {**os.environ, **cache, "PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}"}

    def start(
        self, folder: Path, fault: str | None = None, shell: str = "exec {}"
    ) -> subprocess.Popen[str]:
        """Starts or resumes the run in a folder.

        Args:
          folder: where.
          fault: see `fault_injection.arrange`, without the folder.
          shell: what Bash does with the command.
        """
        command = shlex.join([*self._command, f"--workdir={folder}"])
        return subprocess.Popen(
            ["bash", "-c", "set -o pipefail; " + shell.format(command)],
            cwd=ROOT,
            env=self._environment | ({"FAULT": f"{fault}:{folder}"} if fault else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, folder: Path, **options: str) -> tuple[str, str]:
        """Resumes to the end: the hash of parameters and rows, and what was said."""
        process = self.start(folder, **options)
        said = process.communicate()[0]
        if process.returncode:
            return f"exit status {process.returncode}", said
        run = train.RunFolder(folder, {})
        rows = [{k: v for k, v in row.items() if k not in TIMES} for row in run.metrics()]
        return hash_of([run.result()["params_sha256"], rows]), said

    def stop(self, folder: Path, after: float, how: signal.Signals) -> tuple[int, str]:
        """Starts the run, and sends a signal some seconds later: exit status, and what was said."""
        process = self.start(folder)
        try:
            said = process.communicate(timeout=after)[0]
        except subprocess.TimeoutExpired:
            process.send_signal(how)
            said = process.communicate()[0]
        return process.returncode, said


def hash_of(content: object) -> str:
    """Returns the hash of what JSON can hold."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def newest_checkpoint(folder: Path) -> Path | None:
    """Returns the newest complete checkpoint of the run's first seed."""
    numbers = [int(p.name) for p in folder.glob("checkpoints/seed_0/*") if p.name.isdigit()]
    return folder / "checkpoints" / "seed_0" / str(max(numbers)) if numbers else None


def cut_short(folder: Path) -> str | None:
    """Halves the largest file of the newest checkpoint; None where there is none before it."""
    newest = newest_checkpoint(folder)
    if newest is None or len(list(newest.parent.iterdir())) < 2:
        return None
    file = max((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    os.truncate(file, file.stat().st_size // 2)
    return newest.name


def full_disk(runs: Runs, whole: str) -> dict[str, object]:
    """Trains on a file system that is too small until it has been enlarged."""
    folder = runs.base / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        return {"kind": "full disk", "skipped": "a small file system cannot be mounted here"}
    try:
        process = runs.start(folder / "run")
        said = process.communicate()[0]
        status = process.returncode
        subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
        found, _ = runs.finish(folder / "run")
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    last = said.strip().splitlines()[-1]
    one_line = status == 2 and last.startswith("error: ") and "Traceback" not in said
    return {"kind": "full disk", "said": last, "equal": one_line and found == whole}


def trial(runs: Runs, kind: str, number: int, whole: str, moment: float) -> dict[str, object]:
    """Stops a run after some seconds, spoils its checkpoint where asked, and resumes it."""
    folder = runs.base / f"{kind.replace(' ', '_')}_{number}"
    how = signal.SIGTERM if kind == "terminated" else signal.SIGKILL
    status, _ = runs.stop(folder, moment, how)
    while kind == "cut short" and (folder / "result.json").exists():
        # Done before the signal came, so that nothing would read what is cut.
        shutil.rmtree(folder)
        moment *= 0.9
        status, _ = runs.stop(folder, moment, how)
    rows = folder / "metrics.jsonl"
    done = rows.read_text().count("\n") if rows.exists() else 0
    damaged = cut_short(folder) if kind == "cut short" else None
    found, said = runs.finish(folder)
    equal = found == whole and (damaged is None or f"seed_0/{damaged} is damaged" in said)
    row = {"kind": kind, "after_s": round(moment, 2), "status": status, "rows": done}
    return {**row, "damaged": damaged, "equal": equal, "found": found[:12]}


def at_operation(runs: Runs, kind: str, at: int, whole: str) -> dict[str, object]:
    """Injects a fault into a run before one operation on a file, and resumes the run."""
    folder = runs.base / f"{kind.replace(' ', '_')}_at_{at}"
    process = runs.start(folder, f"{kind}:{at}")
    said = process.communicate()[0]
    one_line = "Traceback" not in said
    left = folder.with_name(f"{folder.name}.cut") if kind == "power cut" else folder
    found, _ = runs.finish(left)
    row = {"kind": f"{kind} at an operation", "operation": at, "status": process.returncode}
    return {**row, "equal": one_line and found == whole, "found": found[:12]}


def broken_streams(runs: Runs, number: int, whole: str) -> dict[str, object]:
    """Trains where nobody can receive what is said."""
    found, _ = runs.finish(runs.base / f"streams_{number}", shell=STREAMS[number])
    return {"kind": "streams", "how": STREAMS[number], "equal": found == whole}


def timed(function: Callable[[], tuple[str, str]]) -> tuple[float, str, str]:
    """Returns the seconds a function takes and what it returns."""
    began = time.monotonic()
    found, said = function()
    return time.monotonic() - began, found, said


def main(_: list[str]) -> None:
    """Runs all trials and reports."""
    rng = random.Random(FLAGS.seed)
    with tempfile.TemporaryDirectory() as base:
        runs = Runs(Path(base), FLAGS.epochs, FLAGS.seeds)
        runs.finish(runs.base / "warm")  # compiles
        seconds, whole, said = timed(lambda: runs.finish(runs.base / "whole", fault="none:0"))
        if len(whole) != 64:
            raise SystemExit(f"The run that nobody touched did not finish ({whole}):\n{said}")
        (number_of_operations,) = map(int, re.findall(r"^operations (\d+)$", said, re.M))
        print(f"untouched: {whole[:12]}, {seconds:.1f} s", flush=True)
        kinds = ["killed"] * FLAGS.kills + ["terminated"] * FLAGS.terminations
        kinds += ["cut short"] * FLAGS.truncations
        rows = []
        for number, kind in enumerate(kinds):
            # There is a checkpoint to spoil in the second half only.
            first = seconds * (0.6 if kind == "cut short" else 0.1)
            moment = rng.uniform(first, seconds)
            rows.append(trial(runs, kind, number, whole, moment))
            print(json.dumps(rows[-1]), flush=True)
        for kind in AT_OPERATIONS * FLAGS.operations:
            at = rng.randrange(number_of_operations)
            rows.append(at_operation(runs, kind, at, whole))
            print(json.dumps(rows[-1]), flush=True)
        for number in range(len(STREAMS) * FLAGS.streams):
            rows.append(broken_streams(runs, number, whole))
            print(json.dumps(rows[-1]), flush=True)
        rows.append(full_disk(runs, whole))
        print(json.dumps(rows[-1]), flush=True)
    for kind in dict.fromkeys(row["kind"] for row in rows):
        judged = [row for row in rows if row["kind"] == kind and "equal" in row]
        equal = sum(row["equal"] is True for row in judged)
        print(f"{kind}: {equal} of {len(judged)} equal to the run that nobody touched")
    if FLAGS.json:
        replace_file(Path(FLAGS.json), json.dumps(rows, indent=1) + "\n")
    if not all(row.get("equal", True) for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    app.run(main)
