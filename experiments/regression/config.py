"""Every setting of the regression experiment, and the presets of its tasks."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments.cells import (
    FEEDFORWARD,
    cell_setting,
    check_gradient,
    directions,
    gradient_setting,
    takes,
)
from experiments.command_line import ConfigError, setting
from experiments.tables import TableSettings
from seqjax.cells import CELLS as ONE_WAY
from seqjax.online import METHODS

CELLS = (*ONE_WAY, *(f"bi{name}" for name in ONE_WAY), FEEDFORWARD)
GENERATED = ("narma10", "mackey_glass", "lorenz", "sine", "adding")
FORECASTS = ("mackey_glass", "lorenz", "sine", "ett")  # and csv by default
REMEMBERED = ("adding", "smnist", "psmnist")  # the answer may hang on the first step
EVERY_STEP = ("narma10", "half_cheetah")
PUBLISHED = ("half_cheetah", "ett", "smnist", "psmnist")
TASKS = (*GENERATED, *PUBLISHED, "csv")


@dataclasses.dataclass(frozen=True)
class Config(TableSettings):
    """Every setting of a run; the defaults are those of the task narma10. See `configure`."""

    cell: str = cell_setting(
        "gru",
        "recurrent cell; feedforward for a layer that sees the last "
        "--lookback steps and has no memory",
        CELLS,
    )
    gradient: str = gradient_setting()
    task: str = setting("narma10", "the data to learn", choices=TASKS)
    preset: str = setting(
        "best",
        "where the defaults of the other settings come from: best, the task's best known, or "
        "keras, the classic script",
        choices=("best", "keras"),
    )
    data_dir: str | None = setting(
        None,
        "folder of published data; default: SEQJAX_DATA_DIR, for (p)smnist TFDS_DATA_DIR and then "
        "~/tensorflow_datasets",
        tasks=PUBLISHED,
    )
    path: str | None = setting(None, "the file of --task=csv", tasks=["csv"], needed=True)
    csv_layout: str = setting(
        "series",
        "what a row of the file is: series, one step of a long series; rows, a sequence and, last, "
        "its answer (with --group_column one step of a sequence and the sequence's answer)",
        choices=("series", "rows"),
    )
    target_kind: str = setting(
        "numeric", "the answer in rows: a number, or a class 0 or 1", choices=("numeric", "binary")
    )
    target_columns: str | None = setting(
        None,
        "columns of a series to predict, by name: a,b; default: all that are read",
        tasks=["csv"],
    )
    features: int = setting(1, "numbers in a step of a sequence in a row", minimum=1)
    split_seed: int = setting(
        0,
        "draws which rows of a file validate and which test, where a row is a sequence",
        minimum=0,
    )
    lookback: int = setting(
        100, "steps that are seen: of a window, or of a generated sequence", minimum=2
    )
    horizon: int = setting(1, "steps to predict, in a forecasting task", minimum=1)
    train_stride: int = setting(
        10, "steps from one training window of half_cheetah to the next; 10 is published", minimum=1
    )
    train_size: int = setting(2048, "sequences drawn for an epoch of a generated task", minimum=1)
    noise: float = setting(0.0, "standard deviation of the noise on sine waves", minimum=0)
    permutation_seed: int = setting(1, "draws the order of pixels in psmnist", minimum=0)
    period: int = setting(0, "steps of a season, for the seasonal floor; 0 for none", minimum=0)
    ridge_lags: int = setting(30, "steps the ridge floor looks back; 0 for none", minimum=0)
    epochs: int = 60
    patience: int = 60
    monitor: str = setting(
        "loss",
        "what chooses the epoch, in validation: loss (squared error, or cross-entropy of classes), "
        "mae, or median, of the sequences' squared errors",
        choices=("loss", "mae", "median"),
    )
    select: str = setting(
        "best",
        "which epoch is tested: best, by --monitor, or last, of a schedule fixed beforehand",
        choices=("best", "last"),
    )
    batch_size: int = 64
    loss: str = setting(
        "mse", "what is learnt to be small (numbers only)", choices=("mse", "mae", "huber")
    )
    weight_decay: float = 0.0
    model: str = setting(
        "steps",
        "steps, an answer at each; last, one from the last output; segments, forecasts of each "
        "variable for itself, read and written in segments",
        choices=("steps", "last", "segments"),
    )
    num_layers: int = setting(1, "recurrent layers", minimum=1)
    max_timescale: int = setting(
        0,
        "chrono initialisation: the gates start remembering for up to this many steps; 0 for the "
        "cell's own start",
        minimum=0,
    )
    segment_length: int = setting(24, "steps of a segment", minimum=1)
    residual: bool = setting(
        False, "whether the difference to the last observation is predicted, not the value"
    )
    input_clip: float = setting(
        0.0, "inputs in standard units are clipped to plus and minus this; 0 for not", minimum=0
    )
    input_noise: float = setting(
        0.0, "standard deviation of noise on training inputs, in standard units", minimum=0
    )
    head_size: int = setting(0, "units of a ReLU layer before the read-out; 0 for none", minimum=0)
    dropout: float = 0.0

    def __post_init__(self):
        """Refuses settings that cannot be used."""
        super().__post_init__()
        check_gradient(self, self.hidden_size)
        one_way, both = directions(self.cell)
        if self.max_timescale and not takes(self.cell, "max_timescale"):
            raise ConfigError(f"--max_timescale needs a cell with gates, got --cell={self.cell}.")
        if 0 < self.max_timescale < 3:
            raise ConfigError(f"--max_timescale must be 0 or above 2, got {self.max_timescale}.")
        if self.cell == FEEDFORWARD and self.model == "segments":
            raise ConfigError("--cell=feedforward needs --model=last or steps, got segments.")
        if both and self.model != "last":
            raise ConfigError(
                f"--cell={self.cell} looks ahead, which --model={self.model} may not; use "
                f"--cell={one_way}, or --model=last where the task has it."
            )
        if (self.model == "steps") != (self.task in EVERY_STEP):
            wanted = "steps" if self.task in EVERY_STEP else "last or segments"
            raise ConfigError(f"--task={self.task} needs --model={wanted}, got {self.model}.")
        if self.model == "segments" and not self.forecasts:
            raise ConfigError("--model=segments needs a forecast: ett, csv series, or a series.")
        if self.model == "segments" and self.lookback % self.segment_length:
            raise ConfigError(
                f"--lookback must be a multiple of --segment_length={self.segment_length}, got "
                f"{self.lookback}."
            )
        if self.model == "segments" and self.gradient != "bptt":
            raise ConfigError(
                f"--gradient={self.gradient} needs --model=steps or last; segments run on after "
                "the last step that is read."
            )
        if self.gradient == "rflo" and self.head_size:
            raise ConfigError(
                "--gradient=rflo has random feedback from the answer to the units; leave out "
                f"--head_size={self.head_size}, a layer between them."
            )
        if self.residual and not (self.forecasts or self.task == "half_cheetah"):
            raise ConfigError(f"--residual needs a forecast, which --task={self.task} is not.")
        if self.horizon > 1 and not self.forecasts:
            raise ConfigError(
                f"--horizon needs a forecast, which --task={self.task} is not; got {self.horizon}."
            )
        if self.period > self.lookback:
            raise ConfigError(
                f"--period must be at most --lookback={self.lookback}, got {self.period}."
            )
        if self.csv_layout == "rows" and self.target_columns is not None:
            raise ConfigError("--target_columns needs --csv_layout=series; rows have one answer.")
        if self.csv_layout == "rows" and self.group_column is None and self.time_column is not None:
            raise ConfigError(
                "--time_column with --csv_layout=rows needs --group_column: a row that is a "
                "sequence has no time."
            )
        if self.group_column is not None and self.features != 1:
            raise ConfigError(
                "--features needs rows that are sequences; with --group_column a row is a step. "
                f"Leave out --features={self.features}."
            )
        if self.target_kind == "binary" and not (self.task == "csv" and self.csv_layout == "rows"):
            raise ConfigError("--target_kind=binary needs --task=csv --csv_layout=rows.")
        if self.monitor != "loss" and not self.numeric:
            raise ConfigError(f"--monitor={self.monitor} needs numbers; classes have their loss.")

    @property
    def layer_options(self) -> dict[str, Any]:
        """Keyword arguments of `recurrent_layers`."""
        options: dict[str, Any]
        if self.cell == FEEDFORWARD:
            return {"window": (self.lookback - 1, 0)}
        options = {"max_timescale": self.max_timescale} if self.max_timescale else {}
        if self.gradient != "bptt":
            options["executor"] = METHODS[self.gradient]()
        return options

    @property
    def forecasts(self) -> bool:
        """Whether steps are predicted from those before them."""
        return self.task in FORECASTS or (self.task == "csv" and self.csv_layout == "series")

    @property
    def numeric(self) -> bool:
        """Whether the answers are numbers, not classes."""
        return self.task not in ("smnist", "psmnist") and self.target_kind == "numeric"

    @classmethod
    def defaults(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the defaults of task, horizon, layout and preset."""
        task = given.get("task", cls.task)
        settings = dict(DEFAULTS.get(task, {}))
        if task == "ett":
            for horizon, changes in ETT_FROM.items():
                if given.get("horizon", settings["horizon"]) >= horizon:
                    settings.update(changes)
        if task in REMEMBERED and takes(given.get("cell", cls.cell), "max_timescale"):
            lookback = given.get("lookback", settings.get("lookback", cls.lookback))
            settings["max_timescale"] = max(3, lookback)
        if task == "csv" and given.get("csv_layout") == "rows":
            settings.update(ROWS)
        if given.get("preset") == "keras":
            settings.update(KERAS)
        return settings

    @property
    def choosing(self) -> Mapping[str, Any]:
        """Settings that bring other defaults with them, beside cell and task; and their own."""
        usual = {"preset": "best", "horizon": 1, "lookback": 100} | DEFAULTS[self.task]
        choosing = {name: usual[name] for name in ("preset", "horizon", "lookback")}
        return choosing | {"path": None, "csv_layout": "series"}


FORECAST = {"model": "last", "residual": True, "ridge_lags": 64, "lookback": 64}
PIXELS = {
    "model": "last", "hidden_size": 128, "lookback": 784, "epochs": 30, "patience": 10,
    "batch_size": 128, "learning_rate": 2e-3, "seeds": 1, "ema_decay": 0.995,
}  # fmt: skip
DEFAULTS: dict[str, dict[str, Any]] = {
    "narma10": {},
    "mackey_glass": {**FORECAST, "horizon": 20, "train_size": 4096},
    "lorenz": {**FORECAST, "horizon": 10, "train_size": 4096},
    "sine": {**FORECAST, "horizon": 20, "epochs": 30},
    "adding": {
        "model": "last", "ridge_lags": 0, "train_size": 6400, "epochs": 4, "seeds": 5,
    },
    "half_cheetah": {
        "cell": "lstm", "lookback": 32, "residual": True, "hidden_size": 128,
        "epochs": 50, "patience": 50, "monitor": "median", "batch_size": 32,
        "learning_rate": 8e-3, "seeds": 5, "weight_decay": 0.1, "dropout": 0.1, "ema_decay": 0.995,
        "input_clip": 5.0, "ridge_lags": 4,
    },
    # The model of the SegRNN paper, with fewer units, a higher rate, a moving average of the
    # weights and a fixed number of epochs: the validation months resemble those of the test too
    # little to choose one.
    "ett": {
        "model": "segments", "lookback": 96, "horizon": 96, "residual": True, "hidden_size": 256,
        "segment_length": 24, "dropout": 0.5, "epochs": 15, "select": "last", "batch_size": 256,
        "learning_rate": 3e-3, "ema_decay": 0.98, "loss": "mae", "period": 24, "ridge_lags": 336,
        "seeds": 5,
    },
    "smnist": PIXELS,
    "psmnist": PIXELS,
    "csv": {
        "model": "last", "lookback": 32, "residual": True, "ridge_lags": 32, "epochs": 50,
        "patience": 10, "batch_size": 32, "learning_rate": 2e-3, "dropout": 0.1,
    },
}  # fmt: skip
# From this horizon on; a longer one has more answers in a window and learns by heart sooner.
ETT_FROM = {
    336: {"hidden_size": 128, "learning_rate": 8e-3, "epochs": 12},
    720: {"hidden_size": 256, "learning_rate": 3e-3, "epochs": 6, "input_noise": 0.3},
}
ROWS = {"residual": False}
KERAS = {
    "hidden_size": 128, "num_layers": 1, "dropout": 0.0, "learning_rate": 1e-3,
    "schedule": "constant", "weight_decay": 0.0, "clip_norm": 0.0, "ema_decay": 0.0,
    "epochs": 10, "patience": 10, "batch_size": 32, "head_size": 0, "loss": "mse",
    "input_noise": 0.0, "input_clip": 0.0,
}  # fmt: skip
