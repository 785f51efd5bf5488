"""Files of data: published ones and a user's own."""

import contextlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from experiments import classify, regression
from experiments.classify.task import read_csv
from experiments.imdb.cache import read_entry, write_entry
from experiments.regression.task import load_task
from fuzzing.reader import Reader
from seqjax import data
from seqjax.data import _imdb_reviews as imdb_reviews
from seqjax.data._table import MISSING, read_table
from seqjax.data._text_file import read_text


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


def archive(names: dict[str, bytes]) -> bytes:
    """Returns a compressed archive."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in names.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    return file.getvalue()


def ts(sequences: str) -> bytes:
    """Returns a file of the UEA archive."""
    return f"@problemName x\n@classLabel true a b\n@data\n{sequences}\n".encode()


def conllu(words: str) -> bytes:
    """Returns a tagged sentence."""
    lines = [f"{i}\t{w}\t{w}\tNOUN\tNN\t_\t0\troot\t_\t_" for i, w in enumerate(words.split(), 1)]
    return ("# text = x\n" + "\n".join(lines) + "\n\n").encode()


def table(path: Path) -> None:
    """Reads a table in every way."""
    for missing in MISSING:
        with contextlib.suppress(data.DataError):
            data.read_table(path, missing=missing)
    data.read_table(path)


def pairs(path: Path) -> None:
    """Reads sentences and their translations."""
    for part in ("train", "val", "test"):
        translations = path.parent / f"{part}.tgt"
        if not translations.exists():
            translations.write_text("eins zwei\ndrei\n")
            (path.parent / f"{part}.src").symlink_to(path)
    data.load_parallel_folder(path.parent, "src", "tgt")


def half_cheetah(path: Path) -> None:
    """Reads traces, all the same."""
    for number in range(25):
        link = path.parent / f"trace_{number:04d}.npy"
        if not link.exists():
            link.symlink_to(path)
    data.load_half_cheetah(path.parent)


def rows(path: Path) -> None:
    """Makes tasks of a user's table: a class or a number in each row."""
    for kind in ("binary", "numeric"):
        config = regression.configure(
            task="csv", path=str(path), csv_layout="rows", target_kind=kind, features=2
        )
        with contextlib.suppress(data.DataError) if kind == "binary" else contextlib.nullcontext():
            load_task(config)


def file_readers(base: Path) -> list[Reader]:
    """Makes every reader of data."""
    rng = np.random.default_rng(0)
    tables = (b"a,b,c\n1,2,3\n4,5,6\n7,8,9\n", b"1;2\n3;4\n")
    labels = (b'kind,a\nsun,1\n"rain",2\n', b"a\tkind\n1\tsun\n2\train\n")
    series = b"a,b\n" + b"".join(b"%d,%d.5\n" % (i % 3, i) for i in range(20))
    examples = b"a,b,y\n" + b"".join(b"%d,%d.5,%d\n" % (i, -i, i % 2) for i in range(8))
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
    traces = (npy(rng.normal(size=(60, 17))),)
    reviews = archive(
        {f"aclImdb/{s}/{c}/0_1.txt": b"a text" for s in ("train", "test") for c in ("neg", "pos")}
    )
    entry = base / "sound.npz"
    write_entry(entry, "key", {"x": np.arange(5)})
    vocabulary = data.build_vocabulary(["one two two three"], 10).to_json().encode()
    words = data.build_word_vocabulary(["one two three two"]).to_json().encode()
    pieces = data.build_subword_vocabulary(["low lower", "low slow"], 13).to_json().encode()

    def cached(path: Path) -> None:
        read_entry(path, "key", lambda line: None)
        for aside in path.parent.glob("*.damaged*"):
            aside.unlink()

    def forecast(path: Path) -> None:
        load_task(regression.configure(task="csv", path=str(path), lookback=2, horizon=1))

    def kinds(path: Path) -> None:
        read_csv(classify.configure(task="csv", path=str(path)), lambda line: None)

    return [
        Reader("text", "text.txt", ("a text\nof lines, é\n".encode(),), read_text),
        Reader("table", "table.csv", tables, table, weight=0.5),
        Reader("labels", "labels.csv", labels, lambda path: read_table(path, label_column="kind")),
        Reader("csv_series", "table.csv", (series,), forecast),
        Reader("csv_rows", "table.csv", (examples,), rows, weight=0.5),
        Reader("csv_classes", "table.csv", (labels[-1], examples), kinds),
        Reader("wav", "sound.wav", sounds, data.read_wav),
        Reader("conllu", "x.conllu", (conllu("a b"), conllu("c") * 2), data.read_conllu),
        Reader("ts", "x.ts", (ts("1,2:3,4:b"), ts("1:?:a\n2:3:b")), data.read_ts),
        Reader(
            "chorales",
            "Jsb16thSeparated.json",
            (chorales,),
            lambda path: data.load_chorales(path.parent),
        ),
        Reader("splice", "splice.csv", (splice,), lambda path: data.load_splice(path.parent)),
        Reader("half_cheetah", "sound.npy", traces, half_cheetah, weight=0.2),
        Reader("pairs", "sound.txt", (b"one two\nthree\n",), pairs),
        Reader("reviews", "x.tar.gz", (reviews,), imdb_reviews._load_archive),
        Reader(
            "prepared",
            "dataset_info.json",
            (b'{"fileFormat": "array_record"}',),
            lambda path: imdb_reviews._prepared_format(path.parent),
        ),
        Reader("vocabulary", "v.json", (vocabulary,), data.Vocabulary.load),
        Reader("text_vocabulary", "v.json", (words, pieces), data.TextVocabulary.load),
        Reader("cache", "entry.npz", (entry.read_bytes(),), cached),
    ]
