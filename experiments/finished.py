"""A finished run, opened to be asked."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from experiments import command_line
from experiments.cells import keep_code
from experiments.functions import Functions
from seqjax import train
from seqjax.train._files import expanded
from seqjax.train._run_folder import read_object

_Made = TypeVar("_Made")
_SURELY_FINE = 2**28  # bytes of parameters
_MOST_PACKED = 1000  # zeros of a large table that was hardly trained are stored in few bytes


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

        Raises:
          RunError: if a checkpoint is missing, damaged, or far too small for the settings.
        """
        self._refuse_bomb(functions)
        like = functions.init(jax.random.key(0))
        for seed in range(self.config.seed, self.config.seed + self.config.seeds):
            yield train.best_params(self.folder, seed, like)

    def _refuse_bomb(self, functions: Functions) -> None:
        """Refuses settings of a stranger's that ask for memory which no trained model fills."""
        shapes = jax.eval_shape(functions.init, jax.random.key(0))
        wanted = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
        folder = self.folder.checkpoints(self.config.seed)
        stored = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        if wanted > max(_SURELY_FINE, _MOST_PACKED * stored):
            raise train.RunError(
                f"The parameters of the run in {self.folder.path} must fill {wanted:,} bytes by "
                f"its config.json, and its checkpoint has {stored:,}. It is not that of a trained "
                "model: train the run again."
            )


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
    path = expanded(path)
    if not (path / "result.json").exists():
        raise train.RunError(
            f"--predict needs a finished run, and {path} holds none. Train it first with the same "
            "flags without --predict, or name its folder with --workdir."
        )
    settings = read_object(path / "config.json")
    config = command_line.from_mapping(config_type, settings)
    keep_code(config.cell, path)
    return Finished(config, train.open_run(path, settings, resume=True))


def read_saved(path: Path, make: Callable[[dict[str, Any]], _Made]) -> _Made:
    """Reads a JSON file that a run has left for those who ask it.

    Args:
      path: the file, which may be a stranger's.
      make: makes of its content what is wanted, and raises where that is not what a run writes.

    Returns:
      What `make` made.

    Raises:
      RunError: if the file is missing or damaged, or `make` raised.
    """
    content = read_object(path)
    try:
        return make(content)
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise train.RunError(
            f"{path} must be as a run writes it, got {type(error).__name__}: "
            f"{str(error)[:200]}. Train the run again."
        ) from error


def saved_vector(values: Any, dtype: type = np.float32) -> np.ndarray:
    """Returns a list of numbers out of a saved file as an array of shape (N,).

    Raises:
      TypeError, ValueError: if it is none, or a number is not finite in this type.

    Example:
      >>> saved_vector([1, 2.5]).tolist()
      [1.0, 2.5]
    """
    real = np.issubdtype(dtype, np.floating)
    kinds, limits = ((int, float), np.finfo(dtype)) if real else ((int,), np.iinfo(dtype))
    if not isinstance(values, list) or not all(type(value) in kinds for value in values):
        raise TypeError(f"a list of numbers of type {np.dtype(dtype)} is required")
    if not all(float(limits.min) <= value <= float(limits.max) for value in values):
        raise ValueError(f"finite numbers of type {np.dtype(dtype)} are required")
    return np.array(values, dtype)


def saved_names(values: Any) -> tuple[str, ...]:
    """Returns a list of names out of a saved file.

    Raises:
      TypeError: if it is none.

    Example:
      >>> saved_names(["a", "b"])
      ('a', 'b')
    """
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError("a list of names is required")
    return tuple(values)
