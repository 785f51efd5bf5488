"""The data of the regression experiment: what is seen, what is asked, and in which units."""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from experiments.command_line import ConfigError
from experiments.csv_tasks import row_parts, row_splits, series_splits, series_training_rows
from experiments.memory import refuse_too_large
from experiments.regression.config import GENERATED, Config
from experiments.tables import names_in, read_table, warn_of_ids
from seqjax import data
from seqjax.data._ett import ETT_VARIABLES
from seqjax.data._sequences import Splits
from seqjax.data._table import Table

VALIDATION_SIZE, TEST_SIZE = 512, 2048
_TRAIN, _VALIDATION, _TEST = 1, 2, 3  # streams of random numbers, apart from each other


class Scales(NamedTuple):
    """Units of the network's inputs and outputs, taken from the training part.

    Attributes:
      input_mean: of every input, (D,).
      input_std: of every input.
      output_mean: of every answer, less the last observation where the difference is predicted.
      output_std: of every answer; both (K,).
      columns: which inputs the answers continue, int (K,); empty where they continue none.
    """

    input_mean: np.ndarray
    input_std: np.ndarray
    output_mean: np.ndarray
    output_std: np.ndarray
    columns: np.ndarray


class Task(NamedTuple):
    """The data of one run.

    Attributes:
      name: what results call it.
      train: `train(seed, epoch) -> Sequences`; generated tasks draw new ones for every epoch.
      sample: training sequences that do not change, for scales and floors.
      validation: those that choose the epoch.
      test: those that judge.
      scales: units of the network.
      num_classes: 0 where the answers are numbers, 1 for a binary class.
      input_names: columns of a table, in the order of the inputs; empty otherwise.
      target_names: names of the answers; may be empty.
      fill: what empty cells of the inputs are filled with, a number for each of `input_names`, or
        none where the means of a table are not asked for.
      sha256: hash of the data.
    """

    name: str
    train: Callable[[int, int], data.Sequences]
    sample: data.Sequences
    validation: data.Sequences
    test: data.Sequences
    scales: Scales
    num_classes: int
    input_names: tuple[str, ...]
    target_names: tuple[str, ...]
    fill: tuple[float, ...]
    sha256: str


def load_task(config: Config, notify: Callable[[str], None] = print) -> Task:
    """Loads or generates what the settings ask for.

    Raises:
      DataError: if the data is missing or damaged, or too short.
    """
    input_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    fill: tuple[float, ...] = ()
    name = config.task
    columns = None  # every variable is predicted
    match config.task:
        case "half_cheetah":
            splits = data.load_half_cheetah(config.data_dir, length=config.lookback)
            if config.train_stride != 10:
                dense = data.load_half_cheetah(
                    config.data_dir, length=config.lookback, stride=config.train_stride
                )
                splits = splits._replace(train=dense.train)
        case "ett":
            splits = data.load_ett(
                config.data_dir, lookback=config.lookback, horizon=config.horizon
            ).splits
            name, target_names = "ETTh1", ETT_VARIABLES
        case "smnist" | "psmnist":
            seed = config.permutation_seed if config.task == "psmnist" else None
            splits = data.load_sequential_mnist(config.data_dir, permutation_seed=seed)
            splits = splits._replace(**{
                part: cut_pixels(getattr(splits, part), config.lookback) for part in splits._fields
            })  # fmt: skip
        case "csv":
            table = read_table(config)
            rows = config.csv_layout == "rows"
            inputs = len(table.columns) - rows  # of rows the last column is the answer
            warn_of_ids(table.first(inputs), notify)
            if config.missing == "mean":
                means = table.means(training_rows(config, table))
                means[inputs:] = np.nan  # an answer that is missing is refused
                table, fill = table.filled(means), tuple(means[:inputs].tolist())
            input_names = table.columns[:inputs]
            name = f"csv {table.sha256[:8]}"
            if rows:
                target_names = table.columns[-1:]
                splits = row_splits(
                    table,
                    features=config.features,
                    binary=config.target_kind == "binary",
                    seed=config.split_seed,
                )
            else:
                target_names = names_in(config.target_columns) or table.columns
                splits = series_splits(table, config.lookback, config.horizon, targets=target_names)
                columns = [table.columns.index(column) for column in target_names]
        case _:
            splits = Splits(
                draw(config, [0, 0, _TRAIN], config.train_size),
                draw(config, [0, 0, _VALIDATION], VALIDATION_SIZE),
                draw(config, [0, 0, _TEST], TEST_SIZE),
            )
    digests = "".join(part.sha256 for part in splits)

    def train(seed: int, epoch: int) -> data.Sequences:
        if config.task in GENERATED:
            return draw(config, [seed, epoch, _TRAIN], config.train_size)
        return splits.train

    return Task(
        name=name,
        train=train,
        sample=splits.train,
        validation=splits.validation,
        test=splits.test,
        scales=make_scales(config, splits.train, columns),
        num_classes=0 if config.numeric else 1 if config.target_kind == "binary" else 10,
        input_names=input_names,
        target_names=target_names,
        fill=fill,
        sha256=hashlib.sha256(digests.encode()).hexdigest(),
    )


def draw(config: Config, seed: list[int], size: int) -> data.Sequences:
    """Draws sequences of a generated task."""
    rng = np.random.default_rng(seed)
    length = config.lookback
    refuse_too_large(f"{size} sequences of --lookback={length}", 8 * size * length)
    match config.task:
        case "narma10":
            return data.narma10(rng, size, length)
        case "adding":
            return data.adding(rng, size, length)
        case "sine":
            series = data.sine(rng, size, length + config.horizon, noise=config.noise)
        case "mackey_glass":
            series = data.mackey_glass(rng, size, length + config.horizon)
        case _:
            series = data.lorenz(rng, size, length + config.horizon)
    return data.make_sequences(series[:, :length], series[:, length:])


def training_rows(config: Config, table: Table) -> np.ndarray:
    """Returns the rows of a table that train."""
    if config.csv_layout == "series":
        return series_training_rows(table)
    train, _, _ = row_parts(table, seed=config.split_seed)
    if not table.groups:
        return train
    rows = np.split(np.arange(len(table.values)), table.starts[1:])
    return np.concatenate([rows[i] for i in train])


def cut_pixels(sequences: data.Sequences, lookback: int) -> data.Sequences:
    """Returns images cut to their first pixels, for a quick look."""
    if lookback > sequences.inputs.shape[1]:
        raise ConfigError(f"--lookback must be at most 784 pixels, got {lookback}.")
    lengths = np.minimum(sequences.lengths, lookback)
    return sequences._replace(inputs=sequences.inputs[:, :lookback], lengths=lengths)


def make_scales(config: Config, train: data.Sequences, columns: list[int] | None) -> Scales:
    """Measures the training part."""
    steps = np.arange(train.inputs.shape[1]) < train.lengths[:, None]
    mean, std = moments(train.inputs if steps.all() else train.inputs[steps])
    if not config.numeric:
        none = np.zeros(0, np.float32)
        return Scales(mean, std, none, none, none.astype(np.int32))
    continues = config.forecasts or config.task == "half_cheetah"
    if not continues:
        continued = np.zeros(0, np.int32)
    else:
        number = train.inputs.shape[-1]
        continued = np.array(range(number) if columns is None else columns, np.int32)
    answers = train.targets
    if config.residual:
        answers = answers - last_observed(train.inputs, continued, config.model == "steps")
    return Scales(mean, std, *moments(answers), continued)


def last_observed(inputs, columns: np.ndarray, every_step: bool):
    """Returns the observations that forecasts start from, of the shape of the targets."""
    return (inputs if every_step else inputs[:, -1:])[..., columns]


def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation of every variable, 1 for one that does not vary."""
    axes = tuple(range(values.ndim - 1))
    mean = values.mean(axis=axes, dtype=np.float64)
    # A part at a time: windows of a long series share memory, and a whole copy would not fit.
    parts = np.array_split(values, max(1, len(values) // 1024))
    squares = [((part - mean) ** 2).sum(axis=axes) for part in parts]
    std = np.sqrt(np.sum(squares, axis=0) / (values.size // values.shape[-1]))
    return mean.astype(np.float32), np.where(std > 1e-6, std, 1).astype(np.float32)
