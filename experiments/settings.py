"""The settings that every experiment with a trained model has, and what follows from them."""

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any, Self

from experiments.cells import cell_setting, check_cell
from experiments.command_line import ConfigError, check_settings, setting
from seqjax.cells import CELLS
from seqjax.executors import EXECUTORS


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all configurations share.

    A configuration inherits from it and writes its own fields, and of these what differs. A
    default alone, as in `epochs: int = 10`, keeps help text and bounds.
    """

    cell: str = cell_setting("gru", "recurrent cell", tuple(CELLS))
    cell_options: str = setting("", "options of the cell, such as heads=4,block_ratio=0.5")
    executor: str = setting(
        "auto", "how the recurrent layers are run in time", choices=("auto", *EXECUTORS)
    )
    seeds: int = setting(3, "number of seeds, trained one after the other", minimum=1, below=2**31)
    seed: int = setting(0, "the first seed", minimum=0, below=2**31)
    epochs: int = setting(30, "epochs at most", minimum=1)
    patience: int = setting(30, "stop after this many epochs without improvement", minimum=1)
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
    hidden_size: int = setting(64, "hidden units of a layer and direction", minimum=1)
    dropout: float = setting(
        0.1, "rate of the dropout between layers and before the read-out", below=1
    )

    def __init_subclass__(cls) -> None:
        """Gives defaults that are written alone the help text and bounds of their fields."""
        for name, value in [*vars(cls).items()]:
            field = getattr(cls, "__dataclass_fields__", {}).get(name)
            if field is not None and not isinstance(value, dataclasses.Field):
                setattr(cls, name, dataclasses.field(default=value, metadata=field.metadata))

    def __post_init__(self) -> None:
        """Refuses settings that cannot be used, that the task would ignore, or that it lacks."""
        check_settings(self)
        check_cell(self, self.hidden_size)
        task = getattr(self, "task", None)
        for field in dataclasses.fields(self):
            name, tasks = field.name, field.metadata["tasks"]
            given = getattr(self, name) != field.default
            if tasks and given and task not in tasks:
                raise ConfigError(f"--{name} needs --task={' or '.join(tasks)}, got --task={task}.")
            if field.metadata["needed"] and not given and task in tasks:
                raise ConfigError(f"--task={task} needs --{name}.")

    @classmethod
    def defaults(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the defaults that the settings given bring with them."""
        return {}

    @classmethod
    def configure(cls, **given: Any) -> Self:
        """Returns a configuration: the task's or preset's defaults, changed where one is given.

        Args:
          **given: settings by name.

        Returns:
          The configuration.

        Raises:
          ConfigError: if a setting cannot be used.

        Example:
          >>> from experiments import generate
          >>> generate.configure(task="music").transpose
          5
        """
        return cls(**{**cls.defaults(given), **given})

    @property
    def choosing(self) -> Mapping[str, Any]:
        """Settings that bring other defaults with them, beside cell and task; and their own."""
        return {"path": None} if hasattr(self, "path") else {}

    def command(self, experiment: str) -> str:
        """Returns the command that repeats a run: the settings that differ from their defaults.

        Args:
          experiment: its name.

        Returns:
          A line for the shell.
        """
        first = ["cell", "task"] if hasattr(self, "task") else ["cell"]
        usual = {field.name: field.default for field in dataclasses.fields(self)}
        usual |= self.defaults({n: getattr(self, n) for n in (*first, *self.choosing)})
        usual |= self.choosing
        given = {name: getattr(self, name) for name in (*first, *self.choosing, *usual)}
        parts = [f"--{n}={value}" for n, value in given.items() if n in first or value != usual[n]]
        return shlex.join(["python", "-m", f"experiments.{experiment}", *parts])
