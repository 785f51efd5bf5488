"""Standard output and error, on which a program tells of its work and never depends."""

import contextlib
import os
import sys
from typing import Any, TextIO, cast


class Harmless:
    """A stream that drops what nobody can receive: it is closed, full, or its terminal has gone.

    Example:
      >>> print("to nobody", file=Harmless(None))
    """

    def __init__(self, stream: TextIO | None):
        """Wraps `sys.stdout` or `sys.stderr`, which is None where it was closed beforehand."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes what can be written."""
        self._attempt("write", text)
        return len(text)

    def flush(self) -> None:
        """Flushes what can be flushed."""
        self._attempt("flush")

    def isatty(self) -> bool:
        """Says whether somebody may be looking."""
        return bool(self._attempt("isatty"))

    def _attempt(self, method: str, *arguments: str) -> Any:
        try:
            return getattr(self._stream, method, lambda *_: None)(*arguments)
        except (OSError, ValueError):  # the latter of a stream that Python has closed
            # What it still holds, and what libraries write there themselves, goes nowhere.
            with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), cast(TextIO, self._stream).fileno())
            self._stream = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def protect_streams() -> None:
    """Makes the program's standard streams harmless, to the libraries as well."""
    for number in range(3):  # or the next file that is opened takes the number of a closed one
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout, sys.stderr = (cast(Any, Harmless(each)) for each in (sys.stdout, sys.stderr))
