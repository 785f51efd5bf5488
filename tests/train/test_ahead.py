"""A loop that looks at nothing in between does not lock CPU devices, see `processes.AHEAD`."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BEGIN = """
import jax, jax.numpy as jnp, optax
from seqjax import train

train.use_all_cores(2)
xs = train.split_batch(jnp.ones((8, 64)))
"""
LOOPS = {
    "update": """
        loss = lambda params, key, batch: (jnp.tanh(batch @ params).sum(), {"weight": 8})
        step = train.make_train_step(loss, optax.sgd(1e-3), mesh=train.data_mesh(8))
        state = step.init(jnp.eye(64), jax.random.key(0))
        for _ in range(CALLS):
            state, record = step.update(state, xs)
        print(state.step)
    """,
    "fetch_each": """
        sums = jax.jit(lambda x, y: (x @ y.T).sum())
        print(len(train.fetch_each(sums(xs, xs) for _ in range(CALLS))))
    """,
}


@pytest.mark.parametrize("loop", LOOPS)
def test_thousands_of_calls(loop):
    code = BEGIN + f"CALLS = {20_000}\n" + textwrap.dedent(LOOPS[loop])
    ours = ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES", "NPROC")  # as a user has them, not as tests do
    env = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**env, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "20000", done.stderr[-1000:]
