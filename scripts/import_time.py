"""Measures what `import seqjax` takes beyond the import of JAX.

    python scripts/import_time.py

Each round is a fresh process. What counts is the median of the processor time, which other programs
on the machine do not change; the exit status is 1 where it is above --limit.
"""

import statistics
import subprocess
import sys

from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_integer("rounds", 5, "fresh processes", lower_bound=1)
flags.DEFINE_float("limit", 0.2, "seconds of processor time allowed")

PROGRAM = """
import time
import jax
wall, cpu = time.perf_counter(), time.process_time()
import seqjax
print(time.perf_counter() - wall, time.process_time() - cpu, seqjax.__version__, seqjax.__file__)
"""


def main(_) -> None:
    """Measures, prints and judges."""
    rounds = []
    for _ in range(FLAGS.rounds):
        command = [sys.executable, "-c", PROGRAM]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rounds.append(done.stdout.split())
    wall, cpu = (statistics.median(float(each[place]) for each in rounds) for place in (0, 1))
    version, file = rounds[0][2:]
    print(f"seqjax {version} from {file}")
    print(f"import: {cpu:.3f} s of processor time, {wall:.3f} s by the clock, beyond jax")
    if cpu > FLAGS.limit:
        sys.exit(f"error: more than {FLAGS.limit:g} s; find what is heavy by -X importtime.")


if __name__ == "__main__":
    app.run(main)
