"""A machine that is taken away says so by SIGTERM, some seconds before."""

import contextlib
import itertools
import signal
import threading
from collections.abc import Callable, Iterator

from jax.experimental import multihost_utils

from seqjax.train._processes import several_processes

_asked = itertools.count()  # all processes ask as often, whatever seed and epoch they are at


@contextlib.contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Turns the first SIGTERM into an answer; a second one acts as it did before.

    Only the main thread of a program hears signals; elsewhere, and where a library has taken the
    signal for itself, nothing is changed and the answer is always no.

    Of several processes it is enough that one is told: JAX's coordinator has them all answer yes at
    the same question. JAX hears SIGTERM there from the start of the program to its end, so that one
    that comes before training ends it at its first step.

    Yields:
      A function that says whether SIGTERM has come.

    Example:
      >>> with asked_to_stop() as stopping:
      ...     signal.raise_signal(signal.SIGTERM)
      ...     stopping()
      True
    """
    if several_processes():
        yield lambda: multihost_utils.reached_preemption_sync_point(next(_asked))
        return
    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield lambda: False
        return
    asked = threading.Event()

    def note(*_: object) -> None:
        asked.set()
        signal.signal(signal.SIGTERM, before)

    signal.signal(signal.SIGTERM, note)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
