"""Refuses arrays that do not fit into the memory, before they are made."""

import os
from pathlib import Path

import jax

from experiments.command_line import ConfigError

_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container


def refuse_too_large(what: str, num_bytes: float, *, on_devices: bool = False) -> None:
    """Refuses arrays that are larger than the memory.

    Args:
      what: the settings that decide the size, such as "--hidden_size=1000000".
      num_bytes: size of the arrays, or a lower bound of it.
      on_devices: whether the arrays are on the devices, which may share them.

    Raises:
      ConfigError: if they are larger. The message has both sizes.

    Example:
      >>> refuse_too_large("--batch_size=10", 1e6)
    """
    limit = _memory(on_devices)
    if num_bytes > limit:
        raise ConfigError(
            f"{what} would take {num_bytes / 2**30:,.1f} GiB of memory, and there are "
            f"{limit / 2**30:,.1f} GiB. Choose a smaller one."
        )


def _memory(on_devices: bool) -> float:
    about = jax.local_devices()[0].memory_stats() if on_devices else None
    if about and "bytes_limit" in about:
        return about["bytes_limit"] * jax.device_count()
    if not hasattr(os, "sysconf"):
        return float("inf")
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _LIMIT.read_text().strip() if _LIMIT.is_file() else ""
    return min(machine, int(limit)) if limit.isdecimal() else machine
