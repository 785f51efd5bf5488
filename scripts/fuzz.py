"""Feeds spoilt files to every reader, and reports whatever is not one of the documented errors.

    python scripts/fuzz.py --inputs=1000000 --seed=0

A spoilt file is a sound one with some bytes flipped, cut, repeated, exchanged with another's, or
replaced by pieces that readers trip over; now and then it is noise. A reader may accept it or raise
an error that tells a user what is wrong (`DataError`, `RunError`, `ConfigError`). Anything else,
more than a second, or more than `--memory_gib` of memory, is a finding: it is printed with the
input, and the exit status is 1. Inputs follow from `--seed`.
"""

import contextlib
import dataclasses
import io
import json
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags
from scipy.io import wavfile

from experiments import command_line, finished, regression
from seqjax import data, train

FLAGS = flags.FLAGS
DOCUMENTED = (data.DataError, train.RunError, command_line.ConfigError)
PIECES = (
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n\n", b"\t", b",", b";", b'"', b"'", b"\\", b"[",
    b"]", b"{", b"}", b":", b"nan", b"inf", b"-1", b"0", b"1e999", b"1e308", b"-0.0", b"1_0",
    b"0x1", b"9" * 30, b"9" * 5000, b"null", b"true", b"[" * 3000, b'{"a":' * 1000,
    "\u2028".encode(), "\u0660".encode(), b"=\xd8\x00\xde", b"\xed\xa0\x80", b"PK\x03\x04",
    b"\x93NUMPY\x01\x00", b"RIFF", b"RIFX", b"data\xff\xff\xff\x7f", b"fmt ", b"#", b"_", b" ",
    b"1-2", b"1.1", b"../../etc/passwd", b"cos\nsystem\n(S'true'\ntR.", b"\x80\x04\x95",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Reader:
    """A reader and sound inputs for it.

    Attributes:
      name: what is read.
      file: name of the file, in a folder of its own.
      sound: contents that are accepted.
      read: receives the file.
    """

    name: str
    file: str
    sound: tuple[bytes, ...]
    read: Callable[[Path], Any]


def wav(samples: np.ndarray, rate: int = 8000) -> bytes:
    """Returns a WAV file."""
    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    """Returns a file of NumPy."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def conllu(words: str) -> bytes:
    """Returns a tagged sentence."""
    lines = [f"{i}\t{w}\t{w}\tNOUN\tNN\t_\t0\troot\t_\t_" for i, w in enumerate(words.split(), 1)]
    return ("# text = x\n" + "\n".join(lines) + "\n\n").encode()


def readers(base: Path) -> list[Reader]:
    """Makes every reader with its sound inputs."""
    rng = np.random.default_rng(0)
    tables = (b"a,b,c\n1,2,3\n4,5,6\n7,8,9\n", b"1;2\n3;4\n")
    labels = (*tables, b"a\tkind\n1\tsun\n2\train\n")
    noise = (3000 * rng.normal(size=200)).astype(np.int16)
    sounds = (
        wav(noise),
        wav(noise.reshape(-1, 2)),
        wav((noise // 256 + 128).astype(np.uint8)),
        wav((noise / 32768).astype(np.float32)),
    )
    chorales = json.dumps(
        {part: [[[60, 64, 67, -1], [62, 65], []]] for part in ("train", "valid", "test")}
    ).encode()
    splice = b"Class,Donor,Sequence\n" + b"".join(
        f"{c}, D{i}, {'ACGT' * 15}\n".encode() for i, c in enumerate(("EI", "IE", "N"))
    )
    config = regression.configure(task="sine")
    settings = dataclasses.asdict(config)
    entry = base / "sound.npz"
    data.write_entry(entry, "key", {"x": np.arange(5)})
    vocabulary = data.build_vocabulary(["one two three two"], 10).to_json().encode()
    words = data.build_word_vocabulary(["one two three two"]).to_json().encode()
    rows = b'{"kind": "step", "seed": 0, "loss": 0.5}\n{"kind": "epoch", "seed": 0, "val": null}\n'

    def table(path: Path) -> None:
        for missing in data.MISSING:
            with contextlib.suppress(data.DataError):
                data.read_table(path, missing=missing)
        data.read_table(path)

    def resumed(path: Path) -> None:
        train.open_run(path.parent, settings, resume=True).metrics()

    def asked(path: Path) -> None:
        (path.parent / "result.json").write_text("{}")
        finished.open_finished(path.parent, regression.Config)

    def run(path: Path) -> None:
        run = train.RunFolder(path.parent, settings)
        run.rewind_metrics(0, 1)

    def pairs(path: Path) -> None:
        for part in ("train", "val", "test"):
            (path.parent / f"{part}.tgt").write_text("eins zwei\ndrei\n")
            (path.parent / f"{part}.src").write_bytes(path.read_bytes())
        data.load_parallel_folder(path.parent, "src", "tgt")

    def cached(path: Path) -> None:
        data.read_entry(path, "key", lambda line: None)
        for aside in path.parent.glob("*.damaged*"):
            aside.unlink()

    def half_cheetah(path: Path) -> None:
        for number in range(25):
            link = path.parent / f"trace_{number:04d}.npy"
            if not link.exists():
                link.symlink_to(path)
        data.load_half_cheetah(path.parent)

    return [
        Reader("text", "text.txt", ("a text\nof lines, é\n".encode(),), data.read_text),
        Reader("table", "table.csv", tables, table),
        Reader("labels", "labels.csv", labels, data.read_labels),
        Reader("wav", "sound.wav", sounds, data.read_wav),
        Reader("conllu", "x.conllu", (conllu("a b"), conllu("c") * 2), data.read_conllu),
        Reader(
            "chorales",
            "Jsb16thSeparated.json",
            (chorales,),
            lambda path: data.load_chorales(path.parent),
        ),
        Reader("splice", "splice.csv", (splice,), lambda path: data.load_splice(path.parent)),
        Reader("half_cheetah", "sound.npy", (npy(rng.normal(size=(60, 17))),), half_cheetah),
        Reader("pairs", "sound.txt", (b"one two\nthree\n",), pairs),
        Reader("vocabulary", "v.json", (vocabulary,), data.Vocabulary.load),
        Reader("text_vocabulary", "v.json", (words,), data.TextVocabulary.load),
        Reader("cache", "entry.npz", (entry.read_bytes(),), cached),
        Reader("config", "config.json", (json.dumps(settings).encode(),), resumed),
        Reader("asked", "config.json", (json.dumps(settings).encode(),), asked),
        Reader("metrics", "metrics.jsonl", (rows,), run),
        Reader(
            "result",
            "result.json",
            (b'{"metrics": {"test_mse": {"mean": 0.5}}}',),
            lambda path: train.RunFolder(path.parent, {}).result(),
        ),
        Reader(
            "data_hash",
            "data.json",
            (b'{"sha256": "ab"}',),
            lambda path: train.RunFolder(path.parent, {}).claim_data("ab"),
        ),
    ]


def spoilt(sound: tuple[bytes, ...], rng: random.Random) -> bytes:
    """Returns a sound input with one to six faults, or noise."""
    if rng.random() < 0.02:
        return rng.randbytes(rng.randrange(200))
    content = bytearray(rng.choice(sound))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        place = rng.randrange(len(content) + 1)
        behind = min(len(content), place + rng.choice((1, 1, 2, 4, 16, 100)))
        match rng.randrange(7):
            case 0 if content:
                content[min(place, len(content) - 1)] ^= 1 << rng.randrange(8)
            case 1:
                del content[place:behind]
            case 2:
                content[place:place] = content[place:behind] * rng.choice((1, 2, 30))
            case 3:
                content[place:place] = rng.choice(PIECES)
            case 4:
                content[place:behind] = rng.choice(PIECES)
            case 5:
                other = rng.choice(sound)
                content[place:] = other[rng.randrange(len(other) + 1) :]
            case _:
                del content[place:]
    return bytes(content)


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in what takes longer."""

    def late(*_: object) -> None:
        raise TimeoutError(f"took more than {seconds} s")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def fuzz(reader: Reader, folder: Path, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Feeds a reader; returns how often it said what, and the findings."""
    rng = random.Random(f"{seed} {reader.name}")
    file, outcomes, findings = folder / reader.file, Counter(), []
    seen = set()
    for content in reader.sound:  # or the faults below would be nobody's
        file.write_bytes(content)
        reader.read(file)
    for _ in range(count):
        content = spoilt(reader.sound, rng)
        file.write_bytes(content)
        try:
            with at_most(1.0):
                reader.read(file)
            outcomes["accepted"] += 1
        except DOCUMENTED as error:
            outcomes[type(error).__name__] += 1
        except Exception as error:
            outcomes["finding"] += 1
            frame = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"
            if kind not in seen:
                seen.add(kind)
                shown = content if len(content) < 300 else content[:200] + b" ... " + content[-80:]
                findings.append(f"{reader.name}: {kind}: {error}\n  input {shown!r}")
    return outcomes, findings


def define() -> None:
    """Defines the flags; not on import, since tests import this file into their own process."""
    flags.DEFINE_integer("inputs", 20_000, "spoilt files, over all readers", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "draws the inputs")
    flags.DEFINE_list("readers", [], "names of readers; all by default")
    flags.DEFINE_float("memory_gib", 8, "address space of the process")


def main(_: list[str]) -> None:
    """Fuzzes and reports."""
    limit = int(FLAGS.memory_gib * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    total, findings = 0, []
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        chosen = [r for r in readers(base) if not FLAGS.readers or r.name in FLAGS.readers]
        for index, reader in enumerate(chosen):
            count = FLAGS.inputs // len(chosen) + (index < FLAGS.inputs % len(chosen))
            (base / reader.name).mkdir()
            began = time.monotonic()
            outcomes, found = fuzz(reader, base / reader.name, count, FLAGS.seed)
            said = ", ".join(f"{kind} {number:,}" for kind, number in sorted(outcomes.items()))
            seconds = time.monotonic() - began
            print(f"{reader.name}: {count:,} inputs, {seconds:.0f} s: {said}", flush=True)
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
