"""One process a run folder: two that trained into it would spoil each other's rows."""

import errno
import os
import sys
import weakref
from pathlib import Path

from seqjax.train._errors import RunError

try:
    import fcntl
except ImportError:  # Windows has no such locks; a second process is not noticed there
    fcntl = None

_held: weakref.WeakValueDictionary[Path, "RunLock"] = weakref.WeakValueDictionary()


class RunLock:
    """A lock on a run folder, held until nothing refers to it or the process ends; see `lock_run`.

    The operating system frees it however a process ends, so a kill leaves nothing to clear away.
    """

    def __init__(self, path: Path):
        """Takes the lock.

        Args:
          path: an existing folder.

        Raises:
          RunError: if another process has it.
          OSError: if the folder cannot be written.
        """
        file = os.open(path / ".lock", os.O_RDWR | os.O_CREAT)
        weakref.finalize(self, os.close, file)
        if fcntl is None:
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                print(
                    f"{path} is on a file system without locks; see to it that no other run uses "
                    "it.",
                    file=sys.stderr,
                )
                return
            raise RunError(
                f"Another process is running in {path}; wait for it, stop it, or choose another "
                "--workdir."
            ) from None


def lock_run(path: Path) -> RunLock:
    """Returns this process's lock on a folder, taken now if it has none.

    Args:
      path: an existing folder.

    Returns:
      The lock; the folder is free again when nothing refers to it.

    Raises:
      RunError: if another process has it.
      OSError: if the folder cannot be written.

    Example:
      >>> import tempfile
      >>> folder = Path(tempfile.mkdtemp())
      >>> lock_run(folder) is lock_run(folder)  # for as long as the first is referred to
      True
    """
    path = path.resolve()
    lock = _held.get(path)
    if lock is None:
        lock = _held[path] = RunLock(path)
    return lock
