"""The data of the classification experiment: examples, their classes, and who tests."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.classify.class_folders import find_class_folders
from experiments.classify.config import Config
from experiments.classify.inputs import DNA, ROWS, SOUND, WORDS, Inputs, make_inputs
from experiments.classify.motifs import MOTIF_CLASSES, generate_motifs
from experiments.classify.ts_files import read_parts, ts_paths
from experiments.csv_tasks import only_answers
from experiments.splitting import split_validation, text_hashes
from experiments.tables import last_column, read_table, warn_of_ids
from seqjax import data
from seqjax.data._audio import Sound
from seqjax.data._splice import SPLICE_CLASSES
from seqjax.data._spoken_digits import DIGITS_RATE
from seqjax.data._table import Table
from seqjax.data._text_file import read_text


@dataclasses.dataclass(frozen=True)
class Examples:
    """Examples as they are found.

    Attributes:
      name: what results call the data.
      kind: what an example is; see `Inputs`.
      examples: of that kind.
      labels: index of the class of each, int32.
      classes: their names.
      about: further attributes of `Inputs`.
      parts: indices that train, validate and test, where the data says so.
    """

    name: str
    kind: str
    examples: Sequence[Any]
    labels: np.ndarray
    classes: Sequence[str]
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    parts: Sequence[np.ndarray] | None = None


class Task(NamedTuple):
    """The data of one run.

    Attributes:
      name: what results call it.
      inputs: how examples become arrays.
      train: to learn from.
      validation: those that choose the epoch.
      test: those that judge.
      buckets: padded lengths.
      sha256: hash of the data.
    """

    name: str
    inputs: Inputs
    train: data.RaggedSequences
    validation: data.RaggedSequences
    test: data.RaggedSequences
    buckets: list[int]
    sha256: str


def load_task(config: Config, notify: Callable[[str], None] = print) -> Task:
    """Loads or generates what the settings ask for, and splits it.

    Raises:
      DataError: if the data is missing or damaged, or there is too little of it.
    """
    found = READERS[config.task](config, notify)
    parts = found.parts or split(config, found)
    if config.missing == "mean":
        found = filled(found, parts[0])
    chosen = [[found.examples[i] for i in part.tolist()] for part in parts]
    inputs = make_inputs(config, found.kind, found.classes, chosen[0], **found.about)
    train, validation, test = (
        data.RaggedSequences(inputs.arrays(config, examples), found.labels[part])
        for examples, part in zip(chosen, parts, strict=True)
    )
    lengths = np.concatenate([part.lengths for part in (train, validation, test)])
    if lengths.min() == lengths.max():
        inputs = dataclasses.replace(inputs, steps=int(lengths[0]))
    digests = "".join(part.sha256 for part in (train, validation, test))
    return Task(
        name=found.name,
        inputs=inputs,
        train=train,
        validation=validation,
        test=test,
        buckets=data.tight_bucket_lengths(lengths, config.num_buckets),
        sha256=hashlib.sha256(digests.encode()).hexdigest(),
    )


def split(config: Config, found: Examples) -> list[np.ndarray]:
    """Holds examples of every class out, to test and to validate; copies stay on one side."""
    # The network's input, and not the file, says what a copy is; of numbers, their bytes.
    keys = [each if isinstance(each, str) else content(each) for each in found.examples]
    groups = text_hashes(keys)
    rest, test = split_validation(
        found.labels, config.test_fraction, config.split_seed, groups=groups
    )
    train, validation = split_validation(
        found.labels[rest], config.validation_fraction, config.split_seed, groups=groups[rest]
    )
    return [rest[train], rest[validation], test]


def content(example: Any) -> str:
    """Returns the bytes of an example's numbers in hexadecimal."""
    numbers = example.samples if isinstance(example, Sound) else example
    return hashlib.sha256(np.ascontiguousarray(numbers).tobytes()).hexdigest()


def filled(found: Examples, train: np.ndarray) -> Examples:
    """Returns rows of numbers with the training means in place of empty cells."""
    columns = found.about["columns"]
    rows = np.concatenate([np.atleast_2d(found.examples[i]) for i in train.tolist()])
    means = Table(columns, rows).means(slice(None))
    return dataclasses.replace(
        found,
        examples=[np.where(np.isnan(each), means, each) for each in found.examples],
        about={**found.about, "fill": tuple(means.tolist())},
    )


def read_splice(config: Config, notify: Callable[[str], None]) -> Examples:
    """Reads the published splice junctions."""
    found = data.load_splice(config.data_dir)
    return Examples("splice", DNA, found.sequences, found.labels, SPLICE_CLASSES)


def read_generated(config: Config, notify: Callable[[str], None]) -> Examples:
    """Draws sequences of motifs; the draw is the same for every seed."""
    found = generate_motifs(np.random.default_rng(0), config.train_size)
    return Examples("generated motifs", DNA, found.sequences, found.labels, MOTIF_CLASSES)


def read_digits(config: Config, notify: Callable[[str], None]) -> Examples:
    """Reads the published spoken digits with their test part."""
    found = data.load_spoken_digits(config.data_dir, seed=config.split_seed)
    sounds = [Sound(each, DIGITS_RATE) for part in found for each in part.samples]
    ends = np.cumsum([len(part.digits) for part in found])
    return Examples(
        "spoken digits",
        SOUND,
        sounds,
        np.concatenate([part.digits for part in found]),
        [str(digit) for digit in range(10)],
        {"rate": DIGITS_RATE},
        np.split(np.arange(ends[-1]), ends[:-1]),
    )


def read_csv(config: Config, notify: Callable[[str], None]) -> Examples:
    """Reads sequences of numbers with their classes: a row each, or rows of one group."""
    label = config.label_column or last_column(config)
    try:
        table = read_table(config, label_column=label)
    except data.DataError as error:
        if config.label_column is not None:
            raise
        raise data.DataError(
            f"{error} The class is taken from {label}, the last; --label_column names another."
        ) from None
    if len(table.columns) % config.features:
        raise data.DataError(
            f"csv: the columns beside {label} must make steps of --features={config.features} "
            f"numbers, got {len(table.columns)} columns. Change --features."
        )
    warn_of_ids(table, notify)
    words = np.array(table.labels)
    classes, labels = np.unique(only_answers(table, words) if table.groups else words,
                                return_inverse=True)  # fmt: skip
    if len(classes) < 2:
        raise data.DataError(
            f"csv: column {label} of {config.path} must hold two classes or more, got {classes[0]} "
            "alone."
        )
    return Examples(
        f"csv {table.sha256[:8]}",
        ROWS,
        table.sequences if table.groups else list(table.values),
        labels.astype(np.int32),
        classes.tolist(),
        {"columns": table.columns},
    )


def read_folder(config: Config, notify: Callable[[str], None]) -> Examples:
    """Reads a user's folder of sounds or texts, one folder for each class."""
    found = find_class_folders(config.path or "")
    if found.kind == ".txt":
        texts = [read_text(path) for path in found.paths]
        return Examples("folder of texts", WORDS, texts, found.labels, found.classes)
    first = data.read_wav(found.paths[0])
    sounds = [data.read_wav(path, rate=first.rate) for path in found.paths]
    most = most_bands(config.num_mels, first.rate)
    if most < config.num_mels:
        raise data.DataError(
            f"folder: --num_mels={config.num_mels} bands do not fit sounds of {first.rate} samples "
            f"a second. " + (f"Use --num_mels={most}." if most else "No band does: resample them.")
        )
    about = {"rate": first.rate}
    return Examples("folder of sounds", SOUND, sounds, found.labels, found.classes, about)


def most_bands(wanted: int, rate: int) -> int:
    """Returns how many mel bands fit sounds of a rate, at most those wanted.

    Example:
      >>> most_bands(40, 8000), most_bands(40, 1000), most_bands(40, 40)
      (40, 23, 0)
    """
    for number in range(wanted, 0, -1):
        with contextlib.suppress(ValueError):
            data.log_mel(np.zeros(1), rate, num_mels=number)
            return number
    return 0


def read_ts(config: Config, notify: Callable[[str], None]) -> Examples:
    """Reads a training and a test file of the UEA and UCR archives, or one file to be split."""
    parts = read_parts(ts_paths(config.path or ""))
    sequences = [steps for part in parts for steps in part.sequences]
    gaps = sum(bool(np.isnan(steps).any()) for steps in sequences)
    if gaps and config.missing != "mean":
        raise data.DataError(
            f"ts: {gaps} of the {len(sequences)} sequences in {config.path} lack numbers. "
            "--missing=mean puts the training mean of the channel in their place."
        )
    classes = parts[0].classes
    labels = np.array([classes.index(label) for part in parts for label in part.labels], np.int32)
    found = Examples(
        parts[0].name,
        ROWS,
        sequences,
        labels,
        classes,
        {"columns": tuple(f"channel {place + 1}" for place in range(sequences[0].shape[1]))},
    )
    if len(parts) == 1:
        return found
    count = len(parts[0].sequences)
    chosen = split_validation(
        labels[:count],
        config.validation_fraction,
        config.split_seed,
        groups=text_hashes([content(steps) for steps in sequences[:count]]),
    )
    return dataclasses.replace(found, parts=[*chosen, np.arange(count, len(sequences))])


READERS = {
    "splice": read_splice,
    "generated": read_generated,
    "digits": read_digits,
    "csv": read_csv,
    "ts": read_ts,
    "folder": read_folder,
}
