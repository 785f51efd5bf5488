"""Every setting of the classification experiment, and the defaults of its tasks."""

import dataclasses
from typing import Any

from experiments import command_line, report
from experiments.cells import (
    FEEDFORWARD,
    cell_options_setting,
    cell_setting,
    check_cell,
    directions,
    executor_setting,
    in_both_directions,
)
from experiments.command_line import ConfigError, setting
from experiments.tables import TableSettings
from seqjax.cells import CELLS as ONE_WAY
from seqjax.nn._pooling import POOLINGS

CELLS = (*ONE_WAY, *(f"bi{name}" for name in ONE_WAY), FEEDFORWARD)
TASKS = ("splice", "digits", "generated", "csv", "folder")
OWN = ("csv", "folder")  # a user's own data


@dataclasses.dataclass(frozen=True)
class Config(TableSettings):
    """Every setting of a run; the defaults are those of the task generated. See `configure`."""

    cell: str = cell_setting(
        "bigru",
        "recurrent cell; feedforward for none: layers without memory, on "
        "the whole sequence where all are as long, else on each step",
        CELLS,
    )
    cell_options: str = cell_options_setting()
    executor: str = executor_setting()
    task: str = setting("generated", "what is to be told apart", choices=TASKS)
    data_dir: str | None = setting(
        None, "folder of published data (splice, digits); default: SEQJAX_DATA_DIR"
    )
    path: str | None = setting(
        None,
        "of --task=csv the file; of --task=folder the folder, in which each class has a folder of "
        ".wav or .txt files",
    )
    label_column: str | None = setting(
        None, "column of the classes in --task=csv, by name; default: the last"
    )
    features: int = setting(1, "numbers in a step of a row of --task=csv", minimum=1)
    train_size: int = setting(1500, "sequences of the generated task", minimum=30)
    split_seed: int = setting(
        0, "draws which examples validate and, where none are published, which test", minimum=0
    )
    test_fraction: float = setting(
        0.1, "part held out to test, where none is published", minimum=0.001, below=1
    )
    validation_fraction: float = setting(
        0.1, "part of the others that chooses the epoch", minimum=0.001, below=1
    )
    num_mels: int = setting(40, "bands of a frame of sound", minimum=1)
    stack: int = setting(1, "neighbouring steps that are seen at once", minimum=1)
    stride: int = setting(1, "steps from one that is seen to the next", minimum=1)
    vocab_size: int = setting(10_000, "words of texts, the most frequent ones", minimum=3)
    max_length: int = setting(400, "words of a text that are read, from both ends", minimum=1)
    embedding_size: int = setting(64, "size of a word vector", minimum=1)
    num_buckets: int = setting(2, "padded lengths, hence compiled programs", minimum=1)
    seeds: int = setting(5, "number of seeds, trained one after the other", minimum=1, below=2**31)
    seed: int = setting(0, "the first seed", minimum=0, below=2**31)
    epochs: int = setting(30, "epochs at most", minimum=1)
    patience: int = setting(30, "stop after this many epochs without improvement", minimum=1)
    select: str = setting(
        "loss",
        "which epoch is tested: the best of validation by loss or by accuracy, or the last",
        choices=("loss", "accuracy", "last"),
    )
    batch_size: int = setting(32, "sequences in a batch", minimum=1)
    learning_rate: float = setting(5e-3, "peak learning rate", minimum=0)
    schedule: str = setting(
        "cosine", "learning rate after a short warm-up", choices=("cosine", "constant")
    )
    weight_decay: float = setting(0.01, "decoupled weight decay of the kernels", minimum=0)
    clip_norm: float = setting(1.0, "the gradient's global norm is clipped to this", minimum=0)
    ema_decay: float = setting(
        0.99, "decay of the moving average of the weights; 0 for none", minimum=0, below=1
    )
    label_smoothing: float = setting(
        0.0, "part of a training label that is spread over all classes", minimum=0, below=1
    )
    pooling: str = setting(
        "mean_max", "from the outputs at every step to one vector", choices=POOLINGS
    )
    hidden_size: int = setting(32, "hidden units of a layer and direction", minimum=1)
    num_layers: int = setting(1, "layers", minimum=1)
    head_size: int = setting(0, "units of a ReLU layer before the read-out; 0 for none", minimum=0)
    dropout: float = setting(
        0.1, "rate of the dropout between layers and before the read-out", below=1
    )
    time_masks: int = setting(0, "stretches of time hidden from each training sequence", minimum=0)
    time_mask_size: int = setting(10, "steps of such a stretch at most", minimum=1)
    feature_masks: int = setting(
        0,
        "ranges of features hidden from each training sequence, in every frame of a stack",
        minimum=0,
    )
    feature_mask_size: int = setting(8, "features of such a range at most", minimum=1)
    noise: float = setting(
        0.0, "standard deviation of noise on training inputs, in standard units", minimum=0
    )

    def __post_init__(self):
        """Refuses settings that cannot be used."""
        command_line.check_settings(self)
        check_cell(self, self.hidden_size)
        self.check_table()
        command_line.check_task_reads(self, "data_dir", ["splice", "digits"])
        command_line.check_task_reads(self, "path", OWN, needed=OWN)
        command_line.check_task_reads(self, "label_column", ["csv"])
        if self.time_column is not None and self.group_column is None:
            raise ConfigError(
                "--time_column needs --group_column: a row that is a sequence has no time."
            )
        if self.group_column is not None and self.features != 1:
            raise ConfigError(
                "--features needs rows that are sequences; with --group_column a row is a step. "
                f"Leave out --features={self.features}."
            )
        if self.pooling == "middle" and _one_way(self.cell):
            raise ConfigError(
                f"--pooling=middle needs both directions, and {self.cell} has not seen the second "
                f"half by then; use --cell={in_both_directions(self.cell)}, or another pooling."
            )
        if self.cell == FEEDFORWARD and self.pooling == "last":
            raise ConfigError(
                "--pooling=last needs a recurrent cell: without memory the last step alone would "
                "decide. Use mean_max."
            )


DEFAULTS: dict[str, dict[str, Any]] = {
    "generated": {},
    # The place in question is in the middle, where two directions meet.
    "splice": {
        "stack": 5, "pooling": "middle", "num_buckets": 1, "batch_size": 64, "epochs": 10,
        "dropout": 0.4,
    },
    "digits": {
        "stack": 3, "stride": 2, "num_buckets": 3, "hidden_size": 64, "epochs": 10, "dropout": 0.3,
        "time_masks": 2, "time_mask_size": 8, "feature_masks": 2, "feature_mask_size": 8,
    },
    "csv": {},
    "folder": {},
}  # fmt: skip


def configure(**given: Any) -> Config:
    """Returns a task's configuration: its defaults, changed where a setting is given.

    Args:
      **given: settings by name.

    Returns:
      The configuration.

    Raises:
      ConfigError: if a setting cannot be used.

    Example:
      >>> configure(task="digits", cell="lstm").num_mels
      40
    """
    settings = {**DEFAULTS.get(given.get("task", "generated"), {}), **given}
    if settings.get("pooling") == "middle" and _one_way(settings.get("cell", Config.cell)):
        settings["pooling"] = given.get("pooling", "last")
    return Config(**settings)


def _one_way(cell: str) -> bool:
    return cell != FEEDFORWARD and not directions(cell)[1]


def command(config: Config) -> str:
    """Returns the command that repeats a run."""
    given = {"task": config.task}
    if config.path is not None:
        given["path"] = config.path
    return report.command(
        "classify", config, configure(**given), first=("cell", "task"), choosing={"path": None}
    )
