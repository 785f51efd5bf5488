"""Code in a process of its own, as a user has it: nothing of JAX chosen yet."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHOSEN_BY_TESTS = ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES", "NPROC")


def output_of(code: str, **chosen: str) -> str:
    """Returns what the code prints, see `run`."""
    return run(code, **chosen).stdout


def run(code: str, **chosen: str) -> subprocess.CompletedProcess[str]:
    """Returns how the code ended; fails with its last lines where it does not end well.

    Args:
      code: what is run.
      **chosen: variables of its environment.
    """
    env = {name: value for name, value in os.environ.items() if name not in CHOSEN_BY_TESTS}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**env, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), **chosen},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-1000:]
    return done
