"""Run folders of strangers: settings, metrics, results, what predicting needs, checkpoints."""

import contextlib
import dataclasses
import io
import json
import random
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import (
    classify,
    finished,
    generate,
    imdb,
    regression,
    tagging,
    transcribe,
    translate,
)
from experiments.cells import keep_code
from experiments.classify.inputs import Inputs
from experiments.generate.predict import load_alphabet
from experiments.imdb.cache import write_entry
from experiments.imdb.linear import ORDER, linear_logits, load_linear
from experiments.imdb.predict import load_weights
from experiments.regression.predict import load_scales
from experiments.tagging.vocabulary import Vocabulary
from experiments.transcribe.predict import load_scales as load_frame_scales
from fuzzing.command_lines import MODULE
from fuzzing.faults import WEIGHTS, spoilt, spoilt_nest
from fuzzing.reader import Reader, drawn
from seqjax import data, train
from seqjax.train._checkpoints import Checkpoints, Position

EXPERIMENTS = (classify, generate, imdb, regression, tagging, transcribe, translate)


def run_readers(base: Path) -> list[Reader]:
    """Makes every reader of a run folder."""
    config = regression.configure(task="sine")
    settings = dataclasses.asdict(config)
    place = {"seed": 0, "epoch": 1, "step": 1, "wall_s": 0.5}
    rows = _json({"kind": "step", **place, "loss": 0.5}) + b"\n"
    rows += _json({"kind": "epoch", **place, "val": None}) + b"\n"
    unit = {"input_mean": [0.5, 1.0], "input_std": [1.0, 2.0]}
    scales = {**unit, "output_mean": [0.0], "output_std": [1.0], "columns": [1]}
    scales |= {"input_names": ["a", "b"], "target_names": ["b"], "num_classes": 0}
    scales |= {"target_shape": [2, 1], "fill": [0.0, 1.0]}
    rows_seen = Inputs("rows", ("a", "b"), np.zeros(2), np.ones(2), columns=("x", "y"))
    vocabulary = data.build_vocabulary(["one two"], 10).to_json()
    words_seen = Inputs("words", ("a", "b"), np.zeros(0), np.zeros(0), vocabulary=vocabulary)
    tags = Vocabulary(["one", "two"], ["o", "n"], ["-e"], ["NOUN", "VERB"])
    weight = {"mean": 0.5, "ci95": [None, None], "per_seed": [0.5]}
    weights = {"metrics": {"network_weight": weight, "linear_weight": weight}}
    saved = {}
    for name, save in (("rows", rows_seen.save), ("words", words_seen.save), ("tags", tags.save)):
        save(base / name)
        saved[name] = next((base / name).iterdir()).read_bytes()

    def resumed(path: Path) -> None:
        train.open_run(path.parent, settings, resume=True).metrics()

    def run(path: Path) -> None:
        train.RunFolder(path.parent, settings).rewind_metrics(0, step=1, rows=1)

    def kept_code(path: Path) -> None:
        kept = path.parent / "code" / f"{MODULE}.py"
        kept.parent.mkdir(exist_ok=True)
        kept.write_bytes(path.read_bytes())
        keep_code(f"{MODULE}:minimal", path.parent)

    code = (base / f"{MODULE}.py").read_bytes()
    return [
        Reader("config", "config.json", (_json(settings),), resumed),
        *(_asked(experiment) for experiment in EXPERIMENTS),
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
        _of_folder("scales", "scales.json", (_json(scales),), load_scales),
        _of_folder("frame_scales", "scales.json", (_json({"mean": [0.5], "std": [2]}),),
                   load_frame_scales),
        _of_folder("inputs", "inputs.json", (saved["rows"], saved["words"]), Inputs.load),
        _of_folder("tags", "vocabulary.json", (saved["tags"], _json(tags._asdict())),
                   Vocabulary.load),
        _of_folder("alphabet", "alphabet.txt", ("ab\n é".encode(),), load_alphabet),
        _of_folder("weights", "result.json", (_json(weights),), lambda path: load_weights(path, 1)),
        Reader("kept_code", "code.py", (code,), kept_code),
        _linear(base),
        _checkpoints(base),
    ]  # fmt: skip


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _of_folder(name: str, file: str, sound: tuple[bytes, ...], read: Any) -> Reader:
    """Returns a reader that receives the folder of its file."""
    return Reader(name, file, sound, lambda path: read(path.parent))


def _asked(experiment: Any) -> Reader:
    """Returns what opens a finished run of an experiment."""
    name = experiment.__name__.rpartition(".")[2]
    sound = _json(dataclasses.asdict(experiment.configure()))

    def read(path: Path) -> None:
        (path.parent / "result.json").touch()
        finished.open_finished(path.parent, experiment.Config)

    return Reader(f"asked_{name}", "config.json", (sound,), read, weight=0.3)


def _linear(base: Path) -> Reader:
    """Returns what reads and asks a linear model whose arrays are spoilt, and its hash right."""
    sound = {
        "vocabulary": np.frombuffer(data.build_vocabulary(["one two"], 9).to_json().encode(), "u1"),
        "num_tokens": np.array(4),
        **{f"keys_{order}": np.arange(order) for order in range(1, ORDER + 1)},
        "weights": np.ones(sum(range(1, ORDER + 1)), np.float32),
        "bias": np.array(0.5),
        "scale": np.array(2.0),
    }

    def act(rng: random.Random | None) -> None:
        arrays = sound
        if rng:
            spoiled = spoilt_nest(sound, rng, WEIGHTS)
            entries = spoiled.items() if isinstance(spoiled, dict) else ()
            arrays = {
                name: array
                for name, array in entries
                if isinstance(array, np.ndarray) and isinstance(name, str) and _storable(name)
                and array.dtype.kind in "biufc"
            }  # fmt: skip
        path = base / "linear.npz"
        write_entry(path, "linear", arrays)
        linear_logits(load_linear(path), ["one two one"])

    return drawn("linear", act, weight=0.1)


def _storable(name: str) -> bool:
    """Says whether an array of this name can be stored: it is that of a file in an archive."""
    return name.isprintable() and name not in ("checksum", "file", "allow_pickle", "entry", "key")


def _checkpoints(base: Path) -> Reader:
    """Returns what restores two checkpoints, a file of which is spoilt, exchanged or missing."""
    settings, folder = {"rate": 0.1}, base / "checkpoints"
    like = {"w": jnp.ones((3, 2)), "key": jax.random.key(1)}
    checkpoints, position = Checkpoints(folder, settings), Position()
    for _ in range(2):
        checkpoints.save({"state": like, "best": like}, position)
    checkpoints.close()
    files = [path for path in folder.rglob("*") if path.is_file()]
    files.sort(key=lambda path: (path.parent, path.stat().st_size, path))  # some names are random
    sound = {path: path.read_bytes() for path in files}
    told = [path for path in files if path.parent.name == "about"]

    def act(rng: random.Random | None) -> None:
        if rng:
            path = rng.choice(files if rng.random() < 0.7 else told)
            match rng.randrange(8):
                case 0:
                    path.unlink()
                case 1:
                    path.write_bytes(sound[rng.choice(files)])
                case 2:
                    shutil.rmtree(path.parent)
                case _:
                    path.write_bytes(spoilt((sound[path],), rng))
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # which tells what is set aside
                opened = Checkpoints(folder, settings)
                with contextlib.closing(opened):
                    if not opened.empty:
                        opened.restore({"best": like}, resume=not rng or rng.random() < 0.5)
        finally:
            shutil.rmtree(folder)
            for path, content in sound.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

    return drawn("checkpoints", act, weight=0.1)
