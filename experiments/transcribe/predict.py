"""Asks a finished run which digits are said in a recording."""

import collections
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.finished import open_finished, read_saved, saved_vector
from experiments.transcribe.config import Config
from experiments.transcribe.digit_strings import DigitStrings
from experiments.transcribe.model import BLANK, model_functions
from experiments.transcribe.task import Scales, sequences
from seqjax import data, decode
from seqjax.data._spoken_digits import DIGITS_RATE
from seqjax.train._files import replace_file

ASKS = "a WAV file whose digits the finished run is asked for"

_SHOWN = 5


def save_scales(path: Path, scales: Scales) -> None:
    """Leaves in the run folder what predicting needs beside the parameters."""
    about = {name: values.tolist() for name, values in scales._asdict().items()}
    replace_file(path / "scales.json", json.dumps(about) + "\n")


def load_scales(path: Path) -> Scales:
    """Reads what `save_scales` wrote.

    Raises:
      RunError: if the file is missing or damaged.
    """

    def make(about: dict[str, Any]) -> Scales:
        scales = Scales(**{name: saved_vector(about[name]) for name in Scales._fields})
        if len(scales.mean) != len(scales.std):
            raise ValueError("a mean and a standard deviation of each feature are required")
        return scales

    return read_saved(path / "scales.json", make)


def predict(path: str | Path, file: str | Path) -> list[tuple[str, float]]:
    """Returns the most probable strings of digits that are said in a recording.

    Every seed searches by itself; the probability of a string is its mean over the seeds.

    Args:
      path: folder of a finished run.
      file: WAV file of 8,000 samples a second.

    Returns:
      At most five strings with their probabilities, the most probable first.

    Raises:
      RunError: if there is no finished run in the folder, or it is damaged.
      DataError: if the file cannot be read or has another rate.
    """
    run = open_finished(path, Config)
    config = run.config
    scales = load_scales(run.folder.path)
    samples = data.read_wav(file, rate=DIGITS_RATE).samples
    none = np.zeros((1, config.max_digits), np.int32)
    asked = sequences(config, scales, DigitStrings([samples], none))
    (batch,) = data.ragged_batches(asked, 1, asked.lengths.tolist())
    functions = model_functions(config)
    apply = jax.jit(functions.apply)
    found: dict[str, float] = collections.defaultdict(float)
    for params in run.params(functions):
        log_probs = jax.device_get(apply(params, batch))[0]
        for symbols, log_prob in decode.ctc_beam_search(log_probs, config.beam_width, BLANK):
            text = "".join(str(symbol - 1) for symbol in symbols)
            found[text] += math.exp(log_prob) / config.seeds
    return sorted(found.items(), key=lambda item: -item[1])[:_SHOWN]


def answer_lines(workdir: str, file: str) -> Iterator[str]:
    """Yields the answers as lines of a table."""
    rows = predict(workdir, file)
    yield "digits,probability"
    for text, probability in rows:
        yield f"{text},{probability:.4f}"
