"""A finished run, opened to be asked."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from experiments import command_line
from experiments.cells import keep_code
from experiments.functions import Functions
from seqjax import train


@dataclasses.dataclass(frozen=True)
class Finished:
    """A finished run; make one with `open_finished`.

    Attributes:
      config: its settings.
      folder: its folder.
    """

    config: Any
    folder: train.RunFolder

    def params(self, functions: Functions) -> Iterator[Any]:
        """Yields the parameters of each seed.

        Args:
          functions: the model of the run.

        Yields:
          Parameters as `functions.apply` takes them.
        """
        like = functions.init(jax.random.key(0))
        for seed in range(self.config.seed, self.config.seed + self.config.seeds):
            yield train.best_params(self.folder, seed, like)


def open_finished(path: str | Path, config_type: type) -> Finished:
    """Opens a finished run.

    Args:
      path: its folder.
      config_type: the experiment's configuration.

    Returns:
      The run.

    Raises:
      RunError: if there is no finished run in the folder, or its cell is a user's own and the
        code has changed.
      ConfigError: if its settings are those of another version or experiment, or name a cell of a
        user's own that the command line does not name.
    """
    path = Path(path)
    if not (path / "result.json").exists():
        raise train.RunError(
            f"--predict needs a finished run, and {path} holds none. Train it first with the same "
            "flags without --predict, or name its folder with --workdir."
        )
    settings = train.read_object(path / "config.json")
    config = command_line.from_mapping(config_type, settings)
    keep_code(config.cell, path)
    return Finished(config, train.open_run(path, settings, resume=True))
