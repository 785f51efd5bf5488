"""Every core of a CPU as a device, which keeps its core and its memory."""

import contextlib
import ctypes
import importlib.util
import mmap
import os
import sys
from pathlib import Path

import jax
import jaxlib

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of malloc.h
_ARENA = 2**26  # bytes that glibc gives a thread's memory at once, and the most a block of it takes
_BLOCK_FLAG = "xla_multiheap_size_constraint_per_heap"


def use_all_cores(num: int | None = None) -> None:
    """Makes every CPU core a JAX device; call it before the first JAX operation.

    A matrix product inside a recurrent loop runs on one core, so a CPU is filled by splitting the
    batch. Where there is an accelerator JAX computes there and this changes nothing.

    The memory of a step stays with the process for the next, on Linux with glibc: one of XLA's
    flags is added to `XLA_FLAGS` for it, and those that you set stay. On Linux this thread and
    those that it starts are scheduled as `SCHED_BATCH`, unless you have chosen otherwise. Neither
    flag nor policy is set where a plugin of an accelerator is installed. With the flag, the
    warnings of XLA's own log are hidden, unless you have set `jax_logging_level`.

    In a loop of your own look at a result now and then, or call `jax.block_until_ready`: with more
    than 32 calls under way XLA's CPU devices can lock each other, and end the process after 40 s.
    `fit` and `fetch_each` see to that themselves.

    Args:
      num: number of CPU devices; by default the cores this process may run on, unless the user
        has already chosen with `JAX_NUM_CPU_DEVICES` or `XLA_FLAGS`.

    Raises:
      RuntimeError: if JAX has already started with another number of CPU devices.

    Example:
      >>> use_all_cores(jax.device_count())  # already so: nothing to do
    """
    if num is None:
        chosen = jax.config.jax_num_cpu_devices  # pyright: ignore[reportAttributeAccessIssue]
        if chosen > 0 or "device_count" in os.environ.get("XLA_FLAGS", ""):
            return
        num = _usable_cores()
    _keep_freed_memory()
    _keep_cores()
    # XLA's CPU client runs all devices from one pool of NPROC threads, by default one a core. A
    # device that waits for the others keeps its thread, so there must be one for each; more than
    # that make every product be cut in more pieces than there are cores, which costs a quarter of
    # a training step.
    if num > _usable_cores():
        os.environ.setdefault("NPROC", str(num))
    try:
        jax.config.update("jax_num_cpu_devices", num)
    except RuntimeError:
        if jax.default_backend() == "cpu" and jax.device_count() != num:
            raise RuntimeError(
                f"seqjax.train.use_all_cores: JAX has already started with {jax.device_count()} "
                f"CPU device(s), {num} wanted. Call it before the first JAX operation."
            ) from None


def _keep_freed_memory() -> None:
    """Lets the C library keep freed memory for the next step instead of returning it.

    XLA asks for all of a step's memory anew at every step. What comes from the system are untouched
    pages, and touching them one by one, on all cores at once, took a tenth of a training step of a
    wide layer and a third of one of a bidirectional layer. The process stays as large as it ever
    was. Nothing happens where the library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_TOP_PAD, _ARENA)  # keeps an arena that has become empty
    # A thread's blocks above the size of an arena would still come from the system. XLA's flags
    # hold for every platform, so they stay as they are where there may be an accelerator.
    flags = os.environ.get("XLA_FLAGS", "")
    if _BLOCK_FLAG not in flags and not _may_have_accelerator() and _xla_knows(_BLOCK_FLAG):
        os.environ["XLA_FLAGS"] = f"{flags} --{_BLOCK_FLAG}={_ARENA // 2 - 2**20}".lstrip()
        _hide_warnings_of_the_compiler()


def _hide_warnings_of_the_compiler() -> None:
    """Hides the warnings, not the errors, of XLA's own log, unless the user has chosen a level.

    XLA warns of every buffer that is larger than the blocks asked for above: hundreds of lines for
    a long sequence. JAX sets the level of XLA's log with its own; given back its own level, JAX
    leaves that of XLA as it is.
    """
    chosen = jax.config.jax_logging_level  # pyright: ignore[reportAttributeAccessIssue]
    if chosen in (None, "NOTSET"):
        jax.config.update("jax_logging_level", "ERROR")
        jax.config.update("jax_logging_level", chosen)


def _keep_cores() -> None:
    """Lets the threads that compute keep their cores until they are done.

    XLA offers parts of every product to idle threads of its pool. Where a core is a device none is
    idle for long: a thread that wakes up for such a part takes the core from another device, which
    took up to a third of the time of an LSTM's inference. Batch threads take no core by waking up,
    and have the same share of it otherwise. Threads that exist already stay as they are.
    """
    if sys.platform != "linux" or _may_have_accelerator():
        return
    with contextlib.suppress(OSError):  # a sandbox may forbid it
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _may_have_accelerator() -> bool:
    if jax.config.jax_platforms == "cpu":  # pyright: ignore[reportAttributeAccessIssue]
        return False
    return any(importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu"))


def _xla_knows(flag: str) -> bool:
    # XLA ends the process where it meets a flag that it does not know, and lists none.
    library = Path(jaxlib.__file__).with_name("libjax_common.so")
    if not library.is_file():
        return False
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as code:
        return code.find(flag.encode()) >= 0


def _usable_cores() -> int:
    # A container or `taskset` may allow fewer cores than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
