"""The folder a run leaves behind, and the rules for opening one again."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqjax.train._errors import RunError
from seqjax.train._files import (
    expanded,
    make_folder,
    plain,
    refuse_deep,
    replace_file,
    sync,
    sync_tree,
    to_json,
)
from seqjax.train._processes import is_first_process, together
from seqjax.train._run_lock import RunLock

RESULT_KEYS = (
    "experiment", "cell", "dataset", "num_params", "seeds", "epochs_run", "wall_s", "versions",
    "devices", "data_sha256", "params_sha256", "floors", "metrics", "whose",
)  # fmt: skip


@dataclass(frozen=True)
class RunFolder:
    """An open run; make one with `open_run`.

    Attributes:
      path: the folder.
      config: every resolved setting, as `config.json` holds them.
      lock: keeps other runs out of a run that is not finished.
      home: where the checkpoints are, `path` by default. Of several processes that train together
        the first alone has the run's folder; each of the others has a folder of its own, which
        vanishes with it, and writes no file into the run but its part of the checkpoints.
      scratch: keeps such a folder for as long as it is used.
    """

    path: Path
    config: dict[str, Any]
    lock: RunLock | None = None
    home: Path | None = None
    scratch: tempfile.TemporaryDirectory | None = None

    @property
    def finished(self) -> bool:
        """Whether the run has its result."""
        return (self.path / "result.json").exists()

    @property
    def figures(self) -> Path:
        """The folder of figures."""
        return self.path / "figures"

    def checkpoints(self, seed: int) -> Path:
        """The folder of one seed's checkpoints."""
        return (self.home or self.path) / "checkpoints" / f"seed_{seed}"

    def claim_data(self, sha256: str) -> None:
        """Notes which data the run is on, or sees that it is still the same.

        Args:
          sha256: hash of the data.

        Raises:
          RunError: if the run began on other data.
        """
        path = self.home or self.path
        file = path / "data.json"
        with together():
            if is_first_process() and not file.exists():
                with writing(path):
                    replace_file(file, to_json({"sha256": sha256}) + "\n")
        with together():
            began = read_object(file).get("sha256")
            if began != sha256:
                raise RunError(
                    f"The run in {path} began on other data: its hash was {str(began)[:12]}, is "
                    f"now {sha256[:12]}. Restore the data, or choose another --workdir."
                )

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Adds one line to metrics.jsonl, there for any reader when this returns.

        Args:
          row: names to values; "seed" says whose row it is, so that resuming finds it.

        Raises:
          RunError: if the file cannot be written, or another process may have taken the folder.
        """
        self._refuse_lost()
        with writing(self.path), open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(to_json(dict(row)) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """All rows of metrics.jsonl, in order.

        Returns:
          The rows; a last line that a kill left half-written is not among them.

        Raises:
          RunError: if a line before the last is damaged.
        """
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        # What follows the last newline is empty, or a row that was being written.
        return [_parse(line, f"{path}:{i}") for i, line in enumerate(lines[:-1], start=1)]

    def keep_metrics(self) -> None:
        """Has the disk keep the rows so far, of which a checkpoint is about to tell.

        Raises:
          RunError: if it cannot, or another process may have taken the folder.
        """
        self._refuse_lost()
        if (self.path / "metrics.jsonl").exists():
            with writing(self.path):
                sync(self.path / "metrics.jsonl")
                sync(self.path)

    def rewind_metrics(self, seed: int, *, epoch: int = 1, step: int = 0, rows: int = 0) -> None:
        """Drops the rows that a seed wrote after the checkpoint it resumes from, by default all.

        Args:
          seed: whose rows.
          epoch: the epoch in progress at the checkpoint; those before it are done.
          step: updates done at the checkpoint.
          rows: how many must stay.

        Raises:
          RunError: if another number would: lines were lost or added while the run was stopped.
        """

        def seen(row: dict[str, Any]) -> bool:
            end = epoch - 1 if row.get("kind") == "epoch" else epoch
            return _is_row(row) and row["epoch"] <= end and row["step"] <= step

        kept = [row for row in self.metrics() if row.get("seed") != seed or seen(row)]
        number = sum(row.get("seed") == seed for row in kept)
        if number != rows:
            raise RunError(
                f"{self.path / 'metrics.jsonl'} must hold the {rows} rows of seed {seed} up to "
                f"step {step} that its checkpoint saw, got {number}: lines were lost or added "
                "while the run was stopped. Put the file back, or choose another --workdir."
            )
        self._write_metrics(kept)

    def order_metrics(self) -> None:
        """Puts the rows of one seed behind those of the one before, whoever trained when."""

        def place(row: dict[str, Any]) -> int:
            return row["seed"] if isinstance(row.get("seed"), int) else -1

        self._write_metrics(sorted(self.metrics(), key=place))

    def _refuse_lost(self) -> None:
        if self.lock is not None:
            self.lock.refuse_lost()

    def _write_metrics(self, rows: list[dict[str, Any]]) -> None:
        with writing(self.path):
            replace_file(self.path / "metrics.jsonl", "".join(to_json(r) + "\n" for r in rows))

    def write_result(self, result: Mapping[str, Any]) -> Path:
        """Writes result.json, which marks the run as finished.

        Args:
          result: exactly the keys of a result; of each metric `mean`, `ci95` and `per_seed`.

        Returns:
          The path of result.json.

        Raises:
          ValueError: if keys are missing or unknown.
        """
        _require_keys("result", result, RESULT_KEYS)
        for name, metric in result["metrics"].items():
            _require_keys(f"metric {name!r}", metric, ("mean", "ci95", "per_seed"))
        path = self.path / "result.json"
        self._refuse_lost()
        with writing(self.path):
            sync_tree(self.path)  # nothing is looked after any more once this file is there
            replace_file(path, to_json(dict(result), indent=2) + "\n")
        return path

    def result(self) -> dict[str, Any]:
        """Reads result.json.

        Returns:
          What `write_result` was given.

        Raises:
          RunError: if the run has not finished, or the file is damaged.
        """
        path = self.path / "result.json"
        if not path.exists():
            raise RunError(f"The run in {self.path} has no result yet; finish it with --resume.")
        return read_object(path)


def open_run(workdir: str | Path, config: Mapping[str, Any], *, resume: bool) -> RunFolder:
    """Starts a run in a folder, or takes up the one that is there.

    Args:
      workdir: the run's folder, made when missing; `~` is the user's home.
      config: every resolved setting.
      resume: whether an existing run is to be continued.

    Returns:
      The open run; see `RunFolder.finished`.

    Raises:
      RunError: if the folder cannot be written, holds a run and `resume` is false, holds a run of
        another configuration, is damaged, another process is running in it, or of processes that
        train together one does not see it or has other settings.

    Example:
      >>> import tempfile
      >>> folder = tempfile.mkdtemp()
      >>> open_run(folder, {"rate": 0.1}, resume=False).finished
      False
      >>> open_run(folder, {"rate": 0.2}, resume=True)
      Traceback (most recent call last):
      ...
      seqjax.train._errors.RunError: The run in ... has other settings: rate was 0.1, ...
    """
    path, wanted = expanded(workdir), plain(dict(config))
    run = None
    with together():
        if is_first_process():
            run = _open(path, wanted, resume)
    with together():
        return run or _beside(path, wanted)


def _beside(path: Path, wanted: dict[str, Any]) -> RunFolder:
    """The run as a process sees it that is not the first: a copy of its files of its own."""
    if not (path / "config.json").exists():
        raise RunError(
            f"{path} is not there for every process; choose a --workdir on a disk they all share."
        )
    began = _parse((path / "config.json").read_text(encoding="utf-8"), str(path / "config.json"))
    refuse_other_config("The first process", began, wanted)
    scratch = tempfile.TemporaryDirectory(prefix="seqjax-")
    for name in ("config.json", "metrics.jsonl", "result.json"):
        if (path / name).exists():
            shutil.copy(path / name, scratch.name)
    return RunFolder(Path(scratch.name), wanted, home=path, scratch=scratch)


def _open(path: Path, wanted: dict[str, Any], resume: bool) -> RunFolder:
    file = path / "config.json"
    with writing(path):
        make_folder(path)
        begun = [n for n in ("metrics.jsonl", "result.json", "checkpoints") if (path / n).exists()]
        lock = None if "result.json" in begun else RunLock(path)
        if not file.exists() and not begun:
            replace_file(file, to_json(wanted, indent=2) + "\n")
            return RunFolder(path, wanted, lock)
    if not resume:
        raise RunError(
            f"{path} already holds a run; continue it with --resume, or choose another --workdir."
        )
    if not file.exists():
        raise RunError(f"{path} holds {begun[0]} but no config.json; choose another --workdir.")
    refuse_other_config(f"The run in {path}", read_object(file), wanted)
    run = RunFolder(path, wanted, lock)
    if not run.finished and (path / "metrics.jsonl").exists():
        run._write_metrics(run.metrics())  # drops a half-written last line
    return run


def refuse_other_config(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuses to continue with other settings than a run began with.

    Args:
      what: what was begun, for the message.
      old: its settings.
      new: the settings wanted now.

    Raises:
      RunError: naming every setting that differs, dots between the levels.
    """
    was, now = _flat(old), _flat(new)
    changes = [
        f"{name} was {was.get(name, 'absent')}, is now {now.get(name, 'absent')}"
        for name in sorted(was.keys() | now.keys())
        if was.get(name, "absent") != now.get(name, "absent")
    ]
    if changes:
        raise RunError(
            f"{what} has other settings: {'; '.join(changes)}. "
            "Give the same settings, or choose another --workdir."
        )


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in config.items():
        if isinstance(value, dict) and value:
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat


def read_object(path: Path) -> dict[str, Any]:
    """Reads a file of a run folder that holds one JSON object.

    Raises:
      RunError: if it cannot be read or holds anything else.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.") from None
    return _parse(text, str(path))


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
        refuse_deep(value)
    except (ValueError, RecursionError):  # the latter of brackets in thousands
        value = None
    if not isinstance(value, dict):
        raise RunError(f"{where} is damaged: not a JSON object. Choose another --workdir.")
    return value


def _is_row(row: Mapping[str, Any]) -> bool:
    """Returns whether a row has a place in training and, besides, numbers alone."""
    places = all(isinstance(row.get(name), int) for name in ("epoch", "step"))
    numbers = [value for name, value in row.items() if name != "kind" and value is not None]
    return places and all(
        isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**53)
        for value in [*numbers, row.get("wall_s")]
    )


def _require_keys(what: str, got: Mapping[str, Any], required: tuple[str, ...]) -> None:
    if set(got) != set(required):
        missing, unknown = sorted(set(required) - set(got)), sorted(set(got) - set(required))
        raise ValueError(
            f"seqjax.train.write_result: {what} must have exactly the keys {', '.join(required)}; "
            f"missing {missing}, unknown {unknown}."
        )


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an `OSError` in the body into a `RunError` that names the run folder."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RunError(
            f"Cannot write to the run folder {path}: {reason}. Choose another --workdir."
        ) from error
