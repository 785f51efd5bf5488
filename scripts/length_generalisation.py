"""Trains cells on the parity of short sequences and tests them on lengths they never saw.

    python scripts/length_generalisation.py

The parity of the bits so far is asked for at every step of sequences of 3 to 40 bits; the test asks
for the parity of whole sequences that are longer. Writes the table in docs/results.md.
"""

import platform
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `experiments`

import seqjax
from experiments import command_line
from seqjax import data, train
from seqjax.data._parity import PARITY_CHANCE

FLAGS = flags.FLAGS
PAGE = Path(__file__).resolve().parents[1] / "docs" / "results.md"
BEGIN, END = "<!-- table: parity -->\n", "<!-- end -->"
CELLS = {"rnn": "vanilla RNN", "lstm": "LSTM", "gru": "GRU", "min_gru": "minGRU"}
TEST_LENGTHS = ((3, 40), (41, 64), (65, 128), (129, 256), (257, 1000))


class Params(NamedTuple):
    """A cell with a read-out of one number."""

    cell: Any
    kernel: jax.Array
    bias: jax.Array


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_integer("seeds", 5, "seeds of each cell", lower_bound=1)
    flags.DEFINE_integer("steps", 2000, "updates", lower_bound=1)
    flags.DEFINE_integer("hidden_size", 32, "hidden units", lower_bound=1)
    flags.DEFINE_integer("batch_size", 64, "sequences in a batch", lower_bound=1)
    flags.DEFINE_float("learning_rate", 3e-3, "peak learning rate of Adam", lower_bound=0.0)
    flags.DEFINE_integer("test_size", 1000, "test sequences of each range", lower_bound=1)


def body() -> None:
    """Trains and tests every cell, and writes the table."""
    rows = []
    for name, title in CELLS.items():
        accuracies = np.array([one_seed(name, seed) for seed in range(FLAGS.seeds)])
        rows.append((title, accuracies))
        print(f"{title:12}", *(f"{100 * value:7.2f}" for value in accuracies.mean(0)), flush=True)
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table(rows)}\n\n{END}{after}", "utf-8")


def one_seed(name: str, seed: int) -> list[float]:
    """Returns a trained cell's accuracy in each range of lengths."""
    cell = seqjax.make_cell(name, FLAGS.hidden_size)

    def logits(params: Params, batch: data.Sequences) -> jax.Array:
        xs = jnp.swapaxes(batch.inputs, 0, 1)
        ys, _ = seqjax.unroll(cell, params.cell, xs, lengths=batch.lengths)
        return jnp.swapaxes(ys @ params.kernel, 0, 1) + params.bias

    def loss(params: Params, key: jax.Array, batch: data.Sequences):
        del key  # nothing is random
        losses = optax.sigmoid_binary_cross_entropy(logits(params, batch), batch.targets)
        weight = batch.weights.sum()
        return (batch.weights * losses).sum() / weight, {"weight": weight}

    schedule = optax.cosine_decay_schedule(FLAGS.learning_rate, FLAGS.steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    step = train.make_train_step(loss, optimizer, mesh=train.data_mesh(1))
    cell_key, out_key, step_key = jax.random.split(jax.random.key(seed), 3)
    kernel = jax.random.normal(out_key, (FLAGS.hidden_size,)) / np.sqrt(FLAGS.hidden_size)
    state = step.init(Params(cell.init(cell_key, 2), kernel, jnp.zeros(())), step_key)
    rng = np.random.default_rng([seed, 0])
    for _ in range(FLAGS.steps):
        batch = data.parity(rng, FLAGS.batch_size, 40, min_length=3, every_step=True)
        state, _ = step.update(state, batch)

    predict = jax.jit(logits)
    rng = np.random.default_rng([seed, 1])
    accuracies = []
    for shortest, longest in TEST_LENGTHS:
        test = data.parity(rng, FLAGS.test_size, longest, min_length=shortest, every_step=True)
        last = np.arange(FLAGS.test_size), test.lengths - 1
        says = np.asarray(predict(state.params, test))[last] > 0
        accuracies.append(float(np.mean(says == (test.targets[last] > 0))))
    return accuracies


def table(rows: list[tuple[str, np.ndarray]]) -> str:
    """Returns the table in Markdown: mean and worst seed, in per cent."""
    lines = [
        "| cell | " + " | ".join(f"{low} to {high}" for low, high in TEST_LENGTHS) + " |",
        "| --- |" + " ---: |" * len(TEST_LENGTHS),
    ]
    for title, accuracies in rows:
        cells = (
            f"{100 * mean:.2f} ({100 * worst:.2f})"
            for mean, worst in zip(accuracies.mean(0), accuracies.min(0), strict=True)
        )
        lines.append(f"| {title} | {' | '.join(cells)} |")
    lines.append("| chance |" + f" {100 * PARITY_CHANCE:.2f} |" * len(TEST_LENGTHS))
    lines += [
        "",
        f"Accuracy in per cent, the mean of {FLAGS.seeds} seeds and in brackets the worst; "
        f"{FLAGS.test_size:,} sequences a range and seed. {FLAGS.hidden_size} units, "
        f"{FLAGS.steps:,} updates of {FLAGS.batch_size} sequences. "
        f"Python {platform.python_version()}, JAX {jax.__version__}.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    command_line.run_program(define, body)
