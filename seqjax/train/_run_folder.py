"""The folder a run leaves behind, and the rules for opening one again."""

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqjax.train._errors import RunError
from seqjax.train._files import plain, refuse_deep, replace_file, to_json
from seqjax.train._processes import is_first_process, together
from seqjax.train._run_lock import RunLock, lock_run

RESULT_KEYS = (
    "experiment",
    "cell",
    "dataset",
    "num_params",
    "seeds",
    "epochs_run",
    "wall_s",
    "versions",
    "devices",
    "data_sha256",
    "params_sha256",
    "floors",
    "metrics",
)


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
        """
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

    def rewind_metrics(self, seed: int, keep: int) -> None:
        """Drops what a seed reported after the checkpoint it resumes from.

        Args:
          seed: whose rows.
          keep: how many of them the checkpoint had seen.
        """
        kept, seen = [], 0
        for row in self.metrics():
            mine = row.get("seed") == seed
            seen += mine
            if not mine or seen <= keep:
                kept.append(row)
        self._write_metrics(kept)

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
        with writing(self.path):
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
      workdir: the run's folder, made when missing.
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
    path, wanted = Path(workdir), plain(dict(config))
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
        path.mkdir(parents=True, exist_ok=True)
        begun = [n for n in ("metrics.jsonl", "result.json", "checkpoints") if (path / n).exists()]
        lock = None if "result.json" in begun else lock_run(path)
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


def config_hash(config: Mapping[str, Any]) -> str:
    """A short name for a configuration.

    Args:
      config: every resolved setting.

    Returns:
      Ten hexadecimal digits, whatever the order of the settings.

    Example:
      >>> config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1})
      True
    """
    text = json.dumps(plain(dict(config)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def default_workdir(experiment: str, cell: str, config: Mapping[str, Any]) -> Path:
    """Where a run goes if nobody says otherwise.

    Args:
      experiment: name of the experiment.
      cell: name of the cell; its colons become points, since not every file system has them.
      config: every resolved setting.

    Returns:
      `runs/<experiment>/<cell>-<config hash>`.

    Example:
      >>> default_workdir("imdb", "bigru", {"seeds": 3}).as_posix()
      'runs/imdb/bigru-38a0cb50fc'
    """
    return Path("runs") / experiment / f"{cell.replace(':', '.')}-{config_hash(config)}"


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

    Args:
      path: the file.

    Returns:
      The object.

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


def _require_keys(what: str, got: Mapping[str, Any], required: tuple[str, ...]) -> None:
    if set(got) != set(required):
        missing, unknown = sorted(set(required) - set(got)), sorted(set(got) - set(required))
        raise ValueError(
            f"seqjax.train.write_result: {what} must have exactly the keys {', '.join(required)}; "
            f"missing {missing}, unknown {unknown}."
        )


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an `OSError` in the body into a `RunError` that names the folder.

    Args:
      path: the run folder.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RunError(
            f"Cannot write to the run folder {path}: {reason}. Choose another --workdir."
        ) from error
