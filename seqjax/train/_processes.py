"""Several processes that compute together: how they start, agree, and read what is spread."""

import contextlib
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from seqjax.train._errors import PeerError, RunError

Tree = TypeVar("Tree")

# Programs the host starts ahead of the devices: the next batch is made and sent while they compute,
# yet waiting batches do not fill their memory. Nor may there be many on CPUs: XLA lets 32 of a
# device wait and then has the host wait, who may have given one device what it has not given
# another; if that is to be added up over both, neither ever goes on.
AHEAD = 2

# Seconds after which a process that has gone, or does not come to the end, ends the others too.
_LOST_AFTER_S = 60
_ANSWER_S = 25  # that the first process may take to start
_MESSAGE_SIZE = 1000


def join_processes(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> None:
    """Makes this process one of several that share their devices; call it before anything of JAX.

    Every process runs the same program on the same data. The first one, number 0, alone writes and
    prints. A process that is lost ends the others within about a minute.

    Args:
      coordinator: address of the first process as host:port; "auto" asks the cluster for all three
        (Slurm, Open MPI, Kubernetes, Cloud TPU); None for a process by itself.
      num_processes: how many there are.
      process_id: the number of this one, from 0.

    Raises:
      RunError: if some of the three are missing, the coordinator does not answer for 25 s, or the
        processes cannot be joined.

    Example:
      >>> join_processes()  # a process by itself: nothing to do
    """
    given = (num_processes, process_id)
    if coordinator is None:
        if given != (None, None):
            raise RunError("--num_processes and --process_id need --coordinator=host:port.")
        return
    auto = coordinator == "auto"
    if not auto and (None in given or ":" not in coordinator):
        raise RunError(
            "--coordinator must be host:port, with --num_processes and --process_id, or auto in a "
            f"cluster that JAX knows; got {coordinator}, {num_processes} and {process_id}."
        )
    if num_processes is not None and not 0 <= (process_id or 0) < num_processes:
        raise RunError(
            f"--process_id must be from 0 to {num_processes - 1}, one for each of the "
            f"{num_processes} processes; got {process_id}."
        )
    if not auto and process_id != 0:
        _refuse_silent(coordinator)
    try:
        jax.distributed.initialize(
            None if auto else coordinator,
            num_processes,
            process_id,
            heartbeat_timeout_seconds=_LOST_AFTER_S,
            shutdown_timeout_seconds=_LOST_AFTER_S,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().split("\n")[0][:300]
        raise RunError(f"The processes cannot be joined through {coordinator}: {reason}") from error


def _refuse_silent(coordinator: str) -> None:
    """Refuses a coordinator that is not there, for which JAX would wait for minutes."""
    host, _, port = coordinator.rpartition(":")
    end, reason = time.monotonic() + _ANSWER_S, ""
    while (left := end - time.monotonic()) > 0:
        try:
            with socket.create_connection((host.strip("[]"), port), timeout=left) as probe:
                probe.settimeout(left)
                if probe.recv(1):  # gRPC greets whoever calls
                    return
        except OSError as error:
            reason = f" ({error.strerror or error})"
        time.sleep(min(left, 0.2))
    raise RunError(
        f"The coordinator {coordinator} does not answer{reason}; waited {_ANSWER_S} s. Start "
        "process 0 there, with the same --coordinator, and see that its port can be reached."
    )


def several_processes() -> bool:
    """Returns whether this process is one of several; does not start JAX.

    Example:
      >>> several_processes()
      False
    """
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first_process() -> bool:
    """Returns whether this process is the one that writes and prints.

    Example:
      >>> is_first_process()
      True
    """
    return not several_processes() or jax.process_index() == 0


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Lets all processes fail where one fails, so that none waits for it for ever.

    Every process must come by. One process by itself notices nothing.

    Raises:
      PeerError: in a process that did not fail itself, with what the first one that did had to say.

    Example:
      >>> with together():
      ...     print("all is well")
      all is well
    """
    if not several_processes():
        yield
        return
    failure = None
    try:
        yield
    except Exception as error:
        failure = error
    text = "" if failure is None else str(failure) or type(failure).__name__
    encoded = np.zeros(_MESSAGE_SIZE, np.uint8)
    content = text.encode()[:_MESSAGE_SIZE]
    encoded[: len(content)] = np.frombuffer(content, np.uint8)
    everyone = multihost_utils.process_allgather(encoded)
    if failure is not None:
        raise failure
    for number, row in enumerate(np.asarray(everyone)):
        if row.any():
            said = row.tobytes().rstrip(b"\0").decode(errors="ignore")
            raise PeerError(f"Process {number}: {said}")


def of_first_process(value: int) -> int:
    """Returns what the first process gave.

    Args:
      value: a number, which may differ among processes.

    Example:
      >>> of_first_process(3)
      3
    """
    if not several_processes():
        return value
    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def fetch(tree: Tree) -> Tree:
    """Brings arrays to the host, whole, whichever processes have their parts.

    With several processes every one of them must ask, and every one gets the whole.

    Args:
      tree: pytree of arrays.

    Returns:
      The same pytree of NumPy arrays.

    Example:
      >>> fetch({"x": jax.numpy.arange(3)})["x"].tolist()
      [0, 1, 2]
    """
    if all(_at_hand(leaf) for leaf in jax.tree.leaves(tree)):
        return jax.device_get(tree)
    return jax.tree.map(_gathered, tree)


def fetch_each(results: Iterable[Tree]) -> list[Tree]:
    """Brings results to the host whose programs are started as they are asked for.

    No more than a few are under way at a time, see `AHEAD`.

    Args:
      results: pytrees of arrays, better a generator than a list.

    Returns:
      What `fetch` makes of each.

    Example:
      >>> double = jax.jit(lambda x: 2 * x)
      >>> [int(y) for y in fetch_each(double(x) for x in range(3))]
      [0, 2, 4]
    """
    found, owed = [], deque()
    for result in results:
        owed.append(result)
        if len(owed) > AHEAD:
            found.append(fetch(owed.popleft()))
    return found + [fetch(result) for result in owed]


def _at_hand(leaf: Any) -> bool:
    return not isinstance(leaf, jax.Array) or leaf.is_fully_addressable


def _gathered(leaf: Any) -> Any:
    if _at_hand(leaf):
        return jax.device_get(leaf)
    if leaf.is_fully_replicated:
        return np.asarray(leaf.addressable_data(0))
    return multihost_utils.process_allgather(leaf, tiled=True)
