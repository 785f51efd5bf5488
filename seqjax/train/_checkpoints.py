"""The saved states of one seed: complete or absent, of this configuration, and undamaged."""

import contextlib
import dataclasses
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from absl import logging as absl_logging

from seqjax._errors import first_line
from seqjax.train._errors import RunError
from seqjax.train._files import make_folder, plain, refuse_deep, sync, sync_tree
from seqjax.train._processes import is_first_process, of_first_process, several_processes, together
from seqjax.train._record import numerics, params_sha256
from seqjax.train._run_folder import refuse_other_config
from seqjax.train._state import PyTree
from seqjax.train._streams import Harmless
from seqjax.train._totals import Totals

_FILES_BYTES = 128 * 1024  # what Orbax writes beside the numbers, a file system's blocks included
MAX_TO_KEEP = 2  # the newest, and the one before in case the newest is damaged


@dataclasses.dataclass
class Position:
    """Where training stands: all that a resumed run needs beside the arrays.

    Attributes:
      epoch: the epoch in progress, from 1.
      step_in_epoch: batches of it already used.
      step: updates done since the beginning.
      saves: checkpoints written so far, this one included.
      rows: lines of metrics.jsonl this seed had written.
      epoch_totals: metrics of the epoch so far.
      window_totals: metrics since the last log row.
      history: the rows of the finished epochs.
      best_epoch: epoch of the best parameters; 0 before the first validation.
      wall_s: seconds of training, over all resumptions.
      finished: whether the seed is done.
    """

    epoch: int = 1
    step_in_epoch: int = 0
    step: int = 0
    saves: int = 0
    rows: int = 0
    epoch_totals: Totals = dataclasses.field(default_factory=dict)
    window_totals: Totals = dataclasses.field(default_factory=dict)
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    best_epoch: int = 0
    wall_s: float = 0.0
    finished: bool = False


def _position(found: Mapping[str, Any]) -> Position:
    """Returns a position of what stands in a checkpoint, which may be a stranger's."""
    position, usual = Position(**found), dataclasses.asdict(Position())
    for name, value in usual.items():
        kinds = (int, float) if isinstance(value, float) else type(value)
        if not isinstance(getattr(position, name), kinds):
            raise TypeError(f"its {name} is of another type")
    return position


class _DamagedError(RunError):
    """A checkpoint is not what was saved."""


class _Manager(ocp.CheckpointManager):
    """Orbax's, which leaves it to `asked_to_stop` to ask whether the program is to end.

    The service tells each process once, and takes the number of the question for the time.
    """

    def reached_preemption(self, step: int) -> bool:
        return False


class Checkpoints:
    """Saves and restores one seed with Orbax, which writes aside and then renames."""

    def __init__(self, path: Path, config: Mapping[str, Any]):
        """Looks for checkpoints, and clears away one that a kill left unfinished.

        Args:
          path: folder of this seed's checkpoints.
          config: settings of the run, saved with every checkpoint and compared on restoring.
        """
        self._path = path.absolute()  # Orbax takes no relative path
        self._config = plain(dict(config))
        with self._orbax(f"The checkpoints in {self._path} cannot be opened"):
            with together():
                if is_first_process():
                    for unfinished in self._path.glob("*.orbax-checkpoint-tmp"):
                        shutil.rmtree(unfinished)
                    make_folder(self._path)
            self._manager = _Manager(
                self._path,
                # Not in the background: the next step reuses the very buffers being written.
                options=ocp.CheckpointManagerOptions(enable_async_checkpointing=False),
            )
            self._latest = self._manager.latest_step()
        self._since = time.monotonic()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to restore."""
        return self._latest is None

    def due(self, seconds: float) -> bool:
        """Returns whether there is no checkpoint, or the last is older; the same in every process.

        Args:
          seconds: how old.
        """
        return bool(of_first_process(self.empty or time.monotonic() - self._since >= seconds))

    def save(self, trees: Mapping[str, PyTree], position: Position) -> None:
        """Writes a checkpoint; a kill at any moment leaves the one before it usable.

        Args:
          trees: pytrees of arrays by name, each of which can be restored by itself.
          position: goes with them; its `saves` is counted up.

        Raises:
          RunError: if it cannot be written.
        """
        position.saves += 1
        trees = {name: _numbers(tree) for name, tree in trees.items()}
        where = self._path / str(position.saves)
        self._refuse_full_disk(where, sum(leaf.nbytes for leaf in jax.tree.leaves(trees)))
        about = {
            "config": self._config,
            "jax": numerics(),
            "sha256": {name: params_sha256(tree) for name, tree in trees.items()},
            "position": plain(dataclasses.asdict(position)),
        }
        with self._orbax(f"The checkpoint {where} cannot be written"):
            self._manager.save(
                position.saves,
                args=ocp.args.Composite(
                    about=ocp.args.JsonSave(about),
                    # A tuple around each, since Orbax takes no single array.
                    **{name: ocp.args.StandardSave((tree,)) for name, tree in trees.items()},
                ),
            )
            with together():
                sync_tree(where)
                sync(self._path)
            for number in sorted(self._manager.all_steps())[:-MAX_TO_KEEP]:
                self._manager.delete(number)
        self._latest, self._since = position.saves, time.monotonic()

    def restore(
        self, like: Mapping[str, PyTree], *, resume: bool = False
    ) -> tuple[dict[str, PyTree], Position]:
        """Reads the newest checkpoint.

        Args:
          like: for each tree wanted, one of the same structure, shapes and dtypes; the result goes
            to its devices.
          resume: whether training goes on from it. Then JAX must be configured as it was, and a
            damaged checkpoint is named on stderr and set aside, and the one before it read, so that
            the steps between the two are done again.

        Returns:
          What `save` was given, the trees that were asked for.

        Raises:
          RunError: if the checkpoint is of another configuration, or damaged.
        """
        numbers = sorted(self._manager.all_steps(), reverse=True)
        damaged: list[int] = []
        while True:
            number = numbers[len(damaged)]
            try:
                found = self._read(number, like, resume)
                break
            except _DamagedError as damage:
                if not resume or number == numbers[-1]:
                    raise
                if is_first_process():
                    said = f"{damage} Going on from the one before it."
                    print(said, file=Harmless(sys.stderr))
                damaged.append(number)
        with together():
            for each in damaged if is_first_process() else ():
                # No number any more, so Orbax does not see it, and the number can be used again.
                aside = self._path / f"damaged_{each}"
                shutil.rmtree(aside, ignore_errors=True)  # an earlier one
                (self._path / str(each)).rename(aside)
        if damaged:
            self._manager.reload()
        return found

    def _refuse_full_disk(self, where: Path, size: int) -> None:
        # Orbax would find out, too, but leave callbacks behind that report to nobody.
        free = shutil.disk_usage(self._path).free
        needed = size + _FILES_BYTES
        if free < needed and not several_processes():
            raise RunError(
                f"The checkpoint {where} cannot be written (it takes {needed / 2**20:.1f} MiB and "
                f"{free / 2**20:.1f} MiB are free). Make room, and go on with --resume."
            )

    def _read(
        self, number: int, like: Mapping[str, PyTree], resume: bool
    ) -> tuple[dict[str, PyTree], Position]:
        path = self._path / str(number)
        with self._orbax(f"The checkpoint {path} is damaged", _DamagedError):
            about = self._manager.restore(
                number, args=ocp.args.Composite(about=ocp.args.JsonRestore())
            )["about"]
            refuse_deep(about)
            config, sha256 = about["config"], about["sha256"]
            began = about.get("jax", {}) if resume else {}  # an older one says nothing
            if not all(isinstance(each, dict) for each in (config, sha256, began)):
                raise TypeError("its settings are no table")
            position = _position(about["position"])
        now = {name: value for name, value in numerics().items() if name in began}
        refuse_other_config(f"The checkpoint {path}", {**config, **began}, {**self._config, **now})
        wanted = {n: ocp.args.StandardRestore((_keys_as_data(t),)) for n, t in like.items()}
        with self._orbax(f"The checkpoint {path} is damaged", _DamagedError):
            restored = self._manager.restore(number, args=ocp.args.Composite(**wanted))
            trees = {n: jax.tree.map(_as_key, restored[n][0], tree) for n, tree in like.items()}
            if any(params_sha256(tree) != sha256[name] for name, tree in trees.items()):
                raise ValueError("its bytes are not those that were saved")
        return trees, position

    def close(self) -> None:
        """Lets go of Orbax's threads."""
        self._manager.close()

    @contextlib.contextmanager
    def _orbax(self, failure: str, kind: type[RunError] = RunError) -> Iterator[None]:
        # Orbax tells of every save, and of an error both before raising it and by raising it.
        verbosity = absl_logging.get_verbosity()
        absl_logging.set_verbosity(absl_logging.FATAL)
        try:
            yield
        except Exception as error:  # Orbax and TensorStore raise whatever they meet
            raise kind(f"{failure} ({first_line(error)}).") from error
        finally:
            absl_logging.set_verbosity(verbosity)


def _numbers(tree: PyTree) -> PyTree:
    """What is handed to Orbax: of a process by itself copies on the host.

    TensorStore 0.1.86 leaks what it is asked about its own traffic, and Orbax asks with every tree
    that holds arrays of JAX: 14 kB a tree.
    """
    tree = _keys_as_data(tree)
    return tree if several_processes() else jax.device_get(tree)


def _keys_as_data(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, tree)


def _as_key(leaf: jax.Array, like: jax.Array) -> jax.Array:
    return jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(like)) if _is_key(like) else leaf


def _is_key(leaf: PyTree) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
