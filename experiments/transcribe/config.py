"""Every setting of the transcription experiment, and the defaults of its tasks."""

import dataclasses
from typing import Any

from experiments import command_line, report
from experiments.cells import (
    FEEDFORWARD,
    cell_options_setting,
    cell_setting,
    check_cell,
    executor_setting,
)
from experiments.command_line import setting
from seqjax.cells import CELLS as ONE_WAY

CELLS = (*ONE_WAY, *(f"bi{name}" for name in ONE_WAY), FEEDFORWARD)
TASKS = ("digits", "generated")


@dataclasses.dataclass(frozen=True)
class Config:
    """Every setting of a run; the defaults are those of the task generated. See `configure`."""

    cell: str = cell_setting(
        "bigru",
        "recurrent cell; feedforward for layers that see one stack of frames at a time",
        CELLS,
    )
    cell_options: str = cell_options_setting()
    executor: str = executor_setting()
    task: str = setting(
        "generated",
        "digits, spoken ones; generated, the tones of a telephone's keys",
        choices=TASKS,
    )
    data_dir: str | None = setting(
        None, "folder of published data (digits); default: SEQJAX_DATA_DIR"
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
    num_mels: int = setting(40, "bands of a frame of sound", minimum=1)
    stack: int = setting(4, "neighbouring frames that are seen at once", minimum=1)
    stride: int = setting(3, "frames from one step to the next", minimum=1)
    num_buckets: int = setting(2, "padded lengths, hence compiled programs", minimum=1)
    beam_width: int = setting(16, "prefixes kept in decoding", minimum=1)
    seeds: int = setting(3, "number of seeds, trained one after the other", minimum=1, below=2**31)
    seed: int = setting(0, "the first seed", minimum=0, below=2**31)
    epochs: int = setting(30, "epochs at most", minimum=1)
    patience: int = setting(30, "stop after this many epochs without improvement", minimum=1)
    select: str = setting(
        "loss",
        "which epoch is tested: the best of validation by loss or by digit errors, or the last",
        choices=("loss", "errors", "last"),
    )
    batch_size: int = setting(16, "strings in a batch", minimum=1)
    learning_rate: float = setting(5e-3, "peak learning rate", minimum=0)
    schedule: str = setting(
        "cosine", "learning rate after a short warm-up", choices=("cosine", "constant")
    )
    weight_decay: float = setting(0.01, "decoupled weight decay of the kernels", minimum=0)
    clip_norm: float = setting(1.0, "the gradient's global norm is clipped to this", minimum=0)
    ema_decay: float = setting(
        0.98, "decay of the moving average of the weights; 0 for none", minimum=0, below=1
    )
    hidden_size: int = setting(48, "hidden units of a layer and direction", minimum=1)
    num_layers: int = setting(1, "layers", minimum=1)
    dropout: float = setting(
        0.1, "rate of the dropout between layers and before the read-out", below=1
    )
    time_masks: int = setting(0, "stretches of time hidden from each training string", minimum=0)
    time_mask_size: int = setting(4, "steps of such a stretch at most", minimum=1)
    feature_masks: int = setting(
        0, "ranges of features hidden from each training string", minimum=0
    )
    feature_mask_size: int = setting(8, "features of such a range at most", minimum=1)
    noise: float = setting(
        0.0, "standard deviation of noise on training inputs, in standard units", minimum=0
    )

    def __post_init__(self):
        """Refuses settings that cannot be used."""
        command_line.check_settings(self)
        check_cell(self, self.hidden_size)
        command_line.check_task_reads(self, "data_dir", ["digits"])


DEFAULTS: dict[str, dict[str, Any]] = {
    "generated": {},
    "digits": {
        "hidden_size": 64, "epochs": 30, "dropout": 0.2, "time_masks": 1, "time_mask_size": 4,
        "feature_masks": 1,
    },
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
      >>> configure(task="digits", cell="bilstm").max_digits
      5
    """
    return Config(**{**DEFAULTS.get(given.get("task", "generated"), {}), **given})


def command(config: Config) -> str:
    """Returns the command that repeats a run."""
    return report.command("transcribe", config, configure(task=config.task), first=("cell", "task"))
