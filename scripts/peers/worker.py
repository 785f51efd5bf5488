"""The process in which one framework is built and timed, told what to do through a pipe."""

import contextlib
import ctypes
import importlib
import os
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

from peers import Case

# Numbers of malloc.h: the trim threshold, the padding, from where on a block is a mapping of its
# own, and how many may be.
MALLOC_OPTIONS = {-1: 2**16, -2: 0, -3: 2**16, -4: 2**16}


def serve(connection: Connection, peer: str, cores: int, folder: str | None = None) -> None:
    """Answers requests `(name, *arguments)` until the pipe closes; an error is an answer too.

    Requests are `draw` (case), which returns weights in our layout, of seqjax alone; `build` (case,
    weights, xs, cotangent), the results and the seconds of each mode's first call; `time` (mode,
    calls), the seconds of each call; and `peak` (mode), the MiB that a call adds to the process at
    most, or None where the system does not tell. Ask for `return_memory` before the program is
    built whose peak is wanted. With a `folder`, modules are looked for there first.
    """
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if folder is not None:
        sys.path.insert(0, folder)
    try:
        adapter = importlib.import_module(f"peers.{peer}_peer")
    except ImportError as error:
        connection.send(error)
        return
    adapter.start(cores)
    connection.send((adapter.VERSIONS, adapter.CELLS))
    program = None

    def build(case: Case, weights, xs, cotangent):
        nonlocal program
        program = adapter.build(case, weights, xs, cotangent)
        first = {mode: seconds(getattr(program, mode)) for mode in ("inference", "train")}
        return program.results(), first

    def timed(mode: str, calls: int):
        return [seconds(getattr(program, mode)) for _ in range(calls)]

    def peak(mode: str):
        call = getattr(program, mode)
        call()
        libc("malloc_trim", 0)  # what compiling has left
        before = resident("VmRSS")
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
            call()
            after = resident("VmHWM")
            return None if before is None or after is None else after - before
        return None

    handlers = {"build": build, "time": timed, "peak": peak, "return_memory": return_memory}
    if hasattr(adapter, "draw"):
        handlers["draw"] = adapter.draw
    with contextlib.suppress(EOFError):
        while True:
            name, *arguments = connection.recv()
            try:
                connection.send(handlers[name](*arguments))
            except Exception as error:  # whatever a framework raises is told, not lost
                connection.send(RuntimeError(f"{peer}: {type(error).__name__}: {error}"))


def seconds(call) -> float:
    """Returns the seconds of a call."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def return_memory() -> None:
    """Lets glibc return freed memory at once; what it kept would hide the peak of the next call."""
    for option, value in MALLOC_OPTIONS.items():
        libc("mallopt", option, value)


def libc(name: str, *arguments: int) -> None:
    """Calls a function of glibc, where there is one."""
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function is not None:
        function(*arguments)


def resident(field: str) -> float | None:
    """Returns a figure of this process's memory in MiB, where the system has it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 1024
    return None
