"""Runs `executors.Newton` on random cases, and looks for a result that is wrong and silent.

    python scripts/newton_cases.py --cases=10000

A case is one sequence: a cell, its parameters and their scale, a length, a mask and resets. Newton
runs it in float32 with the default tolerance. The case is *wrong and silent* if Newton does not
fall back, and a state is further from the sequential run in float64 than ten tolerances, relative
to `1 + |state|`. Scales reach from cells that forget at once to chaotic ones. A call runs a batch
of cases with the same parameters, so all cases of a cell share one program. The exit status is 1 if
a case is wrong and silent.
"""

import dataclasses
import os
import sys
from collections import Counter
from typing import Any, NamedTuple

# Before JAX starts: the programs run for less long than they compile.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from tabulate import tabulate

import seqjax
from seqjax.cells import CELLS, Cell
from seqjax.executors import Newton, NewtonReport, Scan

FLAGS = flags.FLAGS
BATCH, STEPS, IN, HIDDEN = 20, 64, 3, 8
TOLERANCE = 1e-5
SCALES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


class Variant(NamedTuple):
    """A cell, and how Newton runs it."""

    name: str
    cell: Cell
    newton: Newton
    reverse: bool


def variants() -> list[Variant]:
    """Returns every cell of the library that Newton accepts, with each Jacobian it has."""
    found = []
    for index, name in enumerate(CELLS):
        cell = seqjax.make_cell(name, HIDDEN)
        for jacobian in ("auto", "diagonal"):
            # Even with as many iterations as steps, which reach any run, exact or not.
            iterations = 16 if jacobian == "auto" else STEPS
            newton = Newton(tolerance=TOLERANCE, jacobian=jacobian, max_iterations=iterations)
            quasi = getattr(cell, "heads", 0) != 0  # without a product, the diagonal is all
            if newton.refusal(cell) is None and (quasi or jacobian == "auto"):
                found.append(Variant(f"{name} {jacobian}", cell, newton, bool(index % 2)))
    return found


def check(variant: Variant, calls: int, seed: int) -> Counter[str]:
    """Runs `calls` batches of cases and returns how many were what."""
    name, cell, newton, reverse = variant
    counts: Counter[str] = Counter()
    rng = np.random.default_rng(seed)
    options = {"reverse": reverse}

    reports: list[NewtonReport] = []
    reporting = dataclasses.replace(newton, report=reports.append)

    @jax.jit
    def run(params: Any, xs: Any, **masks: Any) -> Any:
        given = {"return_states": True, "executor": reporting, **options, **masks}
        return seqjax.unroll(cell, params, xs, **given)[2]

    @jax.jit
    def truth(params: Any, xs: Any, **masks: Any) -> Any:
        given = {"return_states": True, "executor": Scan(), **options, **masks}
        return seqjax.unroll(cell, params, xs, **given)[2]

    layout = jax.eval_shape(lambda key: cell.init(key, IN), jax.random.key(0))
    for call in range(calls):
        scale = SCALES[call % len(SCALES)] * HIDDEN**-0.5
        params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), layout)
        params = jax.tree.map(lambda leaf, by=scale: by * leaf, params)
        xs = rng.normal(size=(STEPS, BATCH, IN)) * rng.choice([0.1, 1.0, 3.0], BATCH)[:, None]
        masks = {
            "lengths": jnp.asarray(rng.integers(0, STEPS + 1, BATCH)),
            "mask": jnp.asarray(rng.random((STEPS, BATCH)) < rng.choice([0.7, 1.0], BATCH)),
            "resets": jnp.asarray(rng.random((STEPS, BATCH)) < rng.choice([0.0, 0.1], BATCH)),
        }
        # The same float32 numbers in both precisions.
        params, xs = jax.tree.map(np.float32, (params, xs))
        found = jax.device_get(run(params, xs, **masks))
        jax.effects_barrier()
        report = reports.pop()
        with jax.enable_x64(True):
            exact = jax.device_get(truth(*jax.tree.map(np.float64, (params, xs)), **masks))
        errors = np.zeros(BATCH)
        for got, wanted in zip(found, exact, strict=True):
            same = got == wanted  # infinity is no number to subtract
            with np.errstate(invalid="ignore"):
                error = np.where(same, 0, np.abs(got - wanted) / (1 + np.abs(wanted)))
            errors = np.maximum(errors, error.reshape(STEPS, BATCH, -1).max(axis=(0, 2)))
        # A NaN is wrong, too, unless the exact run has one.
        wrong = ~(errors <= 10 * TOLERANCE)
        counts["cases"] += BATCH
        counts["fell back"] += int(report.fallback.sum())
        counts["iterations"] += int(report.iterations[~report.fallback].sum())
        counts["wrong and silent"] += int((wrong & ~report.fallback).sum())
        for place in np.flatnonzero(wrong & ~report.fallback):
            print(
                f"{name}: scale {scale:.3g}, seed {seed}, call {call}, sequence {place}: error "
                f"{errors[place]:.2g}, reported {report.error[place]:.2g}",
                file=sys.stderr,
            )
    return counts


def main(_: list[str]) -> None:
    """Runs all cases and prints a table."""
    every = variants()
    calls = -(-FLAGS.cases // (BATCH * len(every)))
    rows, total = [], Counter()
    for seed, variant in enumerate(every):
        counts = check(variant, calls, FLAGS.seed + seed)
        total += counts
        rows.append((variant.name, *_row(counts)))
        print(f"{variant.name}: {counts['cases']} cases", file=sys.stderr)
    rows.append(("all", *_row(total)))
    headers = ("cell and Jacobian", "cases", "fell back", "iterations", "wrong and silent")
    print(tabulate(rows, headers))
    sys.exit(int(total["wrong and silent"] > 0))


def _row(counts: Counter[str]) -> tuple[Any, ...]:
    converged = counts["cases"] - counts["fell back"]
    mean = f"{counts['iterations'] / converged:.1f}" if converged else "-"
    return counts["cases"], counts["fell back"], mean, counts["wrong and silent"]


if __name__ == "__main__":
    flags.DEFINE_integer("cases", 10_000, "how many cases", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "seed of the first cell")
    app.run(main)
