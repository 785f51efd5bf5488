"""The whole family: how a gradient changes on its way back, for every cell of the library."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import seqjax
from experiments.gradient_flow import canvas
from experiments.gradient_flow.jobs import run_jobs
from experiments.gradient_flow.metrics import log_slopes
from experiments.intervals import summarise
from seqjax import data
from seqjax.cells import CELLS, AssociativeCell, LinearCell

SIZE = 16  # hidden units, and sequences of a seed
_LINEAR = 0.02  # the axis is linear up to here, and logarithmic beyond


def measure_family(
    length: int, seeds: Sequence[int], names: Sequence[str] = tuple(CELLS)
) -> dict[str, np.ndarray]:
    """Measures cells as they are by default, with 16 hidden units.

    The states of two cells cannot be compared, but their inputs can: this is the log-slope of
    `|dL/dx_t|` against the lag `T - t`, on the inputs of the adding problem. The loss is
    `sum_b v . y_T`, with a random vector `v` a seed.

    Args:
      length: steps, `T`, at least 2.
      seeds: the seeds.
      names: the cells.

    Returns:
      Name of a cell to one slope a seed, (S,).
    """
    drawn, directions = [], []
    for seed in seeds:
        rng = np.random.default_rng([seed, length])
        drawn.append(np.swapaxes(data.adding(rng, SIZE, length).inputs, 0, 1))
        directions.append(rng.standard_normal(SIZE).astype(np.float32))

    def slopes(name: str) -> np.ndarray:
        cell = seqjax.make_cell(name, SIZE)

        def norms(seed: Array, xs: Array, direction: Array) -> Array:
            params = cell.init(jax.random.fold_in(jax.random.key(seed), 0), xs.shape[-1])

            def loss(xs: Array) -> Array:
                ys, _ = seqjax.unroll(cell, params, xs)
                return (ys[-1] @ direction).sum()

            return jnp.linalg.norm(jax.grad(loss)(xs), axis=-1)

        found = jax.jit(jax.vmap(norms))(np.array(seeds), np.stack(drawn), np.stack(directions))
        return log_slopes(np.asarray(found))

    measured = run_jobs([lambda name=name: slopes(name) for name in names])
    return dict(zip(names, measured, strict=True))


def draw_family(slopes: Mapping[str, np.ndarray], length: int, path: Path) -> None:
    """Draws a row a cell, those whose gradient vanishes fastest at the bottom; a point a seed."""
    figure, (axis,) = canvas.panels(1, columns=1)
    figure.set_size_inches(7, 0.21 * len(slopes) + 1.3)
    names = sorted(slopes, key=lambda name: np.median(slopes[name]))
    forms = AssociativeCell | LinearCell
    linear = {name: isinstance(seqjax.make_cell(name, SIZE), forms) for name in names}
    for kind, color, label in (
        (False, canvas.COLORS[1], "not linear in the state"),
        (True, canvas.COLORS[0], "linear in the state"),
    ):
        places = [place for place, name in enumerate(names) if linear[name] == kind]
        values = np.array([slopes[names[place]] for place in places])
        axis.plot(
            values, np.repeat(np.array(places)[:, None], values.shape[1], axis=1),
            "o", color=color, markersize=3.5, alpha=0.6,
        )  # fmt: skip
        axis.plot([], [], "o", color=color, markersize=4, label=label)
    axis.axvline(0, color=canvas.INK, linewidth=0.7, linestyle=":")
    axis.set_xscale("symlog", linthresh=_LINEAR)
    axis.set_xticks([-1, -0.3, -0.1, -0.03, -0.01, 0, 0.01], minor=False)
    axis.xaxis.set_major_formatter("{x:g}")
    largest = max(float(np.max(values)) for values in slopes.values())
    axis.set_xlim(right=max(_LINEAR, 1.3 * largest))
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(-0.7, len(names) - 0.3)
    axis.tick_params(axis="y", colors=canvas.INK)
    canvas.name(
        axis, f"Gradient of the input at initialisation, T = {length}: a point a seed",
        "log-slope of |dL/dx| a step back: below 0 it vanishes, above 0 it explodes",
    )  # fmt: skip
    canvas.legend(axis, loc="upper left")
    canvas.save(figure, path)


def family_metrics(slopes: Mapping[str, np.ndarray], length: int) -> dict[str, Any]:
    """Returns the slopes as `result.json` holds them, by `log_slope_input/CELL/T`."""
    return {
        f"log_slope_input/{name}/{length}": summarise(values.tolist())
        for name, values in slopes.items()
    }
