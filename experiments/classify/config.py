"""Every setting of the classification experiment, and the defaults of its tasks."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments.augment import SoundSettings
from experiments.cells import (
    FEEDFORWARD,
    cell_setting,
    directions,
    in_both_directions,
)
from experiments.command_line import ConfigError, setting
from experiments.tables import TableSettings
from seqjax.cells import CELLS as ONE_WAY
from seqjax.data._table import MISSING
from seqjax.nn._pooling import POOLINGS

CELLS = (*ONE_WAY, *(f"bi{name}" for name in ONE_WAY), FEEDFORWARD)
TASKS = ("splice", "digits", "generated", "csv", "ts", "folder")
OWN = ("csv", "ts", "folder")  # a user's own data


@dataclasses.dataclass(frozen=True)
class Config(TableSettings, SoundSettings):
    """Every setting of a run; the defaults are those of the task generated. See `configure`."""

    cell: str = cell_setting(
        "bigru",
        "recurrent cell; feedforward for none: layers without memory, on "
        "the whole sequence where all are as long, else on each step",
        CELLS,
    )
    task: str = setting("generated", "the data to classify", choices=TASKS)
    data_dir: str | None = setting(
        None,
        "folder of published data (splice, digits); default: SEQJAX_DATA_DIR",
        tasks=["splice", "digits"],
    )
    path: str | None = setting(
        None,
        "of --task=csv the file; of --task=ts the folder of NAME_TRAIN.ts and NAME_TEST.ts, or one "
        "file; of --task=folder the folder, in which each class has a folder of .wav or .txt files",
        tasks=OWN,
        needed=True,
    )
    missing: str = setting(
        "refuse",
        "how to handle an empty cell, or ? in .ts; mean is the mean over the training rows",
        choices=MISSING,
        tasks=["csv", "ts"],
    )
    label_column: str | None = setting(
        None, "column of the classes in --task=csv, by name; default: the last", tasks=["csv"]
    )
    features: int = setting(1, "numbers in a step of a row", minimum=1, tasks=["csv"])
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
    vocab_size: int = setting(10_000, "words of texts, the most frequent ones", minimum=3)
    max_length: int = setting(400, "words of a text that are read, from both ends", minimum=1)
    embedding_size: int = setting(64, "size of a word vector", minimum=1)
    num_buckets: int = setting(2, "padded lengths, hence compiled programs", minimum=1)
    seeds: int = 5
    select: str = setting(
        "loss",
        "which epoch is tested: the best of validation by loss or by accuracy, or the last",
        choices=("loss", "accuracy", "last"),
    )
    label_smoothing: float = setting(
        0.0, "part of a training label that is spread over all classes", minimum=0, below=1
    )
    pooling: str = setting(
        "mean_max", "from the outputs at every step to one vector", choices=POOLINGS
    )
    hidden_size: int = 32
    num_layers: int = setting(1, "layers", minimum=1)
    head_size: int = setting(0, "units of a ReLU layer before the read-out; 0 for none", minimum=0)

    def __post_init__(self):
        """Refuses settings that cannot be used."""
        super().__post_init__()
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

    @classmethod
    def defaults(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the defaults of the task; what needs both directions only where there are."""
        found = DEFAULTS.get(given.get("task", cls.task), {})
        middle = found.get("pooling") == "middle"
        return (
            found | {"pooling": "last"}
            if middle and _one_way(given.get("cell", cls.cell))
            else found
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
    "ts": {"hidden_size": 64, "batch_size": 16, "epochs": 100, "dropout": 0.3, "num_buckets": 1},
    "folder": {},
}  # fmt: skip


def _one_way(cell: str) -> bool:
    return cell != FEEDFORWARD and not directions(cell)[1]
