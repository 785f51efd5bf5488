"""What a call of the gradient-flow probe costs, in training steps.

    python scripts/gradflow_cost.py

A recurrent layer of 128 units classifies 64 sequences of 100 steps; its probe looks at 8 of them,
with and without the gradient by parameter groups. Steps and probes alternate, and medians are
compared. On a machine at work the ratio is steadier than the seconds.
"""

import statistics
import time

import jax
import jax.numpy as jnp
import optax
from absl import app

import seqjax
from seqjax import gradflow
from seqjax.train import data_mesh, make_train_step

STEPS, BATCH, PROBED, FEATURES, HIDDEN, ROUNDS = 100, 64, 8, 64, 128, 11


def main(_) -> None:
    """Prints a line for each cell."""
    for cell in (seqjax.elman(HIDDEN), seqjax.lstm(HIDDEN), seqjax.gru(HIDDEN)):
        measure(cell)


def measure(cell: seqjax.cells.Cell) -> None:
    """Times one cell."""
    keys = jax.random.split(jax.random.key(0), 3)
    xs = jax.random.normal(keys[0], (BATCH, STEPS, FEATURES))
    batch = {"x": xs, "y": (xs[:, 0, 0] > 0).astype(int)}
    params = {
        "cell": cell.init(keys[1], FEATURES),
        "head": 0.1 * jax.random.normal(keys[2], (HIDDEN, 2)),
    }

    def loss(params, batch):
        ys, _ = seqjax.unroll(cell, params["cell"], jnp.swapaxes(batch["x"], 0, 1))
        logits = ys[-1] @ params["head"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()

    train = make_train_step(
        lambda params, key, batch: (loss(params, batch), {"weight": jnp.asarray(BATCH)}),
        optax.adam(1e-3),
        mesh=data_mesh(1),
    )
    few = jax.tree.map(lambda leaf: leaf[:PROBED], batch)

    def inputs(params, batch):
        return params["cell"], jnp.swapaxes(batch["x"], 0, 1)

    probes = {
        "probe": gradflow.make_probe(cell, few, inputs=inputs),
        "probe with loss": gradflow.make_probe(cell, few, inputs=inputs, loss=loss),
    }
    state = train.init(params, keys[0])
    seconds: dict[str, list[float]] = {name: [] for name in ("step", *probes)}
    for _ in range(ROUNDS + 1):
        begin = time.perf_counter()
        state, record = train.update(state, batch)
        jax.block_until_ready(record)
        seconds["step"].append(time.perf_counter() - begin)
        for name, probe in probes.items():
            begin = time.perf_counter()
            probe(state.params)
            seconds[name].append(time.perf_counter() - begin)
    # The first round compiled.
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    ratios = [f"{name} {medians[name] / medians['step']:.2f} steps" for name in probes]
    print(f"{cell!r}: step {1e3 * medians['step']:.0f} ms, {', '.join(ratios)}", flush=True)


if __name__ == "__main__":
    app.run(main)
