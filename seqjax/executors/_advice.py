"""`newton_report` and `advise`: what Newton's method does to a cell, and whether it can pay."""

import dataclasses
import functools
import math
import timeit
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from seqjax._checks import check_kind
from seqjax.cells._cell import Cell, check_cell
from seqjax.executors._associative import Associative
from seqjax.executors._choice import resolve
from seqjax.executors._executor import Executor, Run
from seqjax.executors._newton import Newton
from seqjax.executors._newton_solve import NewtonReport
from seqjax.executors._sequential import Sequential


@dataclasses.dataclass(frozen=True)
class _Reporting:
    """Runs only the iteration, and returns its report in place of the final state."""

    newton: Newton

    def refusal(self, cell: Cell) -> str | None:
        return self.newton.refusal(cell)

    def run(self, run: Run) -> tuple[Any, Any]:
        states, report = self.newton.solve(run)
        return report, states


def newton_report(
    cell: Cell, params: Any, xs: ArrayLike, *, executor: Newton | None = None, **options: Any
) -> NewtonReport:
    """Returns how Newton's method converges on each sequence, without the sequential run.

    Args:
      cell: a cell that `Newton` accepts.
      params: the parameters that `cell.init` returns.
      xs: inputs, shape (T, *B, D), with at least one step.
      executor: the `Newton` to ask; by default `Newton()`.
      **options: further keyword arguments of `seqjax.unroll`, such as `lengths`.

    Returns:
      The report. Its `fallback` says which sequences `unroll` would run step by step.

    Raises:
      ValueError: in the cases of `seqjax.unroll`, and if there is no step.
      TypeError: in the cases of `seqjax.unroll`, and if `executor` is not a `Newton`.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.gru(4)
      >>> params, xs = cell.init(jax.random.key(0), 3), jnp.ones((12, 2, 3))
      >>> report = jax.jit(newton_report, static_argnums=0)(cell, params, xs)
      >>> report.iterations.shape, bool(report.fallback.any())
      ((2,), False)
    """
    from seqjax._unroll import unroll  # which imports this package

    where = "seqjax.executors.newton_report"
    check_cell(where, cell)
    newton = Newton() if executor is None else executor
    check_kind(where, "executor", newton, Newton, "a seqjax.executors.Newton()")
    resolve(where, newton, cell)
    if not jnp.shape(xs) or not jnp.shape(xs)[0]:
        raise ValueError(f"{where}: `xs` must have at least one step, got shape {jnp.shape(xs)}.")
    return unroll(cell, params, xs, executor=_Reporting(newton), **options)[1]


def advise(cell: Cell, params: Any, xs: ArrayLike, *, executor: Newton | None = None) -> str:
    """Returns a table of the executors for a cell and its inputs, and whether `Newton` can pay.

    Compiles and runs the forward pass on this device. Every number says where it is from:
    *measured* on these inputs, *compiled* (read from the compiled program) or *counted*. Only the
    last line is a prediction.

    Args:
      cell: any cell.
      params: the parameters that `cell.init` returns.
      xs: inputs, shape (T, *B, D): as many steps and sequences as you intend to run.
      executor: the `Newton` to consider; by default `Newton()`.

    Returns:
      The table as text.

    Raises:
      ValueError: in the cases of `seqjax.unroll`, and if there is no step.
      TypeError: in the cases of `seqjax.unroll`, and if `executor` is not a `Newton`.

    Example:
      >>> import jax, seqjax
      >>> cell, key = seqjax.gru(4), jax.random.key(0)
      >>> params, xs = cell.init(key, 3), jax.random.normal(key, (64, 2, 3))
      >>> print(advise(cell, params, xs).splitlines()[0])
      gru(4): 64 steps of 2 sequences, forward pass on cpu
    """
    from tabulate import tabulate

    from seqjax import gradflow  # which runs cells by `unroll`
    from seqjax._unroll import unroll

    where = "seqjax.executors.advise"
    check_cell(where, cell)
    newton = Newton() if executor is None else executor
    check_kind(where, "executor", newton, Newton, "a seqjax.executors.Newton()")
    xs = jnp.asarray(xs)
    exponents = jax.jit(
        functools.partial(
            gradflow.lyapunov_exponents, cell, transient=xs.shape[0] // 10, num_exponents=1
        )
    )(params, xs)
    num_steps, num_sequences = xs.shape[0], math.prod(xs.shape[1:-1])
    depth = 2 * math.ceil(math.log2(num_steps)) + 1
    in_a_row = {"sequential": num_steps, "associative": depth}
    rows, refusals, times = [], [], {}
    report: NewtonReport | None = None
    candidates: dict[str, Executor] = {
        "sequential": Sequential(),
        "associative": Associative(),
        "newton": newton,
    }
    for name, chosen in candidates.items():
        if reason := chosen.refusal(cell):
            rows.append((name, "refused"))
            refusals.append(f"{name} refused: {reason}")
            continue
        if name == "newton":
            ask = functools.partial(newton_report, cell, executor=newton)
            found = report = jax.device_get(jax.jit(ask)(params, xs))
            in_a_row[name] = depth * int(found.iterations.max())

        def run(params: Any, xs: Any, chosen: Executor = chosen) -> Any:
            return unroll(cell, params, xs, executor=chosen)[0]

        compiled = jax.jit(run).lower(params, xs).compile()
        times[name] = _seconds(compiled, params, xs)
        milliseconds = f"{1e3 * times[name]:.3g} ms"
        rows.append((name, f"{in_a_row[name]:,}", _memory(compiled), milliseconds))
    lines = [
        f"{cell!r}: {num_steps:,} steps of {num_sequences:,} sequences, forward pass on "
        f"{jax.default_backend()}",
        f"largest Lyapunov exponent, measured: {float(exponents.max()):+.3f} per step",
    ]
    if report is not None:
        lines.append(
            f"Newton iterations, measured: {report.iterations.max()} of at most "
            f"{newton.max_iterations}; {report.fallback.sum()} of {num_sequences:,} sequences fell "
            "back to the sequential run"
        )
    headers = ("executor", "steps in a row, counted", "memory, compiled", "time, measured")
    lines += [tabulate(rows, headers, disable_numparse=True), *refusals]
    prediction = "cannot pay, it does not run this cell"
    if report is not None:
        prediction = _prediction(report, times, in_a_row)
    return "\n".join([*lines, f"Newton, predicted: {prediction}"])


def _prediction(report: NewtonReport, times: dict[str, float], in_a_row: dict[str, int]) -> str:
    """Returns whether Newton's method can pay, and the reason."""
    if report.fallback.any():
        return "cannot pay, sequences fell back"
    if times["newton"] < times["sequential"]:
        return "pays on this device at these sizes"
    fewer = in_a_row["sequential"] / in_a_row["newton"]
    if fewer <= 1:
        return "cannot pay at this length, it has no fewer steps in a row"
    return (
        "does not pay on this device; it may on one with many cores, with "
        f"{fewer:.1f} times fewer steps in a row"
    )


def _seconds(compiled: Any, *arguments: Any) -> float:
    """Returns the shortest time of five calls."""
    return min(
        timeit.repeat(lambda: jax.block_until_ready(compiled(*arguments)), number=1, repeat=5)
    )


def _memory(compiled: Any) -> str:
    """Returns the bytes of temporaries and results of a compiled program."""
    found = compiled.memory_analysis()
    if found is None:
        return "unknown"
    return f"{(found.temp_size_in_bytes + found.output_size_in_bytes) / 2**20:.2f} MiB"
