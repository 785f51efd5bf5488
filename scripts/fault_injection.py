"""Faults at chosen moments: before single operations on files, and a power cut after them.

Shared by `scripts/faults.py`, which injects them into whole programs, and by the tests.
"""

import atexit
import contextlib
import errno
import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate")
_watchers: list[Callable[[str], None]] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watchers or not arguments or not isinstance(arguments[0], str | os.PathLike):
        return
    writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or event in _CHANGES:
        for watcher in list(_watchers):
            watcher(os.path.abspath(arguments[0]))


sys.addaudithook(_audit)  # there is no way to remove one


@contextlib.contextmanager
def before_operations(folder: Path, act: Callable[[int], None]) -> Iterator[None]:
    """Calls a function before each operation by which Python changes files below a folder.

    Args:
      folder: an absolute path.
      act: receives the number of the operation, from 0. What it raises ends the operation.
    """
    number = 0

    def watch(path: str) -> None:
        nonlocal number
        if path.startswith(str(folder)):
            number += 1
            act(number - 1)

    _watchers.append(watch)
    try:
        yield
    finally:
        _watchers.remove(watch)


def fault_at(kind: str, at: int) -> Callable[[int], None]:
    """Returns a fault for `before_operations`.

    Args:
      kind: "kill" or "signal" (three SIGTERM at once), or "full disk" from then on.
      at: the number of the operation.
    """

    def act(number: int) -> None:
        if kind == "full disk" and number >= at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if number == at and kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if number == at and kind == "signal":
            for _ in range(3):
                signal.raise_signal(signal.SIGTERM)

    return act


def arrange(fault: str) -> None:
    """Injects a fault into this process.

    Args:
      fault: `kind:number:folder`. The kind is one of `fault_at`, "power cut" or "none". A power cut
        leaves a copy of the folder as it would be afterwards; the copy's name ends in ".cut". With
        "none", standard error says how many operations there were.
    """
    kind, at, path = fault.split(":", 2)
    folder, numbers = Path(path), [0]
    folder.mkdir(exist_ok=True)
    disk = Disk(folder)
    act = fault_at("kill" if kind == "power cut" else kind, int(at))

    def watch(number: int) -> None:
        numbers.append(number)
        if kind == "power cut" and number == int(at):
            disk.leave(folder.with_name(f"{folder.name}.cut"))
        act(number)

    stack = contextlib.ExitStack()
    stack.enter_context(disk.watched())
    stack.enter_context(before_operations(folder, watch))
    if kind == "none":
        atexit.register(lambda: print(f"operations {numbers[-1]}", file=sys.stderr))
    atexit.register(stack.close)


class Disk:
    """What a disk surely has of a folder: content and names as they were when last synchronised."""

    def __init__(self, folder: Path):
        """Starts with the folder, empty.

        Args:
          folder: an existing folder.
        """
        self._folder = folder
        self._files: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Notes every `os.fsync` of the body."""
        fsync = os.fsync

        def note(file: Any) -> None:
            fsync(file)
            number = file if isinstance(file, int) else file.fileno()
            about = os.fstat(number)
            if stat.S_ISDIR(about.st_mode):
                with os.scandir(number) as entries:
                    self._names[about.st_ino] = {each.name: each.inode() for each in entries}
            else:
                with open(f"/proc/self/fd/{number}", "rb") as content:
                    self._files[about.st_ino] = content.read()

        os.fsync = note
        try:
            yield
        finally:
            os.fsync = fsync

    def leave(self, copy: Path) -> None:
        """Makes the folder as it is after a power cut now: what is deleted is gone at once.

        Args:
          copy: a folder that is not there yet.
        """
        self._leave(self._folder, self._folder.stat().st_ino, copy)

    def _leave(self, now: Path, number: int, copy: Path) -> None:
        copy.mkdir()
        for name, child in self._names.get(number, {}).items():
            if (now / name).is_dir():
                self._leave(now / name, child, copy / name)
            elif (now / name).exists():
                (copy / name).write_bytes(self._files.get(child, b""))
