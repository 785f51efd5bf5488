"""What running in parallel in time gains: training steps of every executor, on this device.

    python scripts/time_parallel.py --table=docs/performance.md
    python scripts/time_parallel.py --compile=h200,v6e --table=docs/performance.md
    python scripts/time_parallel.py --peers=torch,flax --dtypes=float32,bfloat16 --seconds=270

The first line measures on the device that JAX has. A step is forward and backward: outputs, and
gradients of parameters and input. The programs of a case are compared first, and one whose results
differ is not timed. Then they take turns, and the table has their medians. The batch is split over
all devices, as in training; `time` splits the steps over them instead. The second line runs
nothing: it reads what decides on an accelerator from programs compiled for it. The third is for a
GPU, where PyTorch's layers are those of cuDNN. After `--seconds`, no further case begins. With
`--quick`, every case is tiny, which checks the script and not the speed.
"""

import argparse
import functools
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from peers import USUAL_CELLS
from scaling import replace_table

import seqjax
from seqjax import executors, train
from seqjax.cells import CELLS

EXECUTORS = ("sequential", "associative", "time", "newton")
PEERS = ("torch", "flax")
TOLERANCE = {"float32": 5e-4, "bfloat16": 5e-2}  # of the norm of each result


class Case(NamedTuple):
    """A cell and the sizes of its input; features are as many as hidden units."""

    cell: str
    steps: int
    batch: int
    hidden: int

    def __str__(self) -> str:
        """Returns the case as the table names it."""
        return f"{self.cell}, {self.steps:,} x {self.batch} x {self.hidden}"


CASES = [
    *(Case("min_gru", 1000, batch, hidden) for batch in (1, 32) for hidden in (16, 256)),
    Case("min_gru", 10_000, 1, 16),
    Case("min_gru", 10_000, 1, 256),
    Case("min_gru", 10_000, 32, 16),
    Case("min_gru", 100_000, 1, 16),
    Case("min_gru", 100_000, 1, 64),
    Case("ind_rnn", 1000, 32, 16),
    Case("ind_rnn", 10_000, 1, 64),
    Case("gru", 1000, 1, 16),
    Case("gru", 10_000, 1, 16),
]
# Cells that PyTorch and Flax have, and one that only runs in parallel in time here.
PEER_CASES = [
    Case("gru", 1000, 32, 16),
    Case("gru", 1000, 32, 256),
    Case("lstm", 1000, 32, 16),
    Case("lstm", 1000, 32, 256),
    Case("gru", 10_000, 1, 16),
    Case("min_gru", 10_000, 8, 256),
]
QUICK = [Case("gru", 12, 2, 4), Case("min_gru", 12, 2, 4)]
COMPILED = [Case("min_gru", 1024, 8, 128), Case("min_gru", 16_384, 8, 128)]

Program = Callable[[], dict[str, Any]]


def main(arguments: list[str] | None = None) -> None:
    """Prints the table, or puts it into a page."""
    parser = argparse.ArgumentParser(description="Times executors in parallel in time.")
    parser.add_argument("--peers", type=listed(PEERS), default=[], help="torch, flax or both")
    parser.add_argument("--dtypes", type=listed(TOLERANCE), default=["float32"])
    parser.add_argument("--cells", type=listed(CELLS), help="only these cells, such as gru")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each program")
    parser.add_argument("--seconds", type=float, default=330, help="after these, no case begins")
    parser.add_argument("--quick", action="store_true", help="tiny cases, for a test")
    parser.add_argument(
        "--compile", type=listed(("h200", "v5e", "v6e")), help="compile for these devices instead"
    )
    parser.add_argument("--table", type=Path, help="page whose table is replaced")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {options.rounds}")
    if options.table and not options.table.is_file():  # before minutes are spent
        parser.error(f"--table must be a page, got '{options.table}'")
    if options.compile:
        name, table = "time_compiled", compiled_table(options.compile, parser.error, options.quick)
    else:
        train.use_all_cores()
        cases = QUICK if options.quick else PEER_CASES if options.peers else CASES
        if options.cells:
            cases = [case for case in cases if case.cell in options.cells]
        name = "time_peers" if options.peers else "time_parallel"
        table = timed_table(cases, options)
    if options.table:
        replace_table(options.table, name, table)
    else:
        print(table)


def listed(known: Any) -> Callable[[str], list[str]]:
    """Returns the reader of a flag that takes some of the known names."""

    def read(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(
                f"must be some of {', '.join(known)}; got {unknown[0]!r}"
            )
        return names

    return read


def timed_table(cases: list[Case], options: argparse.Namespace) -> str:
    """Returns the table of milliseconds."""
    names = [*EXECUTORS, *options.peers]
    lines = [f"| cell, T x B x H | dtype | {' | '.join(names)} |"]
    lines += ["| --- | --- |" + " ---: |" * len(names)]
    start, left_out = time.perf_counter(), []
    for case in cases:
        for dtype in options.dtypes:
            if time.perf_counter() - start > options.seconds:
                left_out.append(f"{case} in {dtype}")
                continue
            found = measure(case, dtype, options.peers, options.rounds)
            cells = " | ".join(found.get(name, "") for name in names)
            lines.append(f"| {case} | {dtype} | {cells} |")
            print(lines[-1], file=sys.stderr, flush=True)
    device = jax.devices()[0]
    about = (
        f"Milliseconds of a training step, medians of {options.rounds}, on {jax.device_count()} "
        f"device(s) {device.device_kind} ({platform.machine()}), JAX {jax.__version__}."
    )
    if left_out:
        about += f" Not run, for lack of time: {'; '.join(left_out)}."
    return "\n".join([*lines, "", about])


def measure(case: Case, dtype: str, peers: list[str], rounds: int) -> dict[str, str]:
    """Returns the milliseconds of each program, after their results have been compared."""
    found, programs, expected = {}, {}, None
    for name, make in programs_of(case, dtype, peers):
        try:
            program = make()
            results = {key: np.asarray(leaf, np.float64) for key, leaf in program().items()}
        except Exception as error:  # whatever a framework raises is told, not lost
            print(f"{case}, {dtype}: {name} fails: {error}".splitlines()[0], file=sys.stderr)
            found[name] = "failed"
            continue
        expected = results if expected is None else expected
        difference = max(relative_difference(expected[key], results[key]) for key in results)
        if difference > TOLERANCE[dtype]:
            found[name] = f"differs by {difference:.0e}"
            continue
        program()  # the first call may do what others do not
        programs[name] = program
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            start = time.perf_counter()
            program()
            seconds[name].append(time.perf_counter() - start)
    for name, times in seconds.items():
        found[name] = figures(1e3 * statistics.median(times))
    return found


def figures(number: float) -> str:
    """Returns three significant figures of a number."""
    rounded = float(f"{number:.3g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:g}"


def relative_difference(expected: np.ndarray, got: np.ndarray) -> float:
    """Returns the norm of the difference, relative to that of what is expected."""
    if expected.shape != got.shape or not np.isfinite(got).all():
        return math.inf
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


def programs_of(
    case: Case, dtype: str, peers: list[str]
) -> Iterator[tuple[str, Callable[[], Program]]]:
    """Yields names, and functions that make a program; the first is what others must equal."""
    rng = np.random.default_rng(0)
    shape = case.steps, case.batch, case.hidden
    xs, cotangent = rng.standard_normal((2, *shape), np.float32)
    cell = seqjax.make_cell(case.cell, case.hidden)
    params: Any = cell.init(jax.random.key(0), case.hidden)
    weights: Any = None
    if case.cell in USUAL_CELLS:
        from benchmark import draw_gated  # whose flags are those of `compile_accelerators`, too

        sizes = benchmark_case(case)
        (weights,) = draw_gated(sizes, rng)
        if "recurrent_bias" in weights:  # Flax has none
            weights["recurrent_bias"] = np.zeros_like(weights["recurrent_bias"])
        params = params._replace(**{name: jnp.asarray(leaf) for name, leaf in weights.items()})
    for name in EXECUTORS:
        executor = executors.EXECUTORS["associative" if name == "time" else name]()
        linear = isinstance(cell, seqjax.cells.LinearCell)
        if executor.refusal(cell) or (name == "time" and (not linear or jax.device_count() == 1)):
            continue
        how = cell, params, xs, cotangent, dtype, executor
        yield name, functools.partial(jax_program, *how, over_time=name == "time")
    if weights and "torch" in peers:
        yield "torch", lambda: torch_program(case, weights, xs, cotangent, dtype)
    if weights and "flax" in peers:
        yield "flax", lambda: flax_program(case, weights, xs, cotangent, dtype)


def benchmark_case(case: Case) -> Any:
    """Returns a case as `scripts/benchmark.py` and its peers take it."""
    from peers import Case as Sizes

    return Sizes(case.cell, False, case.steps, case.batch, case.hidden, case.hidden, 1)


def training_step(cell: Any, executor: Any, dtype: str) -> Callable[..., dict[str, Any]]:
    """Returns a function of parameters, inputs and the cotangent of the outputs."""

    def step(params: Any, xs: jax.Array, cotangent: jax.Array) -> dict[str, Any]:
        def outputs(params: Any, xs: jax.Array) -> jax.Array:
            return seqjax.unroll(cell, params, xs, executor=executor)[0]

        ys, pull = jax.vjp(outputs, params, xs.astype(dtype))
        d_params, d_xs = pull(cotangent.astype(ys.dtype))
        return {"ys": ys, "xs": d_xs, "kernel": d_params.input_kernel}

    return step


def jax_program(
    cell: Any,
    params: Any,
    xs: np.ndarray,
    cotangent: np.ndarray,
    dtype: str,
    executor: Any,
    *,
    over_time: bool,
) -> Program:
    """Returns a training step on all devices, its batch or its time split over them."""
    devices, batch = jax.device_count(), xs.shape[1]
    mesh = train.data_mesh(batch, f"time{devices}" if over_time else "batch")
    given = train.replicate(mesh, params), *train.shard(mesh, (xs, cotangent), axis=1)
    with jax.set_mesh(mesh):
        compiled = jax.jit(training_step(cell, executor, dtype)).lower(*given).compile()
    return lambda: jax.block_until_ready(compiled(*given))


def torch_program(
    case: Case, weights: Any, xs: np.ndarray, cotangent: np.ndarray, dtype: str
) -> Program:
    """Returns a training step of PyTorch's layer, on its GPU if there is one."""
    import torch  # pyright: ignore[reportMissingImports]
    from peers import torch_peer

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    where = {
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "dtype": getattr(torch, dtype),
    }
    layer = torch_peer.LAYERS[case.cell](case.hidden, case.hidden)
    ours = {name: torch.from_numpy(leaf) for name, leaf in weights.items()}
    with torch.no_grad():
        for name, value in torch_peer.place([ours], case.cell != "gru").items():
            getattr(layer, name).copy_(value)
    layer = layer.to(**where)
    inputs = torch.from_numpy(xs).to(**where).requires_grad_()
    of_ys = torch.from_numpy(cotangent).to(**where)

    def step() -> dict[str, Any]:
        layer.zero_grad(set_to_none=True)
        inputs.grad = None
        ys = layer(inputs)[0]
        ys.backward(of_ys)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return {"ys": ys, "xs": inputs.grad}

    def on_host() -> dict[str, Any]:
        return {name: leaf.detach().float().cpu() for name, leaf in step().items()}

    first = on_host()  # only the first call is compared; a copy to the host is not timed
    calls = iter([first])
    return lambda: next(calls, None) or step()


def flax_program(
    case: Case, weights: Any, xs: np.ndarray, cotangent: np.ndarray, dtype: str
) -> Program:
    """Returns a training step of Flax's layer."""
    from peers import flax_peer

    given = jax.tree.map(
        lambda leaf: np.asarray(jnp.asarray(leaf, dtype)), (weights, xs, cotangent)
    )
    weights, xs, cotangent = given
    own = flax_peer.CELLS.get(case.cell, case.cell)
    sizes = benchmark_case(case)._replace(cell=own)
    program = flax_peer.build(sizes, [weights], xs, cotangent)
    results = program.results()
    calls = iter([{name: np.asarray(results[name], np.float32) for name in ("ys", "xs")}])

    def step() -> dict[str, Any]:
        return next(calls, None) or {"train": program.train()}

    return step


def compiled_table(targets: list[str], refuse: Callable[[str], Any], quick: bool) -> str:
    """Returns what is read from programs compiled for accelerators; nothing is run."""
    import compile_accelerators as compiler
    from compiled_program import count_kernels
    from jax.experimental import topologies

    for target in targets:
        if reason := compiler.missing(target):
            refuse(f"cannot compile for {target}: {reason}")
    compiler.leave_devices_alone()
    lines = [
        "| target | cell, T x B x H | executor | kernels in a row | for each step | MB moved | "
        "temporary MB |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for target in targets:
        described = topologies.get_topology_desc(**compiler.TOPOLOGIES[target])
        on_device = jax.sharding.SingleDeviceSharding(described.devices[0])
        for case in QUICK[1:] if quick else COMPILED:
            cell = seqjax.make_cell(case.cell, case.hidden)
            shape = jax.ShapeDtypeStruct((case.steps, case.batch, case.hidden), jnp.float32)
            init = functools.partial(cell.init, in_size=case.hidden)
            shapes = jax.eval_shape(init, jax.random.key(0)), shape, shape
            given = jax.tree.map(
                lambda leaf, there=on_device: jax.ShapeDtypeStruct(
                    leaf.shape, leaf.dtype, sharding=there
                ),
                shapes,
            )
            for name in ("sequential", "associative"):
                step = jax.jit(training_step(cell, name, "float32"))
                compiled = step.lower(*given).compile()
                kernels = count_kernels(compiled.as_text() or "")
                in_a_row = sum(kernels)
                cost, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
                temporary = "" if memory is None else figures(memory.temp_size_in_bytes / 1e6)
                moved = figures(cost["bytes accessed"] / 1e6) if "bytes accessed" in cost else ""
                lines.append(
                    f"| {target} | {case} | {name} | {in_a_row:,} | "
                    f"{figures(in_a_row / case.steps)} | {moved} | "
                    f"{temporary} |"
                )
                print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


if __name__ == "__main__":
    main()
