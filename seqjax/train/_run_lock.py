"""One process a run folder: two that trained into it would spoil each other's rows."""

import errno
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from seqjax.train._errors import RunError
from seqjax.train._streams import Harmless

_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


class RunLock:
    """A lock on a run folder, held until nothing refers to it or the process ends.

    One process may hold it several times. The operating system frees it however the process ends,
    so a kill leaves nothing to clear away.

    Example:
      >>> import tempfile
      >>> RunLock(Path(tempfile.mkdtemp())).refuse_lost()
    """

    def __init__(self, path: Path):
        """Takes the lock.

        Args:
          path: an existing folder.

        Raises:
          RunError: if another process has it.
          OSError: if the folder cannot be written.
        """
        self._path, self._file = path, path.resolve() / ".lock"
        self._lock = FileLock(
            self._file, timeout=0, is_singleton=True, thread_local=False, fallback_to_soft=False
        )
        try:
            self._lock.acquire()
        except Timeout:
            raise RunError(
                f"Another process is running in {path}; wait for it, stop it, or choose another "
                "--workdir."
            ) from None
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
                raise
            print(
                f"{path} is on a file system without locks; see to it that no other run uses it.",
                file=Harmless(sys.stderr),
            )
        self._held = self._there()

    def refuse_lost(self) -> None:
        """Refuses to go on where the lock's file is not the one that was locked.

        Raises:
          RunError: if it was deleted or replaced: another process may have locked a new one.
        """
        if self._there() != self._held:
            raise RunError(
                f"{self._file} was deleted or replaced, so another process may be running in "
                f"{self._path}. When none is, go on with --resume."
            )

    def _there(self) -> tuple[int, int] | None:
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino
