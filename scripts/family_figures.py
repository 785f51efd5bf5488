"""Draws how long each cell of the library remembers an impulse, one figure a family.

    python scripts/family_figures.py

A cell as it is at initialisation reads one random input and then zeros. Drawn is the distance of
its state from that of the same cell that reads zeros only, relative to the distance after the
impulse: the median over 32 impulses. The figures are in docs/cells.md.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `experiments`

import seqjax
from experiments import command_line
from experiments.gradient_flow import canvas
from seqjax import train

FLAGS = flags.FLAGS
FIGURES = Path(__file__).resolve().parents[1] / "docs" / "figures"
SIZE, IN_SIZE, BATCH, STEPS = 32, 8, 32, 200
SMALLEST = 1e-6  # of the axis
FAMILIES = {
    "gated": (
        "Nonlinear and gated cells",
        ("rnn", "lstm", "gru", "slstm", "leaky_rnn", "antisymmetric_rnn", "co_rnn", "unicornn",
         "lem", "fast_grnn", "cfc", "ltc"),
    ),
    "linear": (
        "Linear cells with a vector for a state",
        ("min_gru", "min_lstm", "qrnn", "lru", "rg_lru", "s5"),
    ),
    "matrix": (
        "Cells with a matrix for a state",
        ("s6", "mamba2", "gla", "mlstm", "delta_net", "gated_delta_net"),
    ),
}  # fmt: skip


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_string("folder", str(FIGURES), "folder of the figures")


def body() -> None:
    """Draws every family."""
    train.use_all_cores()
    for family, (title, names) in FAMILIES.items():
        figure, (axis,) = canvas.panels(1, columns=1)
        figure.set_size_inches(7, 3.6)
        for number, (color, name) in enumerate(canvas.colored(names)):
            style = "-" if number < len(canvas.COLORS) else "--"
            distances = np.maximum(response(name), SMALLEST / 10)
            axis.plot(np.arange(STEPS), distances, style, color=color, linewidth=1.5, label=name)
        axis.set_xscale("symlog", linthresh=1)
        axis.set_yscale("log")
        axis.set_ylim(SMALLEST, 10)
        axis.set_xlim(0, STEPS - 1)
        canvas.name(axis, f"{title}: an impulse at initialisation", "lag, steps", "distance left")
        canvas.legend(axis, loc="center left", bbox_to_anchor=(1.0, 0.5))
        path = Path(FLAGS.folder) / f"cells_{family}.png"
        canvas.save(figure, path)
        print(path, flush=True)


def response(name: str) -> np.ndarray:
    """Returns how much of an impulse is left in the state at every lag, (STEPS,)."""
    cell = seqjax.make_cell(name, SIZE)

    @jax.jit
    def distances() -> jax.Array:
        params = cell.init(jax.random.key(0), IN_SIZE)
        impulse = jax.random.normal(jax.random.key(1), (BATCH, IN_SIZE))
        zeros = jnp.zeros_like(impulse)

        def step(states, x):
            after = [
                seqjax.step(cell, params, each, state)[1]
                for each, state in zip((x, zeros), states, strict=True)
            ]
            return after, _distance(*after)

        start = [cell.initial_state(params, (BATCH,), jnp.float32)] * 2
        xs = jnp.zeros((STEPS, BATCH, IN_SIZE)).at[0].set(impulse)
        return jax.lax.scan(step, start, xs)[1]

    found = np.asarray(distances())
    return np.median(found / found[0], axis=1)


def _distance(one, other) -> jax.Array:
    """Returns the distance of two states, (B,)."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    squares = [
        (jnp.abs(a - b) ** 2).reshape(BATCH, -1).sum(-1) for a, b in pairs if a.dtype != bool
    ]
    return jnp.sqrt(sum(squares))


if __name__ == "__main__":
    command_line.run_program(define, body)
