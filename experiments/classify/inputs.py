"""From an example as it is found to the array a network reads, and back from a run folder."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.batches import truncate
from experiments.classify.config import Config
from experiments.features import stack_steps
from experiments.finished import read_saved, saved_names, saved_vector
from seqjax import data
from seqjax.train._files import replace_file

DNA, SOUND, ROWS, WORDS = "dna", "sound", "rows", "words"


@dataclasses.dataclass(frozen=True)
class Inputs:
    """How examples become arrays, beside the settings.

    Attributes:
      kind: what an example is: `dna`, its letters; `sound`, samples; `rows`, numbers; `words`, a
        text.
      classes: their names.
      mean: of every feature of the training part, (D,); empty for words.
      std: standard deviations, of the same shape.
      steps: steps of every sequence where all have as many, else 0.
      rate: samples a second of sound, else 0.
      columns: names of the numbers in a row; empty otherwise.
      fill: numbers for empty cells, one for each column; may be empty.
      vocabulary: words to ids as JSON; empty otherwise.
    """

    kind: str
    classes: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    steps: int = 0
    rate: int = 0
    columns: tuple[str, ...] = ()
    fill: tuple[float, ...] = ()
    vocabulary: str = ""

    @property
    def in_size(self) -> int:
        """Features of a step, or of words the number of ids."""
        if self.kind == WORDS:
            return len(data.Vocabulary.from_json(self.vocabulary))
        return len(self.mean)

    def arrays(self, config: Config, examples: Sequence[Any]) -> list[np.ndarray]:
        """Returns examples as a network reads them.

        Args:
          config: the settings.
          examples: of this kind.

        Returns:
          Features in standard units, (T, D) float32, or ids, (T,) int32, of each.
        """
        found = encode(config, self.kind, examples, self.vocabulary)
        if self.kind == WORDS:
            return found
        return [(steps - self.mean[None]) / self.std[None] for steps in found]

    def save(self, path: Path) -> None:
        """Writes what `load` reads to `inputs.json` in a folder."""
        about = {
            **dataclasses.asdict(self), "mean": self.mean.tolist(), "std": self.std.tolist(),
        }  # fmt: skip
        replace_file(path / "inputs.json", json.dumps(about) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Inputs":
        """Reads what `save` wrote.

        Raises:
          RunError: if the file is missing or damaged.
        """
        return read_saved(path / "inputs.json", _inputs)


def _inputs(about: dict[str, Any]) -> Inputs:
    """Returns what `Inputs.save` wrote."""
    steps, rate = saved_vector([about["steps"], about["rate"]], np.int32).tolist()
    kind, vocabulary = saved_names([about["kind"], about["vocabulary"]])
    inputs = Inputs(
        kind,
        saved_names(about["classes"]),
        saved_vector(about["mean"]),
        saved_vector(about["std"]),
        steps,
        rate,
        saved_names(about["columns"]),
        tuple(saved_vector(about["fill"], np.float64).tolist()),
        vocabulary,
    )
    if kind not in (DNA, SOUND, ROWS, WORDS) or min(steps, rate) < 0:
        raise ValueError(f"no kind of examples: {kind!r} in {steps} steps at {rate} a second")
    if len(inputs.fill) not in (0, len(inputs.columns)):
        raise ValueError(f"{len(inputs.columns)} or no numbers to fill cells are required")
    if len(inputs.mean) != len(inputs.std) or inputs.in_size < 1:
        raise ValueError("a mean and a standard deviation of each feature are required")
    return inputs


def make_inputs(
    config: Config, kind: str, classes: Sequence[str], training: Sequence[Any], **about: Any
) -> Inputs:
    """Measures the training examples.

    Args:
      config: the settings.
      kind: what an example is.
      classes: their names.
      training: the training examples.
      **about: `rate` and `columns`, where there are any.

    Returns:
      How examples become arrays; `steps` is left to the caller, who knows all examples.
    """
    classes, none = tuple(classes), np.zeros(0, np.float32)
    if kind == WORDS:
        vocabulary = data.build_vocabulary(training, config.vocab_size).to_json()
        return Inputs(kind, classes, none, none, vocabulary=vocabulary, **about)
    steps = encode(config, kind, training, "")
    mean, std = data.RaggedSequences(steps, np.zeros(len(steps))).moments()
    return Inputs(kind, classes, mean, std, **about)


def encode(config: Config, kind: str, examples: Sequence[Any], vocabulary: str) -> list[np.ndarray]:
    """Returns examples as arrays in their own units; see `Inputs.arrays`."""
    if kind == WORDS:
        ids = data.Vocabulary.from_json(vocabulary).encode(examples)
        return [truncate(each, config.max_length, "both") for each in ids]
    return [
        stack_steps(features(config, kind, each), config.stack, config.stride) for each in examples
    ]


def features(config: Config, kind: str, example: Any) -> np.ndarray:
    """Returns an example as features (T, D) before steps are put beside each other."""
    match kind:
        case "dna":
            return data.encode_dna(example)
        case "sound":
            return data.log_mel(example.samples, example.rate, num_mels=config.num_mels)
        case _:
            steps = np.asarray(example, np.float32)
            return steps if steps.ndim == 2 else steps.reshape(-1, config.features)
