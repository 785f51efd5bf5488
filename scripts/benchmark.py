"""Times our recurrent layers against those of other frameworks.

    python scripts/benchmark.py --json=benchmark.json
    python scripts/benchmark.py --peers=torch,flax --cells=lstm --shapes=64x200x128x128

Each framework runs in a process of its own, on the same cores, with the same weights, inputs and
float32 arithmetic. In training the gradients of all weights and of the input are computed. For
every case the results are compared first, and a case whose results differ is not timed. Then the
frameworks run in turn, one call each, round after round, and the medians over rounds are compared:
the ratio is the peer's time by ours, above 1 where we are faster.
"""

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
from peers import Case
from peers.worker import serve

CELLS = ("rnn", "lstm", "gru", "bilstm", "bigru", "own")
MODES = ("train", "inference")
# T x B x D x H; the last is IMDB's: reviews in segments of 50 words, side by side.
SHAPES = {
    "2000x8x64x64": "long, small batch",
    "500x16x128x128": "",
    "200x64x128x128": "",
    "400x32x256x256": "",
    "50x128x512x512": "short, wide",
    "50x576x132x64": "IMDB",
}
TOLERANCE = 2e-4  # of the norm of what is compared: float32, thousands of steps

FLAGS = flags.FLAGS
flags.DEFINE_list("peers", list(peers.NAMES), "frameworks; those not installed are left out")
flags.DEFINE_list("cells", list(CELLS), "cells")
flags.DEFINE_list("shapes", list(SHAPES), "shapes, as steps x batch x inputs x hidden units")
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
      cells: which of our cells stand for its own, where it has others.
    """

    def __init__(self, name: str, cores: int):
        """Starts the process; raises ImportError where the framework is not installed."""
        context = multiprocessing.get_context("spawn")
        self.name = name
        self._pipe, far = context.Pipe()
        self._process = context.Process(target=serve, args=(far, name, cores), daemon=True)
        self._process.start()
        far.close()
        self.versions, self.cells = self._receive()

    def ask(self, *request: Any) -> Any:
        """Returns the answer to a request; raises what it raised."""
        self._pipe.send(request)
        return self._receive()

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


def make_arrays(case: Case, seed: int = 0):
    """Draws weights in our layout, none of them zero, inputs, and a cotangent of the outputs."""
    rng = np.random.default_rng(seed)
    hidden = case.hidden_size
    gates = {"rnn": 1, "rnn_relu": 1, "own": 3}.get(case.cell, 4 if case.cell == "lstm" else 3)

    def draw(scale, *shape):
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    weights = []
    for _ in range(1 + case.bidirectional):
        # Small enough that differences of rounding do not grow with the steps.
        direction = {
            "input_kernel": draw(case.in_size**-0.5, case.in_size, gates * hidden),
            "recurrent_kernel": draw(0.5 * hidden**-0.5, hidden, gates * hidden),
            "bias": draw(0.1, gates * hidden),
        }
        if case.cell == "gru":
            direction["recurrent_bias"] = draw(0.1, hidden)
        weights.append(direction)
    xs = draw(1.0, case.steps, case.batch, case.in_size)
    cotangent = draw(1.0, case.steps, case.batch, hidden * (1 + case.bidirectional))
    return weights, xs, cotangent


def largest_difference(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> float:
    """Returns the largest relative difference, by norm, of outputs and gradients."""
    if ours.keys() != theirs.keys():
        raise RuntimeError(f"results {sorted(theirs)} are not ours {sorted(ours)}")
    return max(
        float(np.linalg.norm(theirs[name] - value) / np.linalg.norm(value))
        for name, value in ours.items()
    )


def measure(case: Case, ours: Worker, others: list[Worker], modes: list[str], rounds: int):
    """Yields the rows of one case, after the results have been found equal."""
    arrays = make_arrays(case)
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
        for _ in range(rounds):
            for worker in (ours, *(other for other, *_ in built)):
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


def with_peaks(row: dict[str, Any], case: Case, cores: int) -> dict[str, Any]:
    """Adds the peak memory of both sides, each in a fresh process."""
    peaks = {}
    for side, name in (("ours", "seqjax"), ("peer", row["peer"])):
        worker = Worker(name, cores)
        worker.ask("return_memory")
        worker.ask("build", case, *make_arrays(case))
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


def main(argv: list[str]) -> None:
    """Runs the grid."""
    if len(argv) > 1:
        raise SystemExit(f"benchmark.py: unknown argument {argv[1]!r}.")
    chosen = {"peers": FLAGS.peers, "cells": FLAGS.cells, "modes": FLAGS.modes}
    for name, known in (("peers", peers.NAMES), ("cells", CELLS), ("modes", MODES)):
        if unknown := sorted(set(chosen[name]) - set(known)):
            raise SystemExit(f"benchmark.py: --{name} must be among {known}, got {unknown}.")
    shapes = {name: parse(name) for name in FLAGS.shapes}
    if FLAGS.table and not Path(FLAGS.table).is_file():  # before an hour is spent
        raise SystemExit(f"benchmark.py: --table must be a page, got {FLAGS.table!r}.")
    cores = FLAGS.cores or len(os.sched_getaffinity(0))
    ours, others = Worker("seqjax", cores), []
    for name in FLAGS.peers:
        try:
            others.append(Worker(name, cores))
        except ImportError as error:
            print(f"{name} is left out: {error}")
    versions = {"python": platform.python_version(), "cores": cores, **ours.versions}
    for other in others:
        versions.update(other.versions)
    rows: list[dict[str, Any]] = []
    if FLAGS.json and Path(FLAGS.json).exists():
        try:
            earlier = json.loads(Path(FLAGS.json).read_text())
            earlier = {name: earlier[name] for name in ("versions", "rows")}
        except (OSError, ValueError, KeyError, TypeError):
            raise SystemExit(
                f"benchmark.py: {FLAGS.json} holds no rows of a benchmark. Give another file."
            ) from None
        if any(versions.get(name, got) != got for name, got in earlier["versions"].items()):
            raise SystemExit(
                f"benchmark.py: {FLAGS.json} holds rows of {earlier['versions']}, here are "
                f"{versions}. Give another file."
            )
        rows, versions = earlier["rows"], {**earlier["versions"], **versions}
    header = ", ".join(f"{name} {version}" for name, version in versions.items())
    print(header, flush=True)
    for shape in shapes.values():
        for cell in FLAGS.cells:
            # A peer whose cell is a variant of ours is compared with that variant.
            variants: dict[str, list[Worker]] = {}
            for other in others:
                one_way = cell.removeprefix("bi")
                variant = other.cells.get(one_way, one_way if one_way != "own" else "")
                if variant:
                    variants.setdefault(variant, []).append(other)
            for variant, group in variants.items():
                case = Case(variant, cell.startswith("bi"), *shape, cores)
                label = "x".join(map(str, shape))
                for row in measure(case, ours, group, FLAGS.modes, FLAGS.rounds):
                    row = {"cell": cell, "variant": variant, **row}
                    if FLAGS.peak:
                        row = with_peaks(row, case, cores)
                    rows = [old for old in rows if key_of(old) != key_of(row)] + [row]
                    print(
                        f"{cell} {label} {row['mode']}: ours {row['ours_ms']:.1f} ms, "
                        f"{row['peer']} {row['peer_ms']:.1f} ms, ratio {row['ratio']:.2f}",
                        flush=True,
                    )
                    if FLAGS.json:
                        Path(FLAGS.json).write_text(
                            json.dumps({"versions": versions, "rows": rows}, indent=1) + "\n"
                        )
    names = [name for name in peers.NAMES if any(row["peer"] == name for row in rows)]
    text = f"{table(rows, names)}\n{header}.\n"
    print(text)
    if FLAGS.table:
        replace_table(Path(FLAGS.table), text)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    app.run(main)
