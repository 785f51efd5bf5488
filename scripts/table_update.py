"""What a training step costs where tables are updated as a whole, and by the row.

    python scripts/table_update.py

First tables alone, under a loss that is little more than a look-up; then whole steps of the
sentiment experiment on made-up reviews, whose words have the frequencies of Zipf's law. The two
kinds of step take turns on the same batches, each trains from the same start, and their parameters
are compared before their times. On a machine at work the ratio is steadier than the milliseconds.
"""

import dataclasses
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `experiments`

from experiments.imdb.config import PRESETS, Config
from experiments.imdb.model import lazy_reads, make_loss, model_functions
from experiments.optimizer import make_lazy_tables, make_optimizer
from seqjax import train
from seqjax.data._batching import Batch
from seqjax.nn._embedding import pair_buckets
from seqjax.train._step import Loss
from seqjax.train._tables import rows_pay

ROUNDS, NUM_STEPS = 11, 1000
# Rows, features, reads of a batch.
TABLES = [
    (10_000, 128, 6_400),
    (20_000, 128, 6_400),
    (32_000, 128, 6_400),
    (64_000, 128, 6_400),
    (200_000, 128, 6_400),
    (65_536, 32, 38_400),
    (200_000, 32, 38_400),
]
# Name, settings, words.
STEPS = [
    ("keras", PRESETS["keras"], 10_000),
    ("keras", PRESETS["keras"], 200_000),
    ("best", PRESETS["best"], 20_000),
    ("best", dataclasses.replace(PRESETS["best"], pair_buckets=2**18), 200_000),
]


def main(_) -> None:
    """Prints a line for each table, then for each step."""
    train.use_all_cores()
    print(f"{jax.device_count()} x {jax.devices()[0].device_kind}", flush=True)
    for rows, features, reads in TABLES:
        table(rows, features, reads)
    for name, config, words in STEPS:
        step(name, config, words)


def table(rows: int, features: int, reads: int) -> None:
    """Compares updates of one table."""

    def loss(params: Any, key: jax.Array, batch: Any):
        vectors = params["table"].take(batch["tokens"], axis=0, mode="clip")
        return jnp.sum(jnp.sin(vectors) * batch["signs"]), {"weight": jnp.ones(())}

    rng = np.random.default_rng(0)
    batches = []
    for _ in range(ROUNDS):
        signs = rng.choice([-1.0, 1.0], (reads, features)).astype(np.float32)
        batches.append({"tokens": zipf(rng, rows, (reads,)), "signs": signs})
    params = {"table": jax.random.normal(jax.random.key(0), (rows, features))}
    lazy = {"table": lambda batch: batch["tokens"]}
    compare(
        f"table {rows:,} x {features}, {reads:,} reads, rows_pay {rows_pay(rows, reads)!s:5}",
        PRESETS["best"], loss, params, batches, lazy,
    )  # fmt: skip


def step(name: str, config: Config, words: int) -> None:
    """Compares whole steps of the sentiment experiment."""
    shape = (config.batch_size, config.max_length)
    rng = np.random.default_rng(0)
    batches = [
        Batch(
            tokens=zipf(rng, words, shape),
            lengths=np.full(shape[0], shape[1], np.int32),
            labels=rng.integers(0, 2, shape[0]).astype(np.int32),
            weights=np.ones(shape[0], np.float32),
            offsets=np.zeros(shape[0], np.float32),
        )
        for _ in range(ROUNDS)
    ]
    functions = model_functions(config, words)
    chosen = lazy_reads(config, words, shape[0] * shape[1])
    everything = {"embedding/table/value": lambda batch: batch.tokens}
    if config.pair_size:
        everything["embedding/pair_table/value"] = lambda batch: pair_buckets(
            batch.tokens, config.pair_buckets
        )
    compare(
        f"step {name}, {words:,} words, {config.pair_size and config.pair_buckets:,} pairs, "
        f"chosen {len(chosen)} of {len(everything)}",
        config, make_loss(functions, config.soft_labels), functions.init(jax.random.key(0)),
        batches, chosen or everything,
    )  # fmt: skip


def compare(
    name: str,
    config: Config,
    loss: Loss,
    params: Any,
    batches: list[Any],
    reads: dict[str, Callable[[Any], jax.Array]],
) -> None:
    """Prints median milliseconds of both kinds of step, and how far apart their results are."""
    mesh = train.data_mesh()
    steps = {
        kind: train.make_train_step(
            loss,
            make_optimizer(config, NUM_STEPS),
            ema_decay=config.ema_decay or None,
            mesh=mesh,
            tables=make_lazy_tables(config, NUM_STEPS, rows),
        )
        for kind, rows in (("whole", {}), ("by the row", reads))
    }
    states = {kind: step.init(params, jax.random.key(1)) for kind, step in steps.items()}
    seconds: dict[str, list[float]] = {kind: [] for kind in steps}
    for batch in batches:
        on_devices = jax.block_until_ready(train.shard(mesh, batch))
        for kind, step in steps.items():
            begin = time.perf_counter()
            states[kind], _ = jax.block_until_ready(step.update(states[kind], on_devices))
            seconds[kind].append(time.perf_counter() - begin)
    one, other = (steps[kind].settle(state).params for kind, state in states.items())
    apart, moved = (
        float(optax.tree.norm(jax.tree.map(jnp.subtract, one, there))) for there in (other, params)
    )
    # These are the first steps, where rows of small gradients catch up least exactly.
    if not apart < 1e-2 * moved:
        raise SystemExit(f"{name}: the results are {apart:.1e} apart after moving by {moved:.1e}")
    # The first round compiled.
    whole, rows = (1e3 * statistics.median(seconds[kind][1:]) for kind in steps)
    print(
        f"{name}: whole {whole:.1f} ms, by the row {rows:.1f} ms, {whole / rows:.2f} times as "
        f"fast; apart by {apart / moved:.0e} of the way",
        flush=True,
    )


def zipf(rng: np.random.Generator, rows: int, shape: tuple[int, ...]) -> np.ndarray:
    """Draws numbers of rows, the n-th as often as 1/n."""
    shares = 1 / np.arange(1, rows + 1)
    return rng.choice(rows, size=shape, p=shares / shares.sum()).astype(np.int32)


if __name__ == "__main__":
    app.run(main)
