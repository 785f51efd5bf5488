"""What a training step costs on one device and on two, and what eight exchange in it.

    python scripts/scaling.py --table=docs/many_devices.md

A third table has a step of several members (seeds) that train in turn, each on all devices, and
together. Devices here are the cores of a CPU. The steps of the meshes take turns on the same batch,
in one process, after their losses have been compared; a row has the median and the quartiles of the
seconds a step, and how many times as fast as one device it is, the median over rounds. For eight
devices the step is compiled only, and what they exchange in it is read from the program: a machine
with fewer cores says nothing of eight by the clock. Without --table the tables are printed.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from compiled_program import count_exchanges
from jax.sharding import AxisType, Mesh

import seqjax
from seqjax import train
from seqjax.cells._registry import CELLS
from seqjax.train._population import Program

# Cell, steps, batch, hidden units (and features of the input).
SHAPES = [("lstm", 100, 64, 128), ("gru", 100, 64, 128), ("lstm", 50, 128, 512)]
# Members, and the shape of each.
POPULATIONS = [(4, ("gru", 100, 32, 32)), (4, ("gru", 100, 64, 128)), (5, ("lstm", 100, 64, 128))]
TIMED, COMPILED = ("1x1", "2x1", "1x2"), ("8x1", "4x2", "1x8")
SECONDS_A_ROUND = 0.2


def main() -> None:
    """Makes the tables."""
    parser = argparse.ArgumentParser(description="Times steps on one device and two.")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each mesh")
    parser.add_argument(
        "--shapes", type=parsed, default=SHAPES, help="such as lstm:100x64x128,gru:9x8x16"
    )
    parser.add_argument("--table", help="page whose tables are replaced")
    parser.add_argument("--compiled_only", action="store_true", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {flags.rounds}")
    if flags.table and not Path(flags.table).is_file():  # before minutes are spent
        parser.error(f"--table must be a page, got {flags.table!r}")
    if flags.compiled_only:
        print(exchange_table(flags.shapes))
        return
    timing = timing_table(flags.shapes, flags.rounds)
    members = member_table(POPULATIONS, flags.rounds)
    # JAX has as many devices as it began with: another process for another number.
    again = [sys.executable, __file__, "--compiled_only", *sys.argv[1:]]
    env = {**os.environ, "JAX_NUM_CPU_DEVICES": "8", "JAX_PLATFORMS": "cpu"}
    exchanged = subprocess.run(again, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
    tables = {"scaling": timing, "members": members, "exchanges": exchanged.strip()}
    for name, table in tables.items():
        if flags.table:
            replace_table(Path(flags.table), name, table)
        else:
            print(table, end="\n\n")


def parsed(text: str) -> list[tuple[str, int, int, int]]:
    """Returns cells and sizes of shapes such as lstm:100x64x128,gru:9x8x16."""
    shapes = []
    for shape in text.split(","):
        match = re.fullmatch(r"(\w+):([1-9]\d*)x([1-9]\d*)x([1-9]\d*)", shape)
        sizes = [int(size) for size in match.groups()[1:]] if match else []
        if not match or match[1] not in CELLS or sizes[1] % 8 or sizes[2] % 8:
            raise argparse.ArgumentTypeError(
                "a shape must be a cell and steps x batch x units, the last two multiples of 8, "
                f"like lstm:100x64x128; got {shape!r}"
            )
        shapes.append((match[1], *sizes))
    return shapes


def step_and_batch(shape: tuple[str, int, int, int], mesh: str) -> tuple[Any, Any, Any]:
    """Returns a training step on a mesh, its first state and a batch."""
    name, steps, batch, hidden = shape
    cell = seqjax.make_cell(name, hidden)

    def loss(params: Any, key: jax.Array, xs: jax.Array):
        ys, _ = seqjax.unroll(cell, params, jnp.swapaxes(xs, 0, 1))
        return jnp.mean(ys**2), {"weight": jnp.ones(())}

    along = [int(number) for number in mesh.split("x")]
    devices = np.array(jax.devices()[: int(np.prod(along))])
    if along[1] == 1:  # as `data_mesh` makes it by default
        devices_mesh = Mesh(devices, ("batch",), axis_types=(AxisType.Auto,))
    else:
        axes = ("batch", "hidden")
        devices_mesh = Mesh(devices.reshape(along), axes, axis_types=(AxisType.Auto,) * 2)
    params = cell.init(jax.random.key(0), hidden)
    made = train.make_train_step(
        loss, optax.adam(1e-3), mesh=devices_mesh, partition=cell.partition(params)
    )
    xs = np.random.default_rng(0).normal(size=(batch, steps, hidden)).astype(np.float32)
    state = made.init(params, jax.random.key(1))
    return made, state, train.shard(made.mesh, xs)


def timing_table(shapes: list[tuple[str, int, int, int]], rounds: int) -> str:
    """Returns the seconds of a step on each mesh."""
    train.use_all_cores(2)
    lines = ["| cell, T x B x H | batch x hidden | ms a step | quartiles | times one device |"]
    lines += ["| --- | --- | ---: | ---: | ---: |"]
    for shape in shapes:
        made = {mesh: step_and_batch(shape, mesh) for mesh in TIMED}
        seconds: dict[str, list[float]] = {mesh: [] for mesh in TIMED}
        losses = {}
        for mesh, (step, state, xs) in made.items():
            state, record = step.update(state, xs)
            losses[mesh] = float(record["loss"])
            made[mesh] = step, state, xs
        for mesh, found in losses.items():
            if not np.isclose(found, losses["1x1"], rtol=1e-5):
                raise RuntimeError(
                    f"{shape} on {mesh}: loss {found}, on one device {losses['1x1']}"
                )
        for _ in range(rounds):
            for mesh, (step, state, xs) in made.items():
                number, start = 0, time.perf_counter()
                while time.perf_counter() - start < SECONDS_A_ROUND:
                    state, record = step.update(state, xs)
                    jax.block_until_ready(record)
                    number += 1
                seconds[mesh].append((time.perf_counter() - start) / number)
                made[mesh] = step, state, xs
        for mesh, times in seconds.items():
            low, median, high = (1e3 * each for each in np.quantile(times, [0.25, 0.5, 0.75]))
            ratio = statistics.median(
                one / other for one, other in zip(seconds["1x1"], times, strict=True)
            )
            spread = f"{low:.1f} to {high:.1f}"
            lines.append(f"| {title(shape)} | {mesh} | {median:.1f} | {spread} | {ratio:.2f} |")
    return "\n".join(lines)


def member_table(populations: list[tuple[int, tuple[str, int, int, int]]], rounds: int) -> str:
    """Returns the seconds of a step of all members, in turn and together."""
    lines = [
        "| members | cell, T x B x H | in turn, ms | together, ms | quartiles | times in turn |"
    ]
    lines += ["| ---: | --- | ---: | ---: | ---: | ---: |"]
    for number, shape in populations:
        step, state, batch = step_and_batch(shape, "2x1")
        batch = np.asarray(batch)
        program = Program([step] * number, cast(Any, dict.fromkeys(range(number), state)))
        batches = cast(Any, dict.fromkeys(range(number), batch))
        states = [step_and_batch(shape, "2x1")[1] for _ in range(number)]

        def in_turn(states=states, step=step, batch=batch) -> list[Any]:
            records = []
            for i in range(len(states)):
                states[i], record = step.update(states[i], train.shard(step.mesh, batch))
                records.append(record)
            return jax.block_until_ready(records)

        def together(program=program, batches=batches) -> Any:
            return jax.block_until_ready(program.update(batches))

        for one, other in zip(in_turn(), together(), strict=True):
            if not np.isclose(one["loss"], other["loss"], rtol=1e-5):
                raise RuntimeError(f"{number} x {shape}: loss {one['loss']} and {other['loss']}")
        pairs = [(seconds(in_turn), seconds(together)) for _ in range(rounds)]
        turn, joint = (1e3 * statistics.median(times) for times in zip(*pairs, strict=True))
        low, high = (1e3 * q for q in np.quantile([pair[1] for pair in pairs], [0.25, 0.75]))
        ratio = statistics.median(a / b for a, b in pairs)
        lines.append(
            f"| {number} | {title(shape)} | {turn:.1f} | {joint:.1f} | {low:.1f} to {high:.1f} | "
            f"{ratio:.2f} |"
        )
    return "\n".join(lines)


def seconds(step: Any) -> float:
    """Returns the seconds of a step, the mean over a round."""
    number, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS_A_ROUND:
        step()
        number += 1
    return (time.perf_counter() - start) / number


def exchange_table(shapes: list[tuple[str, int, int, int]]) -> str:
    """Returns what eight devices exchange in a step, read from the compiled program."""
    lines = ["| cell, T x B x H | batch x hidden | exchange | in loops | outside | MiB a device |"]
    lines += ["| --- | --- | --- | ---: | ---: | ---: |"]
    for shape in shapes:
        for mesh in COMPILED:
            step, state, xs = step_and_batch(shape, mesh)
            text = step.update.lower(state, xs).compile().as_text()
            for kind, found in sorted(count_exchanges(text).items()):
                lines.append(
                    f"| {title(shape)} | {mesh} | {kind} | {found.in_loops} | {found.outside} | "
                    f"{found.mebibytes:.3g} |"
                )
    return "\n".join(lines)


def replace_table(path: Path, name: str, table: str) -> None:
    """Puts a table between its marks in a page."""
    head, mark, rest = path.read_text("utf-8").partition(f"<!-- table: {name} -->")
    _, end, tail = rest.partition("<!-- end -->")
    if not (mark and end):
        raise SystemExit(f"{path} has no table {name!r} between its marks.")
    path.write_text(f"{head}{mark}\n\n{table}\n\n{end}{tail}", "utf-8")


def title(shape: tuple[str, int, int, int]) -> str:
    """Returns a shape in words."""
    return f"{shape[0]}, {shape[1]} x {shape[2]} x {shape[3]}"


if __name__ == "__main__":
    main()
