"""Times our recurrent layers against those of other frameworks.

    python scripts/benchmark.py --json=benchmark.json
    python scripts/benchmark.py --peers=torch,flax --cells=lstm --shapes=200x64x128x128
    python scripts/benchmark.py --cells=min_gru --peers=associative_autodiff,scan --peak
    python scripts/benchmark.py --peers=flax,drop_in,drop_in_cores --cells=rnn,lstm,gru

An earlier commit, checked out in another folder, is the peer `baseline`:

    git worktree add ../earlier COMMIT
    python scripts/benchmark.py --peers=baseline --baseline=../earlier

Each framework runs in a process of its own, on the same cores, with the same weights, inputs and
float32 arithmetic. In training the gradients of all weights and of the input are computed. For
every case the results are compared first, and a case whose results differ is not timed. Then the
frameworks run in turn, one call each, round after round, and the medians over rounds are compared:
the ratio is the peer's time by ours, above 1 where we are faster. The last lines name the smallest
ratio to each peer, and how much faster than Flax our drop-in for its layer is, by shape. The exit
status is 1 where the earlier commit gives other results, or none.
"""

import itertools
import json
import math
import multiprocessing
import os
import platform
import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import peers
from absl import app, flags
from peers import LINEAR_CELLS, USUAL_CELLS, Case, Weights
from peers.worker import serve

CELLS = (*USUAL_CELLS, "bilstm", "bigru", "own", *LINEAR_CELLS)
MODES = ("train", "inference")
DROP_INS = ("drop_in", "drop_in_cores")  # measured only if asked for
# T x B x D x H; the last is IMDB's: reviews in segments of 50 words, side by side.
SHAPES = {
    "2000x8x64x64": "long, small batch",
    "500x16x128x128": "",
    "200x64x128x128": "",
    "400x32x256x256": "",
    "50x128x512x512": "short, wide",
    "50x576x132x64": "IMDB",
}
LINEAR_SHAPES = ("200x64x128x128", "1000x32x128x128", "10000x4x64x64", "50000x1x64x64")
TOLERANCE = 2e-4  # of the norm of what is compared: float32, thousands of steps

FLAGS = flags.FLAGS
flags.DEFINE_list("peers", None, "frameworks; default: all that are installed, but the drop-ins")
flags.DEFINE_string("baseline", None, "folder with another checkout of seqjax: the peer `baseline`")
flags.DEFINE_list("cells", list(CELLS), "cells")
flags.DEFINE_list(
    "shapes",
    None,
    f"shapes, as steps x batch x inputs x hidden units; default: {', '.join(SHAPES)}, and for "
    f"linear cells {', '.join(LINEAR_SHAPES)}",
)
flags.DEFINE_list("modes", list(MODES), "train (gradients), inference (outputs alone)")
flags.DEFINE_integer("rounds", 9, "calls of each framework in each case", lower_bound=1)
flags.DEFINE_integer("cores", None, "processor cores; default: all this process may use")
flags.DEFINE_bool("peak", False, "measure peak memory too, in fresh processes: slow")
flags.DEFINE_string(
    "json", None, "file for the rows; those it has are kept where they are not measured again"
)
flags.DEFINE_string("table", None, "page whose text between its benchmark marks is replaced")


class Worker:
    """A framework in its process.

    Attributes:
      name: of the framework.
      versions: what runs there.
      cells: which of our cells stand for its own, where it has others; "" where it has none.
    """

    def __init__(self, name: str, cores: int):
        """Starts the process; raises ImportError where the framework is not installed."""
        context = multiprocessing.get_context("spawn")
        self.name = name
        self._pipe, far = context.Pipe()
        folder = str(Path(FLAGS.baseline).resolve()) if name == "baseline" else None
        args = (far, name, cores, folder)
        self._process = context.Process(target=serve, args=args, daemon=True)
        self._process.start()
        far.close()
        self.versions, self.cells = self._receive()

    def ask(self, *request: Any) -> Any:
        """Returns the answer to a request; raises what it raised."""
        self._pipe.send(request)
        return self._receive()

    def variant(self, cell: str) -> str:
        """Returns which of our cells, one way, stands for a cell of its own; "" for none."""
        one_way = cell.removeprefix("bi")
        return self.cells.get(one_way, one_way if one_way in USUAL_CELLS else "")

    def close(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.join()

    def _receive(self) -> Any:
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise RuntimeError(f"{self.name}: its process has ended") from None
        if isinstance(answer, Exception):
            raise answer
        return answer


class Shape(NamedTuple):
    """Sizes of a case."""

    steps: int
    batch: int
    in_size: int
    hidden_size: int


class Arrays(NamedTuple):
    """Weights in our layout, a dictionary a direction, inputs, and a cotangent of the outputs."""

    weights: list[Weights]
    xs: np.ndarray
    cotangent: np.ndarray


def make_arrays(case: Case, ours: Worker) -> Arrays:
    """Draws what a case computes with."""
    rng = np.random.default_rng(0)
    linear = case.cell in LINEAR_CELLS
    weights = ours.ask("draw", case) if linear else draw_gated(case, rng)
    width = case.hidden_size * (1 + case.bidirectional)
    return Arrays(
        weights,
        rng.standard_normal((case.steps, case.batch, case.in_size), np.float32),
        rng.standard_normal((case.steps, case.batch, width), np.float32),
    )


def draw_gated(case: Case, rng: np.random.Generator) -> list[Weights]:
    """Draws weights of a gated cell, none of them zero.

    They are small enough that differences of rounding do not grow with the steps.
    """
    hidden = case.hidden_size
    gates = {"rnn": 1, "rnn_relu": 1, "own": 3}.get(case.cell, 4 if case.cell == "lstm" else 3)

    def draw(scale, *shape):
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    weights = []
    for _ in range(1 + case.bidirectional):
        direction = {
            "input_kernel": draw(case.in_size**-0.5, case.in_size, gates * hidden),
            "recurrent_kernel": draw(0.5 * hidden**-0.5, hidden, gates * hidden),
            "bias": draw(0.1, gates * hidden),
        }
        if case.cell == "gru":
            direction["recurrent_bias"] = draw(0.1, hidden)
        weights.append(direction)
    return weights


def largest_difference(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> float:
    """Returns the largest relative difference, by norm, of outputs and gradients."""
    if ours.keys() != theirs.keys():
        raise RuntimeError(f"results {sorted(theirs)} are not ours {sorted(ours)}")
    return max(
        float(np.linalg.norm(theirs[name] - value) / np.linalg.norm(value))
        for name, value in ours.items()
    )


def measure(
    case: Case, arrays: Arrays, ours: Worker, others: list[Worker], modes: list[str], rounds: int
):
    """Yields the rows of one case, after the results have been found equal."""
    expected, our_compile = ours.ask("build", case, *arrays)
    built = []
    for other in others:
        try:
            results, compile_s = other.ask("build", case, *arrays)
        except RuntimeError as error:
            print(f"  left out: {error}", flush=True)
            continue
        difference = largest_difference(expected, results)
        if not difference < TOLERANCE:
            print(f"  left out: {other.name} differs by {difference:.1e}", flush=True)
            continue
        built.append((other, compile_s, difference))
    for mode in modes:
        times: dict[str, list[float]] = {}
        turns = [ours, *(other for other, *_ in built)]
        for _ in range(rounds):
            turns.reverse()  # nobody always runs behind the same one
            for worker in turns:
                # The first call of a turn finds its threads asleep and another's data in the cache.
                times.setdefault(worker.name, []).append(worker.ask("time", mode, 2)[-1])
        ms = {name: quartiles(values) for name, values in times.items()}
        for other, compile_s, difference in built:
            yield {
                "mode": mode,
                "B": case.batch,
                "T": case.steps,
                "in_size": case.in_size,
                "hidden_size": case.hidden_size,
                "peer": other.name,
                "ours_ms": ms["seqjax"][1],
                "peer_ms": ms[other.name][1],
                "ratio": round(ms[other.name][1] / ms["seqjax"][1], 3),
                "ours_quartiles_ms": ms["seqjax"],
                "peer_quartiles_ms": ms[other.name],
                "ours_first_call_s": round(our_compile[mode], 2),
                "peer_first_call_s": round(compile_s[mode], 2),
                "difference": difference,
            }


def key_of(row: dict[str, Any]) -> tuple:
    """Returns what tells rows apart."""
    return tuple(row[name] for name in ("cell", "mode", "T", "B", "in_size", "hidden_size", "peer"))


def quartiles(seconds: list[float]) -> list[float]:
    """Returns lower quartile, median and upper quartile in milliseconds."""
    if len(seconds) == 1:
        return [round(1e3 * seconds[0], 3)] * 3
    return [round(1e3 * q, 3) for q in statistics.quantiles(seconds, n=4, method="inclusive")]


def with_peaks(row: dict[str, Any], case: Case, arrays: Arrays) -> dict[str, Any]:
    """Adds the peak memory of both sides, each in a fresh process."""
    peaks = {}
    for side, name in (("ours", "seqjax"), ("peer", row["peer"])):
        worker = Worker(name, case.cores)
        worker.ask("return_memory")
        worker.ask("build", case, *arrays)
        peaks[f"{side}_peak_mib"] = worker.ask("peak", row["mode"])
        worker.close()
    return {**row, **peaks}


def geometric_mean(values: list[float]) -> float:
    """Returns the geometric mean."""
    return math.exp(statistics.fmean(map(math.log, values)))


def table(rows: list[dict[str, Any]], names: list[str]) -> str:
    """Returns the ratios as Markdown, a table for each mode."""
    lines = []
    for mode in MODES:
        chosen = [row for row in rows if row["mode"] == mode]
        if not chosen:
            continue
        lines += [f"| {mode} | T | B | D | H | ours, ms | " + " | ".join(names) + " |"]
        lines += ["| --- " + "| ---: " * (5 + len(names)) + "|"]
        cases: dict[tuple, dict[str, dict[str, Any]]] = {}
        for row in chosen:
            key = tuple(row[k] for k in ("cell", "T", "B", "in_size", "hidden_size"))
            cases.setdefault(key, {})[row["peer"]] = row
        for (cell, *sizes), found in sorted(
            cases.items(), key=lambda case: CELLS.index(case[0][0])
        ):
            ours = min(row["ours_ms"] for row in found.values())
            cells = [f"{found[n]['ratio']:.2f}" if n in found else "" for n in names]
            lines.append(
                f"| {cell} | {' | '.join(map(str, sizes))} | {ours:.1f} | {' | '.join(cells)} |"
            )
        means = []
        for name in names:
            ratios = [row["ratio"] for row in chosen if row["peer"] == name]
            means.append(f"**{geometric_mean(ratios):.2f}**" if ratios else "")
        lines += [f"| geometric mean | | | | | | {' | '.join(means)} |", ""]
    return "\n".join(lines)


def smallest_ratios(rows: list[dict[str, Any]], names: list[str]) -> str:
    """Returns a line for each mode and peer: where we are slowest beside it."""
    lines = []
    for mode in MODES:
        for name in names:
            found = [row for row in rows if (row["mode"], row["peer"]) == (mode, name)]
            if found:
                row = min(found, key=lambda row: row["ratio"])
                shape = label(Shape(row["T"], row["B"], row["in_size"], row["hidden_size"]))
                lines.append(
                    f"smallest ratio to {name}, {mode}: {row['ratio']:.2f}, {row['cell']} {shape}"
                )
    return "\n".join(lines)


def drop_in_ratios(rows: list[dict[str, Any]]) -> str:
    """Returns Flax's time by that of our drop-in, a line a mode and peer: geometric means."""
    times: dict[str, dict[Shape, dict[str, list[float]]]] = {}
    for row in rows:
        shape = Shape(row["T"], row["B"], row["in_size"], row["hidden_size"])
        here = times.setdefault(row["mode"], {}).setdefault(shape, {})
        here.setdefault(row["peer"], []).append(row["peer_ms"])
    lines = []
    for mode, peer in itertools.product(times, DROP_INS):
        means = {
            label(shape): geometric_mean(found["flax"]) / geometric_mean(found[peer])
            for shape, found in times[mode].items()
            if len(found.get(peer, ())) == len(found.get("flax", ())) > 0
        }
        if means:
            each = ", ".join(f"{name} {ratio:.2f}" for name, ratio in means.items())
            total = geometric_mean([*means.values()])
            lines.append(f"flax by {peer}, {mode}: {total:.2f} ({each})")
    return "\n".join(lines)


def replace_table(path: Path, text: str) -> None:
    """Puts the text between the benchmark marks of a page."""
    page = path.read_text()
    head, _, rest = page.partition("<!-- table: benchmark -->")
    _, _, tail = rest.partition("<!-- end -->")
    if not tail:
        raise SystemExit(f"benchmark.py: {path} must have the marks of the table.")
    path.write_text(f"{head}<!-- table: benchmark -->\n\n{text}\n<!-- end -->{tail}")


def parse(name: str) -> Shape:
    """Reads `200x64x128x128`."""
    try:
        return Shape(*map(int, name.split("x")))
    except (TypeError, ValueError):
        raise SystemExit(
            f"benchmark.py: a shape must be four numbers like 200x64x128x128, got {name!r}."
        ) from None


def label(shape: Shape) -> str:
    """Writes a shape as `parse` reads it."""
    return "x".join(map(str, shape))


def check_flags() -> None:
    """Refuses what cannot run, before an hour is spent."""
    chosen = {"peers": FLAGS.peers or [], "cells": FLAGS.cells, "modes": FLAGS.modes}
    for name, known in (("peers", peers.NAMES), ("cells", CELLS), ("modes", MODES)):
        if unknown := sorted(set(chosen[name]) - set(known)):
            raise SystemExit(f"benchmark.py: --{name} must be among {known}, got {unknown}.")
    if FLAGS.baseline is None and "baseline" in chosen["peers"]:
        raise SystemExit("benchmark.py: the peer baseline needs --baseline=FOLDER.")
    if FLAGS.baseline is not None:
        if not (Path(FLAGS.baseline) / "seqjax" / "__init__.py").is_file():
            raise SystemExit(
                f"benchmark.py: --baseline must be a checkout of seqjax, got {FLAGS.baseline!r}."
            )
        if "baseline" not in (FLAGS.peers or peers.NAMES):
            raise SystemExit("benchmark.py: --baseline needs baseline among --peers.")
    if FLAGS.table and not Path(FLAGS.table).is_file():
        raise SystemExit(f"benchmark.py: --table must be a page, got {FLAGS.table!r}.")


def start_peers(cores: int) -> list[Worker]:
    """Starts the chosen peers that are installed."""
    others = []
    for name in FLAGS.peers or [name for name in peers.NAMES if name not in DROP_INS]:
        if name == "baseline" and FLAGS.baseline is None:
            continue
        try:
            others.append(Worker(name, cores))
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return others


def earlier_rows(versions: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Returns the rows of `--json`, if any, and all versions."""
    if not (FLAGS.json and Path(FLAGS.json).exists()):
        return [], versions
    try:
        earlier = json.loads(Path(FLAGS.json).read_text())
        rows, before = earlier["rows"], earlier["versions"]
    except (OSError, ValueError, KeyError, TypeError):
        raise SystemExit(
            f"benchmark.py: {FLAGS.json} holds no rows of a benchmark. Give another file."
        ) from None
    if any(versions.get(name, got) != got for name, got in before.items()):
        raise SystemExit(
            f"benchmark.py: {FLAGS.json} holds rows of {before}, here are {versions}. Give another "
            "file."
        )
    return rows, {**before, **versions}


def measure_cell(cell: str, shape: Shape, cores: int, ours: Worker, others: list[Worker]):
    """Yields the rows of a cell at a shape, beside every peer that has it."""
    # A peer whose cell is a variant of ours is compared with that variant.
    variants: dict[str, list[Worker]] = {}
    for other in others:
        if variant := other.variant(cell):
            variants.setdefault(variant, []).append(other)
    for variant, group in variants.items():
        case = Case(variant, cell.startswith("bi"), *shape, cores)
        arrays = make_arrays(case, ours)
        for row in measure(case, arrays, ours, group, FLAGS.modes, FLAGS.rounds):
            row = {"cell": cell, "variant": variant, **row}
            yield with_peaks(row, case, arrays) if FLAGS.peak else row


def told(row: dict[str, Any]) -> str:
    """Returns a row in a line."""
    peak = ""
    if None not in (row.get("ours_peak_mib"), row.get("peer_peak_mib")):
        peak = f", peak {row['ours_peak_mib']:.0f} and {row['peer_peak_mib']:.0f} MiB"
    return (
        f"{row['mode']}: ours {row['ours_ms']:.1f} ms, {row['peer']} {row['peer_ms']:.1f} ms, "
        f"ratio {row['ratio']:.2f}{peak}"
    )


def main(argv: list[str]) -> None:
    """Runs the grid."""
    if len(argv) > 1:
        raise SystemExit(f"benchmark.py: unknown argument {argv[1]!r}.")
    check_flags()
    grid = [
        (cell, parse(shape))
        for cell in FLAGS.cells
        for shape in FLAGS.shapes or (LINEAR_SHAPES if cell in LINEAR_CELLS else SHAPES)
    ]
    cores = FLAGS.cores or len(os.sched_getaffinity(0))
    ours, others = Worker("seqjax", cores), start_peers(cores)
    versions = {"python": platform.python_version(), "cores": cores, **ours.versions}
    for other in others:
        versions.update(other.versions)
    rows, versions = earlier_rows(versions)
    header = ", ".join(f"{name} {version}" for name, version in versions.items())
    print(header, flush=True)
    for cell in FLAGS.cells:
        if not ours.variant(cell):
            print(f"{cell} is left out: this seqjax has no such cell")
    grid = [(cell, shape) for cell, shape in grid if ours.variant(cell)]
    wrong = []
    for cell, shape in grid:
        compared = set()
        for row in measure_cell(cell, shape, cores, ours, others):
            compared.add(row["peer"])
            rows = [old for old in rows if key_of(old) != key_of(row)] + [row]
            print(f"{cell} {label(shape)} {told(row)}", flush=True)
            if FLAGS.json:
                Path(FLAGS.json).write_text(
                    json.dumps({"versions": versions, "rows": rows}, indent=1) + "\n"
                )
        asked = {other.name for other in others if other.variant(cell)}
        if "baseline" in asked - compared:
            wrong.append(f"{cell} {label(shape)}")
    names = [name for name in peers.NAMES if any(row["peer"] == name for row in rows)]
    text = f"{table(rows, names)}\n{header}.\n"
    print(text)
    if FLAGS.table:
        replace_table(Path(FLAGS.table), text)
    print(smallest_ratios(rows, names))
    if compared_with_flax := drop_in_ratios(rows):
        print(compared_with_flax)
    if wrong:
        raise SystemExit(f"benchmark.py: baseline gives other results, or none: {', '.join(wrong)}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    app.run(main)
