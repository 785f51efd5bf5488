"""Asks a finished run about a user's own file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.finished import open_finished, read_saved, saved_names, saved_vector
from experiments.regression.config import Config
from experiments.regression.model import model_functions
from experiments.regression.task import Scales, Task
from experiments.tables import read_table
from seqjax import data, train
from seqjax.data._sequences import padded
from seqjax.train._files import replace_file

ASKS = "a file to ask a finished run of --task=csv about"

_ROWS_AT_ONCE = 256


class Saved(NamedTuple):
    """What predicting needs beside the parameters; `save_scales` writes it.

    Attributes:
      scales: units of the network's inputs and outputs.
      input_names: columns that are read.
      target_names: columns that are predicted.
      num_classes: 0 where they are numbers.
      target_shape: of the answers to one sequence.
      fill: numbers for empty cells, one for each of `input_names`; may be empty.
    """

    scales: Scales
    input_names: tuple[str, ...]
    target_names: tuple[str, ...]
    num_classes: int
    target_shape: tuple[int, ...]
    fill: np.ndarray


def save_scales(path: Path, task: Task) -> None:
    """Leaves in the run folder what predicting needs beside the parameters."""
    about = {
        **{name: values.tolist() for name, values in task.scales._asdict().items()},
        "input_names": task.input_names,
        "target_names": task.target_names,
        "num_classes": task.num_classes,
        "target_shape": task.sample.targets.shape[1:],
        "fill": task.fill,
    }
    replace_file(path / "scales.json", json.dumps(about, indent=2) + "\n")


def load_scales(path: Path) -> Saved:
    """Reads what `save_scales` wrote.

    Raises:
      RunError: if the file is missing or damaged.
    """
    return read_saved(path / "scales.json", _saved)


def _saved(about: dict[str, Any]) -> Saved:
    units = {name: saved_vector(about[name]) for name in Scales._fields}
    scales = Scales(**{**units, "columns": saved_vector(about["columns"], np.int32)})
    num_classes = int(saved_vector([about["num_classes"]], np.int32)[0])
    shape = saved_vector(about["target_shape"], np.int32)
    saved = Saved(
        scales,
        saved_names(about["input_names"]),
        saved_names(about["target_names"]),
        num_classes,
        tuple(shape.tolist()),
        saved_vector(about["fill"], np.float64),
    )
    inputs = len(scales.input_mean)
    if len(scales.input_std) != inputs or len(scales.output_std) != len(scales.output_mean):
        raise ValueError("a mean and a standard deviation of each variable are required")
    if any((scales.columns < 0) | (scales.columns >= inputs)):
        raise ValueError(f"columns must be among {inputs}, got {scales.columns.tolist()}")
    if len(saved.fill) not in (0, len(saved.input_names)):
        raise ValueError(f"{len(saved.input_names)} or no numbers to fill cells are required")
    if num_classes < 0 or any(shape < 1):
        raise ValueError("num_classes must be at least 0 and target_shape at least 1")
    return saved


def predict(path: str | Path, file: str | Path) -> list[dict[str, float]]:
    """Foretells what follows a series, or answers each row of a file; the mean over the seeds.

    Args:
      path: folder of a finished run of the task csv.
      file: table with the columns the run was trained on. Of a series its last rows, as many as
        the lookback, are read, of each group where the run had groups; of rows the answer's column
        may be missing.

    Returns:
      A record for each step of the forecast, or for each row: name to value; of a binary class
      the probability of 1.

    Raises:
      RunError: if there is no finished run of the task csv in the folder, or it is damaged.
      DataError: if the file cannot be read, lacks a column, or is shorter than the lookback.
    """
    run = open_finished(path, Config)
    config, path = run.config, run.folder.path
    if config.task != "csv":
        raise train.RunError(
            f"--predict needs a run of --task=csv, and that in {path} is of {config.task}."
        )
    saved = load_scales(path)
    table = read_table(config, str(file), columns=saved.input_names)
    if len(saved.fill):
        table = table.filled(saved.fill)
    if config.csv_layout == "series":
        steps = [rows[-config.lookback :] for rows in table.sequences]
        shortest = min(map(len, steps))
        if shortest < config.lookback:
            raise data.DataError(
                f"--predict needs a file of at least --lookback={config.lookback} rows"
                f"{' of each sequence' if table.groups else ''}, got {shortest} in {file}."
            )
    elif table.groups:
        steps = table.sequences
    else:
        steps = list(table.values.reshape(len(table.values), -1, config.features))
    asked = padded(steps)
    shape = (1, *saved.target_shape)
    functions = model_functions(config, saved.scales, saved.num_classes, shape)
    apply = jax.jit(functions.apply)
    found = []
    for params in run.params(functions):
        batches = data.sequence_batches(asked, min(_ROWS_AT_ONCE, len(steps)))
        answers = np.concatenate([jax.device_get(apply(params, batch)) for batch in batches])
        answers = answers[: len(steps)].astype(np.float64)
        found.append(1 / (1 + np.exp(-answers)) if saved.num_classes else answers)
    mean = np.mean(found, axis=0)
    rows = mean.reshape(-1, len(saved.target_names))
    return [dict(zip(saved.target_names, row, strict=True)) for row in rows.tolist()]


def answer_lines(workdir: str, file: str) -> Iterator[str]:
    """Yields the answers as lines of a table."""
    rows = predict(workdir, file)
    yield ",".join(rows[0])
    for row in rows:
        yield ",".join(f"{value:.6g}" for value in row.values())
