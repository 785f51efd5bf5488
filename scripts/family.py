"""Times a training step of every cell of the library beside that of the LSTM.

    python scripts/family.py
    python scripts/family.py --cells=slstm,lru --shape=200x64x128x128 --rounds=9
    python scripts/family.py --table=docs/cells.md

A step is the gradient of all weights and of the input, in float32, by the executor that `unroll`
chooses. The LSTM is timed in every round, before and after each cell, and a cell's time is divided
by the mean of the two. `arithmetic` is the same quotient of operations counted in the traced
program: two for each multiplication and addition of a product, one for each element of any other
operation and ten for exp, tanh and the like. `time / arithmetic` above 1.5 marks a cell that is
slower than its arithmetic says.
"""

import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import tabulate
from absl import app, flags
from jax.extend.core import ClosedJaxpr, Jaxpr

import seqjax
from seqjax import train

FLAGS = flags.FLAGS
flags.DEFINE_list("cells", None, "names of cells; default: all of the library")
flags.DEFINE_string("shape", "100x32x128x128", "steps x batch x inputs x hidden units")
flags.DEFINE_integer("rounds", 5, "calls of each cell", lower_bound=1)
flags.DEFINE_string("json", None, "file for the rows")
flags.DEFINE_string("table", None, "page whose text between its marks of the family is replaced")

DEAR = {"exp", "exp2", "log", "log1p", "expm1", "tanh", "logistic", "sin", "cos", "pow", "sqrt"}
DEAR |= {"rsqrt", "erf", "div"}
FREE = {"reshape", "broadcast_in_dim", "squeeze", "transpose", "convert_element_type", "slice"}
FREE |= {"dynamic_slice", "dynamic_update_slice", "concatenate", "pad", "copy", "stop_gradient"}
FREE |= {"optimization_barrier", "iota", "rev", "gather", "split"}
MARKS = "<!-- family: begin -->", "<!-- family: end -->"


def operations(jaxpr: Jaxpr) -> float:
    """Returns how many operations a traced program does."""
    total = 0.0
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        inner = [each for value in equation.params.values() for each in _programs(value)]
        if inner:
            times = equation.params.get("length", 1) if name == "scan" else 1
            total += times * sum(operations(each) for each in inner)
        elif name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = _shape(equation.invars[0])
            products = math.prod(left[axis] for axis in contracted)
            total += 2 * math.prod(_shape(equation.outvars[0])) * products
        elif name not in FREE:
            size = max(math.prod(_shape(each)) for each in (*equation.outvars, *equation.invars))
            total += size * (10 if name in DEAR else 1)
    return total


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape


def _programs(value: Any) -> list[Jaxpr]:
    if isinstance(value, ClosedJaxpr):
        return [value.jaxpr]
    if isinstance(value, Jaxpr):
        return [value]
    if isinstance(value, tuple | list):
        return [each for item in value for each in _programs(item)]
    return []


def step_of(name: str, shape: tuple[int, ...]) -> tuple[Callable[[], Any], float]:
    """Returns a compiled training step as a function without arguments, and its operations."""
    steps, batch, in_size, hidden_size = shape
    cell = seqjax.make_cell(name, hidden_size)
    params = cell.init(jax.random.key(0), in_size)
    xs = jax.random.normal(jax.random.key(1), (steps, batch, in_size))

    def loss(params: Any, xs: jax.Array) -> jax.Array:
        ys, _ = seqjax.unroll(cell, params, xs)
        return (ys**2).mean()

    gradient = jax.grad(loss, (0, 1))
    counted = operations(jax.make_jaxpr(gradient)(params, xs).jaxpr)
    compiled = jax.jit(gradient).lower(params, xs).compile()

    def call() -> Any:
        return jax.block_until_ready(compiled(params, xs))

    call()
    return call, counted


def seconds(call: Callable[[], Any]) -> float:
    """Returns how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(name: str, shape: tuple[int, ...], lstm: tuple[Callable[[], Any], float]) -> Any:
    """Returns a row of the table."""
    call, counted = step_of(name, shape)
    ratios, times = [], []
    for _ in range(FLAGS.rounds):
        before, own, after = seconds(lstm[0]), seconds(call), seconds(lstm[0])
        ratios.append(2 * own / (before + after))
        times.append(own)
    ratio, arithmetic = statistics.median(ratios), counted / lstm[1]
    executor = type(seqjax.executors.choose(seqjax.make_cell(name, 8))).__name__
    return {
        "cell": name,
        "executor": executor,
        "milliseconds": 1e3 * statistics.median(times),
        "time": ratio,
        "arithmetic": arithmetic,
        "quotient": ratio / arithmetic,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the rows as a Markdown table."""
    head = ["cell", "ms", "time", "arithmetic", "time / arithmetic"]
    body = [
        [
            f"`{row['cell']}`",
            f"{row['milliseconds']:.1f}",
            f"{row['time']:.2f}",
            f"{row['arithmetic']:.2f}",
            f"{row['quotient']:.2f}",
        ]
        for row in rows
    ]
    return tabulate.tabulate(body, head, tablefmt="pipe", disable_numparse=True)


def main(_: list[str]) -> None:
    """Measures all cells, then prints and keeps the table."""
    train.use_all_cores()
    shape = tuple(int(size) for size in FLAGS.shape.split("x"))
    lstm = step_of("lstm", shape)
    rows = []
    names: list[str] = FLAGS.cells or [*seqjax.cells.CELLS]
    for name in names:
        rows.append(measure(name, shape, lstm))
        print(table(rows[-1:]).splitlines()[-1], flush=True)
        jax.clear_caches()
    text = (
        f"{FLAGS.shape} (steps x batch x inputs x units), float32, medians of {FLAGS.rounds} "
        f"rounds; {platform.machine()}, JAX {jax.__version__}, {jax.default_backend()}, "
        f"`python scripts/family.py --rounds={FLAGS.rounds}`.\n\n{table(rows)}\n"
    )
    print(f"\n{text}")
    if FLAGS.json:
        Path(FLAGS.json).write_text(json.dumps({"shape": FLAGS.shape, "rows": rows}, indent=2))
    if FLAGS.table:
        page = Path(FLAGS.table)
        before, rest = page.read_text(encoding="utf-8").split(MARKS[0])
        after = rest.split(MARKS[1])[1]
        page.write_text(f"{before}{MARKS[0]}\n{text}{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    app.run(main)
