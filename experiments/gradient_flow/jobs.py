"""Independent pieces of work, side by side: one thread and one device each."""

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import jax

Result = TypeVar("Result")


def run_jobs(jobs: Sequence[Callable[[], Result]]) -> list[Result]:
    """Runs every job, as many at a time as there are devices.

    A recurrent loop fills one core only, and so does the compiler; neither holds Python's lock.
    The numbers do not depend on which device a job gets.

    Args:
      jobs: functions without arguments.

    Returns:
      Their results, in order.

    Example:
      >>> run_jobs([lambda: 1, lambda: 2])
      [1, 2]
    """
    free: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for device in jax.local_devices():
        free.put(device)

    def on_a_device(job: Callable[[], Result]) -> Result:
        device = free.get()
        try:
            with jax.default_device(device):
                return job()
        finally:
            free.put(device)

    with ThreadPoolExecutor(jax.local_device_count()) as pool:
        try:
            return list(pool.map(on_a_device, jobs))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # what has not begun never will
            raise
