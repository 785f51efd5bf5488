"""Asks a finished run about a user's own file."""

import json
from pathlib import Path

import jax
import numpy as np

from experiments.finished import open_finished
from experiments.regression.config import Config
from experiments.regression.model import model_functions
from experiments.regression.task import Scales, Task, read_csv
from seqjax import data, train

_ROWS_AT_ONCE = 256


def save_scales(path: Path, task: Task) -> None:
    """Leaves in the run folder what predicting needs beside the parameters."""
    about = {
        **{name: values.tolist() for name, values in task.scales._asdict().items()},
        "input_names": task.input_names,
        "target_names": task.target_names,
        "num_classes": task.num_classes,
        "target_shape": task.sample.targets.shape[1:],
    }
    train.replace_file(path / "scales.json", json.dumps(about, indent=2) + "\n")


def predict(path: str | Path, file: str | Path) -> list[dict[str, float]]:
    """Foretells what follows a series, or answers each row of a file; the mean over the seeds.

    Args:
      path: folder of a finished run of the task csv.
      file: table with the columns the run was trained on. Of a series its last rows, as many as
        the lookback, are read; of rows the answer's column may be missing.

    Returns:
      A record for each step of the forecast, or for each row: name to value; of a binary class
      the probability of 1.

    Raises:
      RunError: if there is no finished run of the task csv in the folder.
      DataError: if the file cannot be read, lacks a column, or is shorter than the lookback.
    """
    run = open_finished(path, Config)
    config, path = run.config, run.folder.path
    if config.task != "csv":
        raise train.RunError(
            f"--predict needs a run of --task=csv, and that in {path} is of {config.task}."
        )
    about = json.loads((path / "scales.json").read_text("utf-8"))
    units = {name: np.array(about[name], np.float32) for name in Scales._fields}
    scales = Scales(**{**units, "columns": np.array(about["columns"], np.int32)})
    table = read_csv(config, str(file), tuple(about["input_names"]))
    inputs = table.values.astype(np.float32)
    if config.csv_layout == "rows":
        inputs = inputs.reshape(len(inputs), -1, config.features)
    elif len(inputs) < config.lookback:
        raise data.DataError(
            f"--predict needs a file of at least --lookback={config.lookback} rows, got "
            f"{len(inputs)} in {file}."
        )
    else:
        inputs = inputs[None, -config.lookback :]
    functions = model_functions(config, scales, about["num_classes"], (1, *about["target_shape"]))
    apply = jax.jit(functions.apply)
    sequences = data.make_sequences(inputs, np.zeros(len(inputs), np.float32))
    found = []
    for params in run.params(functions):
        batches = data.sequence_batches(sequences, min(_ROWS_AT_ONCE, len(inputs)))
        answers = np.concatenate([jax.device_get(apply(params, batch)) for batch in batches])
        answers = answers[: len(inputs)].astype(np.float64)
        found.append(1 / (1 + np.exp(-answers)) if about["num_classes"] else answers)
    mean = np.mean(found, axis=0)
    rows = mean[0] if config.csv_layout == "series" else mean.reshape(len(inputs), -1)
    return [dict(zip(about["target_names"], row, strict=True)) for row in rows.tolist()]
