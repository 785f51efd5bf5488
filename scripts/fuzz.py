"""Feeds spoilt input to every reader and converter, and reports what is no documented error.

    python scripts/fuzz.py --inputs=1000000 --seed=0

A spoilt file is a sound one with some bytes flipped, cut, repeated, exchanged with another's, or
replaced by pieces that readers trip over, or of JSON with another value or name somewhere; now and
then it is noise. Weights, linear models and checkpoints are spoilt as such: names, shapes, dtypes,
nesting, files. A reader may accept what it gets or raise an error that tells a user in one line
what is wrong (`DataError`, `RunError`, `ConfigError`, `ConvertError`). Anything else, a warning,
more than a second of the processor, or more than `--memory_gib` of memory, is a finding: it is
printed with the input, and the exit status is 1. Inputs follow from `--seed`, whatever the number
of processes. Files go to the folder of temporary files: TMPDIR=/dev/shm spares the disk.
"""

import contextlib
import faulthandler
import functools
import multiprocessing
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from absl import app, flags, logging

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `experiments`

from fuzzing.command_lines import flag_readers
from fuzzing.files import file_readers
from fuzzing.reader import Reader
from fuzzing.runs import run_readers
from fuzzing.weights import weight_readers

from experiments import command_line
from seqjax import convert, data, train

FLAGS = flags.FLAGS
_MADE: dict[str, Reader] = {}  # of this process
DOCUMENTED = (data.DataError, train.RunError, command_line.ConfigError, convert.ConvertError)


class LateError(BaseException):
    """Something took too long; no Exception, which some readers turn into their own."""


class Fed(NamedTuple):
    """What a reader said to its inputs.

    Attributes:
      name: of the reader.
      outcomes: how often it said what.
      findings: the first of each kind, with the input.
      seconds: how long it took.
    """

    name: str
    outcomes: Counter[str]
    findings: list[str]
    seconds: float


def readers(base: Path) -> list[Reader]:
    """Makes every reader with its sound inputs; what they need goes to the folder `base`."""
    made = (flag_readers, run_readers, weight_readers, file_readers)
    return [reader for make in made for reader in make(base)]


@contextlib.contextmanager
def at_most(computing: float, waiting: float = 30.0) -> Iterator[None]:
    """Raises LateError in what takes more seconds of the processor, or by the clock."""

    def late(*_: object) -> None:
        raise LateError(f"took more than {computing} s, or {waiting} s by the clock")

    timers = ((signal.ITIMER_PROF, computing), (signal.ITIMER_REAL, waiting))
    signal.signal(signal.SIGPROF, late)
    signal.signal(signal.SIGALRM, late)
    for timer, seconds in timers:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for timer, _ in timers:
            signal.setitimer(timer, 0)


def fuzz(reader: Reader, folder: Path, count: int, seed: int) -> Fed:
    """Feeds a reader."""
    rng = random.Random(f"{seed} {reader.name}")
    file, outcomes, findings = folder / reader.file, Counter(), {}
    for content in reader.sound:  # or the faults below would be nobody's
        file.write_bytes(content)
        reader.read(file)
    began = time.monotonic()
    for _ in range(count):
        content = reader.spoilt(rng)
        file.write_bytes(content)
        try:
            with at_most(1.0):
                reader.read(file)
            outcomes["accepted"] += 1
        except DOCUMENTED as error:
            said = str(error)
            outcomes[type(error).__name__] += 1
            if len(said.splitlines()) != 1:
                findings.setdefault(f"{type(error).__name__} not of one line", (said, content))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic of Rust is no Exception
            frame = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"
            outcomes["finding"] += 1
            findings.setdefault(kind, (str(error), content))
    told = []
    for kind, (said, content) in findings.items():
        shown = content if len(content) < 300 else content[:200] + b" ... " + content[-80:]
        told.append(f"{reader.name}: {kind}: {said[:300]}\n  input {shown!r}")
    return Fed(reader.name, outcomes, told, time.monotonic() - began)


def prepare(base: Path, memory_gib: float) -> dict[str, Reader]:
    """Bounds the memory of this process, makes warnings errors, and makes the readers by name."""
    limit = int(memory_gib * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    logging.set_verbosity(logging.ERROR)
    faulthandler.enable()  # says in which reader a process dies
    made = readers(Path(tempfile.mkdtemp(dir=base)))
    warnings.simplefilter("error")
    _MADE.update({reader.name: reader for reader in made})
    return _MADE


def feed(task: tuple[str, int], base: Path, seed: int) -> Fed:
    """Feeds the reader of a name, in a folder of its own."""
    name, count = task
    return fuzz(_MADE[name], Path(tempfile.mkdtemp(dir=base)), count, seed)


def shares(chosen: list[Reader], inputs: int) -> list[tuple[str, int]]:
    """Returns how many inputs each reader gets, by its weight; together they are all."""
    whole, ends, before = sum(reader.weight for reader in chosen), [0], 0.0
    for reader in chosen:
        before += reader.weight
        ends.append(round(inputs * before / whole))
    return [(r.name, end - start) for r, start, end in zip(chosen, ends, ends[1:], strict=False)]


def define() -> None:
    """Defines the flags; not on import, since tests import this file into their own process."""
    flags.DEFINE_integer("inputs", 20_000, "spoilt inputs, over all readers", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "draws the inputs")
    flags.DEFINE_list("readers", [], "names of readers; all by default")
    flags.DEFINE_float("memory_gib", 8, "address space of each process")
    flags.DEFINE_integer("processes", 1, "processes that share the readers", lower_bound=1)


def main(_: list[str]) -> None:
    """Fuzzes and reports."""
    total, findings = 0, []
    with contextlib.ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        known = prepare(base, FLAGS.memory_gib)
        if unknown := sorted(set(FLAGS.readers) - set(known)):
            names = ", ".join(known)
            print(f"fuzz: unknown reader {', '.join(unknown)}; there are {names}", file=sys.stderr)
            raise SystemExit(2)
        tasks = shares([known[name] for name in FLAGS.readers or known], FLAGS.inputs)
        act = functools.partial(feed, base=base, seed=FLAGS.seed)
        fed = map(act, tasks)
        if FLAGS.processes > 1:
            context = multiprocessing.get_context("spawn")  # threads of JAX do not survive a fork
            pool = context.Pool(FLAGS.processes, prepare, (base, FLAGS.memory_gib))
            fed = stack.enter_context(pool).imap(act, tasks)
        for name, outcomes, found, seconds in fed:
            count = sum(outcomes.values())
            said = ", ".join(f"{kind} {number:,}" for kind, number in sorted(outcomes.items()))
            pace = count / max(seconds, 1e-9)
            print(f"{name}: {count:,} inputs, {pace:,.0f} a second: {said}", flush=True)
            total += count
            findings += found
    print(f"{total:,} inputs, {len(findings)} findings")
    for finding in findings:
        print(finding, file=sys.stderr)
    if findings:
        raise SystemExit(1)


if __name__ == "__main__":
    define()
    app.run(main)
