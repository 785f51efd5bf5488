"""Trains for an hour and watches what must not grow: memory, compiled programs, logs.

    python scripts/soak.py --minutes=60 --json=soak.json

The run is an ordinary one (`experiments.regression`, generated sequences, a checkpoint every
epoch), in this process, stopped by SIGTERM as one on a preempted machine is. Its own memory is
read once a second. Saving starts threads, whose memory comes and goes, so the growth is the slope
of a line through the highest of each tenth, in the second half. Exit status 1 if that is more than
`--mib_per_hour`, or if anything was compiled after the first tenth.
"""

import json
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import jax
import numpy as np
from absl import app, flags, logging

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `experiments`

from experiments import regression
from seqjax import train
from seqjax.train._files import replace_file

FLAGS = flags.FLAGS
flags.DEFINE_float("minutes", 60, "how long", lower_bound=0.2)
flags.DEFINE_float("mib_per_hour", 20, "growth that is allowed")
flags.DEFINE_string("json", None, "file for the samples")
COMPILED = "/jax/core/compile/backend_compile_duration"


def private_mib() -> float:
    """Returns how much memory of its own this process has asked the system for.

    Not what is resident: the kernel takes pages that rest for a while and gives them back one by
    one, which looks like growth.
    """
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmData"].split()[0]) / 1024


def main(_: list[str]) -> None:
    """Trains, watches and reports."""
    began, done = time.monotonic(), threading.Event()
    samples, compiled = [], []

    def note(event: str, duration_secs: float, **_: str | int) -> None:
        if event == COMPILED:
            compiled.append(time.monotonic() - began)

    def watch() -> None:
        while not done.wait(1.0):
            samples.append((time.monotonic() - began, private_mib()))
            if samples[-1][0] >= 60 * FLAGS.minutes:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    jax.monitoring.register_event_duration_secs_listener(note)
    logging.set_verbosity(logging.WARNING)
    train.use_all_cores()
    config = regression.configure(
        task="sine", train_size=2**15, seeds=1, epochs=10**6, patience=10**6, learning_rate=1e-4
    )
    # Slowly: at the usual rate, which would never fall, Adam diverged after 40 minutes.
    with tempfile.TemporaryDirectory() as folder:
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            regression.run(config, workdir=folder, resume=False)
        except train.StoppedError as stopped:
            print(stopped)
        finally:
            done.set()
            watcher.join()
        rows = train.RunFolder(Path(folder), {}).metrics()
        sizes = {
            name: sum(p.stat().st_size for p in Path(folder).glob(f"{name}*/**/*") if p.is_file())
            for name in ("checkpoints", "tensorboard")
        }
        sizes["metrics.jsonl"] = (Path(folder) / "metrics.jsonl").stat().st_size
    times, memory = np.array(samples).T
    highest = [float(part.max()) for part in np.array_split(memory, 10)]
    slope = 10 * 3600 / times[-1] * float(np.polyfit(range(5), highest[5:], 1)[0])
    late = sum(at > times[-1] / 10 for at in compiled)
    print(f"{times[-1] / 60:.1f} minutes, {rows[-1]['step']:,} steps, {rows[-1]['epoch']:,} epochs")
    print(f"highest of each tenth, MiB: {highest}; {slope:+.1f} MiB an hour at the end")
    print(f"programs compiled: {len(compiled)}, of them {late} after the first tenth")
    print(f"bytes written: {sizes}")
    if FLAGS.json:
        report = {"samples": samples, "compiled": compiled, "sizes": sizes, "slope": slope}
        replace_file(Path(FLAGS.json), json.dumps(report) + "\n")
    if slope > FLAGS.mib_per_hour or late:
        raise SystemExit(1)


if __name__ == "__main__":
    app.run(main)
