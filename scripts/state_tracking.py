"""Trains cells to track a state, or to copy, on short sequences and tests them on longer ones.

    python scripts/state_tracking.py
    python scripts/state_tracking.py --table_only

Parity, the sum modulo 5 and the word problem of S3 ask for the product so far at every step; the
test asks for the last one. Selective copying asks for four symbols that stood among blanks.

Every cell is in the same network: two blocks, each `x + cell(norm(x))` and then `x + mlp(norm(x))`.
The seeds of a cell train together. Each finished cell and task is a line of `--rows`, and a second
call does only what is missing there. The table and the figure in docs/results.md show the lines
that are there.
"""

import json
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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `experiments`

import seqjax
from experiments import command_line
from experiments.command_line import ConfigError
from experiments.gradient_flow.canvas import COLORS, GREY, panels, save
from experiments.intervals import summarise
from seqjax import train

FLAGS = flags.FLAGS
DOCS = Path(__file__).resolve().parents[1] / "docs"
BEGIN, END = "<!-- table: state tracking -->\n", "<!-- end -->"
SETTINGS = ("seeds", "steps", "hidden_size", "layers", "batch_size", "learning_rate", "test_size")
TRAIN_LENGTH = 40
RANGES = ((20, 40), (41, 64), (65, 128), (129, 256))
SYMBOLS = 10  # of every task, so that one compiled program serves all
COPIED, ALPHABET, BLANK, SIGNAL = 4, 8, 8, 9
CELLS: dict[str, tuple[str, dict[str, Any]]] = {
    "elman": ("rnn", {}),
    "lstm": ("lstm", {}),
    "gru": ("gru", {}),
    "slstm": ("slstm", {}),
    "min_gru": ("min_gru", {}),
    "lru": ("lru", {}),
    "rg_lru": ("rg_lru", {}),
    "mamba2": ("mamba2", {"state_size": 8, "heads": 2}),
    "mlstm": ("mlstm", {"heads": 2}),
    "delta_net": ("delta_net", {"heads": 2}),
    "delta_net_negative": ("delta_net", {"heads": 2, "negative_eigenvalues": True}),
}


class Batch(NamedTuple):
    """Symbols and classes, (B, T), and where the classes are trained and tested, (B, T)."""

    tokens: Any
    targets: Any
    trained: Any
    tested: Any


class Task(NamedTuple):
    """A task: its title, `draw(rng, lengths, steps)`, shortest length and accuracy of guessing."""

    title: str
    draw: Callable[[np.random.Generator, np.ndarray, int], Batch]
    shortest: int
    chance: float


def group(title: str, product: np.ndarray) -> Task:
    """Makes the word problem of a group, whose element 0 is the identity."""
    order = len(product)

    def draw(rng: np.random.Generator, lengths: np.ndarray, steps: int) -> Batch:
        tokens = rng.integers(0, order, (len(lengths), steps))
        targets, state = np.empty_like(tokens), np.zeros(len(lengths), int)
        for step in range(steps):
            targets[:, step] = state = product[state, tokens[:, step]]
        places, ends = np.arange(steps), lengths[:, None]
        return Batch(tokens, targets, places < ends, places == ends - 1)

    return Task(title, draw, 3, 1 / order)


def cyclic(order: int) -> np.ndarray:
    """Returns the table of addition modulo `order`."""
    return np.add.outer(np.arange(order), np.arange(order)) % order


def symmetric() -> np.ndarray:
    """Returns the table of the six permutations of three things."""
    elements = [[0, 1, 2], [1, 0, 2], [0, 2, 1], [2, 1, 0], [1, 2, 0], [2, 0, 1]]
    return np.array([[elements.index([a[i] for i in b]) for b in elements] for a in elements])


def selective_copying(rng: np.random.Generator, lengths: np.ndarray, steps: int) -> Batch:
    """Draws four symbols among blanks, then four signals, at which they are asked for."""
    places, ends = np.arange(steps), lengths[:, None]
    start = ends - COPIED
    order = np.where(places < start, rng.random((len(lengths), steps)), 2.0)
    held = np.sort(order.argsort(axis=1)[:, :COPIED], axis=1)
    symbols = rng.integers(0, ALPHABET, held.shape)
    asked = (places >= start) & (places < ends)
    tokens = np.where(asked, SIGNAL, BLANK)
    np.put_along_axis(tokens, held, symbols, axis=1)
    targets = np.take_along_axis(symbols, np.clip(places - start, 0, COPIED - 1), axis=1)
    return Batch(tokens, targets, asked, asked)


TASKS = {
    "parity": group("parity", cyclic(2)),
    "sum_mod_5": group("sum modulo 5", cyclic(5)),
    "s3": group("word problem of S3", symmetric()),
    "copying": Task("selective copying", selective_copying, 2 * COPIED + 1, 1 / ALPHABET),
}


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_string("rows", "state_tracking.jsonl", "file with a line for each finished row")
    flags.DEFINE_list("cells", [*CELLS], f"cells to train, of {', '.join(CELLS)}")
    flags.DEFINE_list("tasks", [*TASKS], f"tasks to train them on, of {', '.join(TASKS)}")
    flags.DEFINE_boolean("table_only", False, "train nothing; write the page from --rows")
    flags.DEFINE_string("docs", str(DOCS), "folder of results.md and of figures; none if empty")
    flags.DEFINE_integer("seeds", 5, "seeds of each cell", lower_bound=2)
    flags.DEFINE_integer("steps", 1000, "updates", lower_bound=1)
    flags.DEFINE_integer("hidden_size", 32, "hidden units", lower_bound=4)
    flags.DEFINE_integer("layers", 2, "blocks", lower_bound=1)
    flags.DEFINE_integer("batch_size", 32, "sequences in a batch", lower_bound=1)
    flags.DEFINE_float("learning_rate", 3e-3, "peak learning rate of Adam", lower_bound=0.0)
    flags.DEFINE_integer("test_size", 256, "test sequences of each range and seed", lower_bound=1)


def body() -> None:
    """Trains what is missing, and writes the page."""
    train.use_all_cores()
    for name, known in (("cells", CELLS), ("tasks", TASKS)):
        if wrong := [each for each in getattr(FLAGS, name) if each not in known]:
            raise ConfigError(f"--{name} must be among {', '.join(known)}; got {wrong[0]!r}.")
    rows = read_rows()
    for name in [] if FLAGS.table_only else FLAGS.cells:
        missing = [task for task in FLAGS.tasks if (name, task) not in rows]
        if missing:
            constructor, options = CELLS[name]
            network = Network(seqjax.make_cell(constructor, FLAGS.hidden_size, **options))
            for task in missing:
                keep_row(name, task, network)
            jax.clear_caches()
    if FLAGS.docs:
        write_page(read_rows())


def settings() -> dict[str, Any]:
    """Returns what the numbers of a row depend on, beside its cell and task."""
    return {name: getattr(FLAGS, name) for name in SETTINGS}


def read_rows() -> dict[tuple[str, str], np.ndarray]:
    """Returns the accuracies of the finished rows, (S, R), by cell and task."""
    path, rows = Path(FLAGS.rows), {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        row = json.loads(line)
        if row["settings"] != settings():
            raise ConfigError(
                f"--rows={path} has rows of other settings, {row['settings']}; give the same flags "
                "or another file."
            )
        rows[row["cell"], row["task"]] = np.array(row["accuracies"])
    return rows


def keep_row(name: str, task: str, network: "Network") -> None:
    """Trains a cell on a task and appends a line to the rows."""
    start = time.perf_counter()
    accuracies, losses = train_and_test(network, TASKS[task])
    seconds = round(time.perf_counter() - start, 1)
    row = {"cell": name, "task": task, "accuracies": accuracies.tolist()}
    row |= {"losses": losses.tolist(), "seconds": seconds, "settings": settings()}
    with Path(FLAGS.rows).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(f"{name:18} {task:10}", *(f"{100 * value:6.1f}" for value in accuracies.mean(0)), seconds)
    sys.stdout.flush()


class Network:
    """The blocks around a cell; every function is for all seeds at once."""

    def __init__(self, cell: seqjax.cells.Cell):
        self.cell = cell
        # A scan over pairs of steps would multiply matrices where a cell's state is one.
        linear = isinstance(cell, seqjax.cells.LinearCell)
        self.executor = "associative" if linear else "sequential"
        schedule = optax.cosine_decay_schedule(FLAGS.learning_rate, FLAGS.steps)
        self.optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
        self.start = jax.jit(jax.vmap(self._start))
        self.update = jax.jit(jax.vmap(self._update), donate_argnums=0)
        self.test = jax.jit(lambda *given: jax.lax.map(lambda each: self._test(*each), given))

    def _start(self, seed: jax.Array) -> Any:
        units = FLAGS.hidden_size
        keys = iter(jax.random.split(jax.random.key(seed), 2 + 3 * FLAGS.layers))
        params = {
            "embedding": jax.random.normal(next(keys), (SYMBOLS, units)),
            "read_out": _dense(next(keys), units, SYMBOLS),
            "blocks": [
                {
                    "cell": self.cell.init(next(keys), units),
                    "up": _dense(next(keys), units, 2 * units),
                    "down": _dense(next(keys), 2 * units, units),
                }
                for _ in range(FLAGS.layers)
            ],
        }
        return params, self.optimizer.init(params)

    def _logits(self, params: Any, tokens: jax.Array) -> jax.Array:
        x = params["embedding"][tokens.T]
        for block in params["blocks"]:
            ys, _ = seqjax.unroll(self.cell, block["cell"], _norm(x), executor=self.executor)
            x += ys
            x += jax.nn.gelu(_norm(x) @ block["up"]) @ block["down"]
        return jnp.swapaxes(_norm(x) @ params["read_out"], 0, 1)

    def _update(self, state: Any, batch: Batch) -> tuple[Any, jax.Array]:
        def loss(params: Any) -> jax.Array:
            losses = optax.softmax_cross_entropy_with_integer_labels(
                self._logits(params, batch.tokens), batch.targets
            )
            return (losses * batch.trained).sum() / batch.trained.sum()

        params, optimizer_state = state
        value, gradient = jax.value_and_grad(loss)(params)
        updates, optimizer_state = self.optimizer.update(gradient, optimizer_state)
        return (optax.apply_updates(params, updates), optimizer_state), value

    def _test(self, params: Any, batch: Batch) -> jax.Array:
        right = self._logits(params, batch.tokens).argmax(-1) == batch.targets
        return (right * batch.tested).sum() / batch.tested.sum()


def _dense(key: jax.Array, in_size: int, out_size: int) -> jax.Array:
    return jax.random.normal(key, (in_size, out_size)) / np.sqrt(in_size)


def _norm(x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt((x**2).mean(-1, keepdims=True) + 1e-6)


def draw(task: Task, rng: np.random.Generator, size: int, least: int, most: int, steps: int) -> Any:
    """Draws a batch for every seed, (S, B, T), with lengths from `least` to `most`."""
    lengths = rng.integers(least, most + 1, FLAGS.seeds * size)
    batch = task.draw(rng, lengths, steps)
    return Batch(*(np.reshape(x, (FLAGS.seeds, size, steps)) for x in batch))


def train_and_test(network: Network, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Returns the accuracy of every seed in every range, (S, R), and the last losses, (S,)."""
    state, losses = network.start(np.arange(FLAGS.seeds)), np.zeros(FLAGS.seeds)
    rng = np.random.default_rng(0)
    for _ in range(FLAGS.steps):
        batch = draw(task, rng, FLAGS.batch_size, task.shortest, TRAIN_LENGTH, TRAIN_LENGTH)
        state, losses = network.update(state, batch)
    rng = np.random.default_rng(1)
    accuracies = [
        network.test(state[0], draw(task, rng, FLAGS.test_size, low, high, RANGES[-1][1]))
        for low, high in RANGES
    ]
    return np.stack(accuracies, axis=1), np.asarray(losses)


def write_page(rows: dict[tuple[str, str], np.ndarray]) -> None:
    """Replaces the tables in results.md, and the figure."""
    page = Path(FLAGS.docs) / "results.md"
    before, mark, rest = page.read_text("utf-8").partition(BEGIN)
    if not mark:
        raise ConfigError(f"--docs: {page} must have the line {BEGIN.strip()}, and has none.")
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{tables(rows)}\n\n{END}{after}", "utf-8")
    draw_figure(rows, Path(FLAGS.docs) / "figures" / "state_tracking.png")


def tables(rows: dict[tuple[str, str], np.ndarray]) -> str:
    """Returns one Markdown table a task: mean and 95 % interval, in per cent."""
    lines = []
    for name, task in TASKS.items():
        lines += [
            f"**{task.title[0].upper() + task.title[1:]}**",
            "",
            "| cell | " + " | ".join(f"{low} to {high}" for low, high in RANGES) + " |",
            "| --- |" + " ---: |" * len(RANGES),
        ]
        for cell in CELLS:
            if (cell, name) in rows:
                shown = (_interval(values) for values in rows[cell, name].T)
                lines.append(f"| `{cell}` | {' | '.join(shown)} |")
        lines += ["| chance |" + f" {100 * task.chance:.0f} |" * len(RANGES), ""]
    lines.append(
        f"Accuracy in per cent: the mean of {FLAGS.seeds} seeds, in brackets its 95 % interval; "
        f"{FLAGS.test_size} sequences a range and seed. {FLAGS.layers} blocks of "
        f"{FLAGS.hidden_size} units, {FLAGS.steps:,} updates of {FLAGS.batch_size} sequences. "
        f"Python {platform.python_version()}, JAX {jax.__version__}."
    )
    return "\n".join(lines)


def _interval(values: np.ndarray) -> str:
    summary = summarise(values.tolist(), bounds=(0.0, 1.0))
    low, high = (100 * float(bound) for bound in summary["ci95"])
    return f"{100 * summary['mean']:.0f} ({low:.0f} to {high:.0f})"


def draw_figure(rows: dict[tuple[str, str], np.ndarray], path: Path) -> None:
    """Draws accuracy at the trained and at the longest lengths, a panel a task."""
    figure, axes = panels(len(TASKS), columns=4, share_y="all")
    for axis, (name, task) in zip(axes, TASKS.items(), strict=True):
        axis.axvline(100 * task.chance, color=GREY, linestyle="--", linewidth=1, label="chance")
        for place, cell in enumerate(CELLS):
            if (cell, name) not in rows:
                continue
            for shift, color, values, (low, high) in (
                (-0.15, COLORS[0], rows[cell, name][:, 0], RANGES[0]),
                (0.15, COLORS[1], rows[cell, name][:, -1], RANGES[-1]),
            ):
                summary = summarise(values.tolist(), bounds=(0.0, 1.0))
                label = f"{low} to {high} steps" if place == 0 else None
                axis.hlines(place + shift, *(100 * x for x in summary["ci95"]), color=color)
                axis.plot(100 * summary["mean"], place + shift, "o", color=color, ms=5, label=label)
        axis.set_title(task.title, fontsize=9)
        axis.set_xlim(-2, 102)
        axis.set_xlabel("accuracy, %", fontsize=8)
        axis.set_yticks(range(len(CELLS)), [name.replace("_neg", "\nneg") for name in CELLS])
    axes[0].invert_yaxis()  # which all panels share
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    save(figure, path)


if __name__ == "__main__":
    command_line.run_program(define, body)
