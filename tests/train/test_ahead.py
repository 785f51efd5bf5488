"""Thousands of programs whose results nobody looks at in between, see `processes.AHEAD`."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = """
import jax, jax.numpy as jnp
from seqjax import train

train.use_all_cores(2)
xs = train.split_batch(jnp.ones((8, 64)))
added_up = jax.jit(lambda x, y: (x @ y.T).sum())
print(len(train.fetch_each(added_up(xs, xs) for _ in range(20_000))))
"""


def test_devices_do_not_lock_each_other():
    ours = ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES", "NPROC")  # as a user has them, not as tests do
    env = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**env, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "20000", done.stderr[-1000:]
