"""Asks a finished run for the class of new examples."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy import special

from experiments.classify.config import Config
from experiments.classify.inputs import DNA, ROWS, SOUND, Inputs
from experiments.classify.model import model_functions
from experiments.classify.ts_files import check_channels
from experiments.finished import open_finished
from experiments.tables import read_table
from seqjax import data
from seqjax.data._text_file import read_text

ASKS = "a file (WAV, CSV, ts, lines) or a text to ask the finished run about"

_AT_ONCE = 64


def predict(path: str | Path, asked: str | Path) -> list[dict[str, float]]:
    """Returns the probability of every class, the mean over the run's seeds.

    Args:
      path: folder of a finished run.
      asked: of a run on sounds a WAV file of the same rate; on rows of numbers a CSV file with the
        same columns, or a .ts file with the same channels, whose classes may be missing; on DNA or
        texts a file with one a line, or the letters or words themselves.

    Returns:
      A record for each example, of rows with `group_column` for each group, in the order of the
      file: name of the class to its probability.

    Raises:
      RunError: if there is no finished run in the folder, or it is damaged.
      DataError: if the file cannot be read or does not suit the run.
    """
    run = open_finished(path, Config)
    config, inputs = run.config, Inputs.load(run.folder.path)
    arrays = inputs.arrays(config, read_asked(config, inputs, str(asked)))
    for number, steps in enumerate(arrays, 1):
        if inputs.steps and len(steps) != inputs.steps:
            raise data.DataError(
                f"--predict: example {number} must have {inputs.steps} steps, as all that the run "
                f"was trained on, got {len(steps)}."
            )
    sequences = data.RaggedSequences(arrays, np.zeros(len(arrays), np.int32))
    functions = model_functions(config, inputs)
    apply = jax.jit(functions.apply)
    batches = data.ragged_batches(
        sequences, min(_AT_ONCE, len(arrays)), [max(1, *sequences.lengths.tolist())]
    )
    found = []
    for params in run.params(functions):
        logits = np.concatenate([jax.device_get(apply(params, batch)) for batch in batches])
        found.append(special.softmax(logits[: len(arrays)].astype(np.float64), axis=-1))
    mean = np.mean(found, axis=0)
    return [dict(zip(inputs.classes, row, strict=True)) for row in mean.tolist()]


def read_asked(config: Config, inputs: Inputs, asked: str) -> Sequence[Any]:
    """Reads examples of the run's kind from a file, or takes the text itself for one."""
    if inputs.kind == SOUND:
        return [data.read_wav(asked, rate=inputs.rate)]
    if inputs.kind == ROWS:
        if config.task == "ts":
            return read_asked_ts(inputs, asked)
        table = read_table(config, asked, columns=inputs.columns)
        if inputs.fill:
            table = table.filled(np.array(inputs.fill))
        return table.sequences if table.groups else list(table.values)
    lines = [asked]
    if os.path.isfile(os.path.expanduser(asked)):  # false of a text too long for a name, too
        lines = [line.strip() for line in read_text(os.path.expanduser(asked)).splitlines()]
        lines = [line for line in lines if line]
    if not lines:
        raise data.DataError(f"--predict needs a file with a line in it, and {asked} is empty.")
    if inputs.kind == DNA:
        for number, line in enumerate(lines, 1):
            data.encode_dna(line, f"--predict, example {number} (no file of that name)"
                            if lines == [asked] else f"{asked}, example {number}")  # fmt: skip
    return lines


def read_asked_ts(inputs: Inputs, asked: str) -> list[np.ndarray]:
    """Reads the sequences of a .ts file, whose classes may be missing."""
    found = data.read_ts(asked).sequences
    check_channels(asked, found, len(inputs.columns))
    if any(np.isnan(steps).any() for steps in found):
        if not inputs.fill:
            raise data.DataError(
                f"ts: {asked} must have no missing numbers: the run was trained without "
                "--missing=mean."
            )
        fill = np.array(inputs.fill)
        found = [np.where(np.isnan(steps), fill[None], steps) for steps in found]
    return found


def answer_lines(workdir: str, asked: str) -> Iterator[str]:
    """Yields the answers as lines of a table."""
    rows = predict(workdir, asked)
    yield ",".join(["answer", *rows[0]])
    for row in rows:
        best = max(row, key=lambda name: row[name])
        yield ",".join([best, *(f"{value:.4f}" for value in row.values())])
