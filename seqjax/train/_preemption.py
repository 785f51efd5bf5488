"""A machine that is taken away says so by SIGTERM, and a terminal that closes by SIGHUP."""

import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator

from jax.experimental import multihost_utils

from seqjax.train._processes import several_processes

_SIGNALS = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
_asked = itertools.count()  # all processes ask as often, whatever seed and epoch they are at


@contextlib.contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Turns SIGTERM and SIGHUP into an answer, however often they come.

    A signal after the last question acts in the end as it did before, so that none is lost. Only
    the main thread of a program hears signals; elsewhere, and where a signal is ignored (`nohup`)
    or a library has taken it for itself, nothing is changed.

    Of several processes it is enough that one is told: JAX's coordinator has them all answer yes at
    the same question. JAX hears SIGTERM there from the start of the program to its end, so that one
    that comes before training ends it at its first step.

    Yields:
      A function that says whether a signal has come.

    Example:
      >>> with asked_to_stop() as stopping:
      ...     signal.raise_signal(signal.SIGTERM)
      ...     stopping()
      True
    """
    came: list[int] = []
    told = False

    def stopping() -> bool:
        nonlocal told
        told = bool(came)
        return told

    def note(number: int, _: object) -> None:
        came.append(number)

    if several_processes():
        with _heard(_SIGNALS[1:], lambda *_: os.kill(os.getpid(), signal.SIGTERM)):
            yield lambda: multihost_utils.reached_preemption_sync_point(next(_asked))
        return
    with _heard(_SIGNALS, note):
        yield stopping
    if came and not told:
        signal.raise_signal(came[0])


@contextlib.contextmanager
def _heard(numbers: list[signal.Signals], note: Callable[..., None]) -> Iterator[None]:
    """Has signals call a function, and puts back what they did before."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        found = {number: signal.getsignal(number) for number in numbers}
        before = {n: h for n, h in found.items() if h not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
