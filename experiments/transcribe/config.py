"""Every setting of the transcription experiment, and the defaults of its tasks."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments.augment import SoundSettings
from experiments.cells import FEEDFORWARD, cell_setting
from experiments.command_line import setting
from seqjax.cells import CELLS as ONE_WAY

CELLS = (*ONE_WAY, *(f"bi{name}" for name in ONE_WAY), FEEDFORWARD)
TASKS = ("digits", "generated")


@dataclasses.dataclass(frozen=True)
class Config(SoundSettings):
    """Every setting of a run; the defaults are those of the task generated. See `configure`."""

    cell: str = cell_setting(
        "bigru",
        "recurrent cell; feedforward for layers that see one stack of frames at a time",
        CELLS,
    )
    task: str = setting(
        "generated",
        "digits, spoken ones; generated, the tones of a telephone's keys",
        choices=TASKS,
    )
    data_dir: str | None = setting(
        None, "folder of published data (digits); default: SEQJAX_DATA_DIR", tasks=["digits"]
    )
    train_size: int = setting(600, "tones that are generated to train on", minimum=30)
    split_seed: int = setting(
        0, "draws which recordings validate, and the strings that validate and test", minimum=0
    )
    rounds: int = setting(
        3, "strings in which each recording that validates or tests is heard", minimum=1
    )
    max_digits: int = setting(5, "digits of a string at most", minimum=1)
    max_pause_s: float = setting(0.3, "seconds of a pause at most", minimum=0)
    max_seconds: float = setting(4.0, "seconds of a string at most", minimum=0.1)
    stack: int = 4
    stride: int = 3
    num_buckets: int = setting(2, "padded lengths, hence compiled programs", minimum=1)
    beam_width: int = setting(16, "prefixes kept in decoding", minimum=1)
    select: str = setting(
        "loss",
        "which epoch is tested: the best of validation by loss or by digit errors, or the last",
        choices=("loss", "errors", "last"),
    )
    batch_size: int = setting(16, "strings in a batch", minimum=1)
    ema_decay: float = 0.98
    hidden_size: int = 48
    num_layers: int = setting(1, "layers", minimum=1)
    time_mask_size: int = 4

    @classmethod
    def defaults(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the defaults of the task."""
        return DEFAULTS.get(given.get("task", cls.task), {})


DEFAULTS: dict[str, dict[str, Any]] = {
    "generated": {},
    "digits": {
        "hidden_size": 64, "epochs": 30, "dropout": 0.2, "time_masks": 1, "time_mask_size": 4,
        "feature_masks": 1,
    },
}  # fmt: skip
