"""Trains small networks on the adding and the copying problem by every online method.

    python scripts/online_tasks.py

All seeds of a network train side by side. The gradient of each batch is computed forwards in time
by a method of `seqjax.online`, or by back-propagation (bptt) for comparison; then the parameters
are updated once. Prints a table in Markdown: test loss as a part of chance, and how many seeds
learnt.
"""

import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags
from jax import Array, lax

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `experiments`

import seqjax
from experiments import command_line
from seqjax import data, online, train
from seqjax.data._adding import ADDING_CHANCE

FLAGS = flags.FLAGS
ROWS = (
    *(("gru", method) for method in ("bptt", "rtrl", "snap1", "uoro", "eprop")),
    *(("min_gru", method) for method in ("bptt", "rtrl", "uoro")),
    *(("leaky_rnn", method) for method in ("bptt", "rtrl", "snap1", "uoro", "eprop", "rflo")),
)
SYMBOLS, MEMORY = 4, 2  # of the copying problem: which symbols there are, and how many are copied
LEARNT = 0.25  # of chance
CHUNK = 50  # updates in one call


class Task(NamedTuple):
    """A task without end: `draw(rng, number)` returns inputs (B, T, D) and targets."""

    name: str
    draw: Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]
    loss: Callable[[Array, Array], Array]
    in_size: int
    out_size: int
    chance: float


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_integer("seeds", 3, "seeds of each network", lower_bound=1)
    flags.DEFINE_integer("updates", 1000, f"updates, a multiple of {CHUNK}", lower_bound=CHUNK)
    flags.DEFINE_integer("hidden_size", 16, "hidden units", lower_bound=1)
    flags.DEFINE_integer("batch_size", 32, "sequences in a batch", lower_bound=1)
    flags.DEFINE_float("learning_rate", 1e-2, "of Adam", lower_bound=0.0)
    flags.DEFINE_integer("adding_length", 15, "steps of the adding problem", lower_bound=2)
    flags.DEFINE_integer("copying_delay", 5, "blank steps of the copying problem", lower_bound=1)
    flags.DEFINE_integer("test_size", 1000, "test sequences", lower_bound=1)
    flags.DEFINE_list("methods", [], "only these methods; all by default")


def body() -> None:
    """Trains every network on both tasks and prints the table."""
    train.use_all_cores()
    if unknown := {*FLAGS.methods} - {method for _, method in ROWS}:
        raise command_line.ConfigError(f"--methods: unknown {', '.join(sorted(unknown))}.")
    if FLAGS.updates % CHUNK:
        raise command_line.ConfigError(f"--updates must be a multiple of {CHUNK}.")
    rows = [row for row in ROWS if not FLAGS.methods or row[1] in FLAGS.methods]
    tasks, start = (adding(), copying()), time.perf_counter()
    print("| network | gradient | " + " | ".join(task.name for task in tasks) + " |")
    print("| --- | --- |" + " --- |" * len(tasks), flush=True)
    for cell, method in rows:
        cells = (entry(task, train_seeds(task, cell, method)) for task in tasks)
        print(f"| {cell} | {method} | {' | '.join(cells)} |", flush=True)
    print(
        f"\nTest loss as a part of chance, the mean over {FLAGS.seeds} seeds, and how many are "
        f"below {LEARNT:g}. Adding of {FLAGS.adding_length} steps; copying of {MEMORY} of "
        f"{SYMBOLS} symbols over {FLAGS.copying_delay} blanks. {FLAGS.hidden_size} units, "
        f"{FLAGS.updates:,} updates of {FLAGS.batch_size} sequences, Adam at "
        f"{FLAGS.learning_rate:g}. All numbers are ours; {time.perf_counter() - start:.0f} s on "
        f"{platform.machine()}, Python {platform.python_version()}, JAX {jax.__version__}."
    )


def entry(task: Task, losses: np.ndarray) -> str:
    """Returns a cell of the table."""
    part = losses / task.chance
    return f"{part.mean():.2f}, {(part < LEARNT).sum()} of {len(part)} learnt"


def adding() -> Task:
    """The adding problem; only the last answer counts."""

    def draw(rng: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
        drawn = data.adding(rng, number, FLAGS.adding_length)
        return drawn.inputs, drawn.targets

    def loss(answers: Array, targets: Array) -> Array:
        return ((answers[-1] - targets) ** 2).mean()

    return Task("adding", draw, loss, 2, 1, ADDING_CHANCE)


def copying() -> Task:
    """A short copying problem; the symbols are followed by blanks, a signal and blanks."""
    blank, signal = SYMBOLS, SYMBOLS + 1
    steps = 2 * MEMORY + FLAGS.copying_delay

    def draw(rng: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
        tokens, targets = np.full((2, number, steps), blank)
        tokens[:, :MEMORY] = targets[:, -MEMORY:] = rng.integers(SYMBOLS, size=(number, MEMORY))
        tokens[:, -MEMORY - 1] = signal
        return np.eye(signal + 1, dtype=np.float32)[tokens], targets

    def loss(answers: Array, targets: Array) -> Array:
        losses = optax.softmax_cross_entropy_with_integer_labels
        return losses(answers, jnp.swapaxes(targets, 0, 1)).mean()

    return Task("copying", draw, loss, signal + 1, blank + 1, MEMORY * np.log(SYMBOLS) / steps)


def train_seeds(task: Task, name: str, method: str) -> np.ndarray:
    """Returns the test loss of every seed after training."""
    cell = seqjax.make_cell(name, FLAGS.hidden_size)
    executor = None if method == "bptt" else online.METHODS[method]()
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(FLAGS.learning_rate))
    draw_kernel = jax.nn.initializers.lecun_normal()

    def init(key: Array) -> dict[str, Any]:
        keys, shape = jax.random.split(key, 3), (FLAGS.hidden_size, task.out_size)
        return {
            "cell": cell.init(keys[0], task.in_size),
            "kernel": draw_kernel(keys[1], shape),
            "bias": jnp.zeros(task.out_size),
            "feedback": draw_kernel(keys[2], shape),
        }

    def loss(params: Any, key: Array, inputs: Array, targets: Array) -> Array:
        own = key if executor is not None and executor.needs_key else None
        xs = jnp.swapaxes(inputs, 0, 1)
        ys, _ = seqjax.unroll(cell, params["cell"], xs, executor=executor, key=own)
        if method == "rflo":
            answers = online.feedback_alignment(ys, params["kernel"], params["feedback"])
        else:
            answers = ys @ params["kernel"]
        answers = answers + jnp.broadcast_to(params["bias"], answers.shape)
        return task.loss(answers, targets)

    def update(state: Any, batch: Any) -> Any:
        params, memory, key = state
        key, own = jax.random.split(key)
        gradient = jax.grad(loss)(params, own, *batch)
        steps, memory = optimizer.update(gradient, memory, params)
        return (optax.apply_updates(params, steps), memory, key), None

    @jax.jit
    def chunk(states: Any, batches: Any) -> Any:
        return jax.vmap(lambda state, batches: lax.scan(update, state, batches)[0])(states, batches)

    keys = jnp.stack([jax.random.key(seed) for seed in range(FLAGS.seeds)])
    params = jax.vmap(init)(keys)
    states = params, jax.vmap(optimizer.init)(params), keys
    generators = [np.random.default_rng([seed, 1]) for seed in range(FLAGS.seeds)]
    size = FLAGS.batch_size
    for _ in range(FLAGS.updates // CHUNK):
        drawn = [task.draw(rng, CHUNK * size) for rng in generators]
        batches = tuple(
            np.stack([each.reshape(CHUNK, size, *each.shape[1:]) for each in part])
            for part in zip(*drawn, strict=True)
        )
        states = chunk(states, batches)
    test = task.draw(np.random.default_rng([2]), FLAGS.test_size)
    evaluate = jax.jit(jax.vmap(loss, in_axes=(0, None, None, None)))
    return np.asarray(evaluate(states[0], keys[0], *test))


if __name__ == "__main__":
    command_line.run_program(define, body)
