"""Where the numbers live: one axis of devices, over which the batch is split."""

import ctypes
import os
import sys
from typing import TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

Tree = TypeVar("Tree")
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h


def use_all_cores(num: int | None = None) -> None:
    """Makes every CPU core a JAX device; call it before the first JAX operation.

    A matrix product inside a recurrent loop runs on one core, so a CPU is filled by splitting the
    batch. Where there is an accelerator JAX computes there and this changes nothing.

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

    XLA asks for all of a step's memory anew at every step. Large blocks come from the system as
    untouched pages, and touching them one by one, on all cores at once, took 5 to 10 % of a
    training step where the temporaries are some ten MiB. The process stays as large as it ever
    was. Nothing happens where the library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _usable_cores() -> int:
    # A container or `taskset` may allow fewer cores than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def data_mesh(batch_size: int | None = None) -> Mesh:
    """Lines the devices up along one axis, "batch".

    Args:
      batch_size: if given, only as many devices are used as divide it evenly.

    Returns:
      A mesh with the single axis "batch".

    Example:
      >>> data_mesh(batch_size=1).shape["batch"]
      1
    """
    devices = jax.devices()
    num = len(devices)
    if batch_size is not None:
        num = max(n for n in range(1, num + 1) if batch_size % n == 0)
    return Mesh(np.array(devices[:num]), ("batch",), axis_types=(AxisType.Auto,))


def shard(mesh: Mesh, tree: Tree, *, axis: int = 0) -> Tree:
    """Splits an axis of every array over the devices.

    Args:
      mesh: from `data_mesh`.
      tree: pytree of arrays.
      axis: the batch axis, the leading one by default.

    Returns:
      The same pytree on the devices.

    Raises:
      ValueError: if that axis of an array is no multiple of the number of devices.

    Example:
      >>> shard(data_mesh(1), {"x": np.zeros((4, 2))})["x"].shape
      (4, 2)
    """
    num = mesh.shape["batch"]
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        shape = np.shape(leaf)
        if len(shape) <= axis or shape[axis] % num:
            which = "the leading axis" if axis == 0 else f"axis {axis}"
            raise ValueError(
                f"seqjax.train.shard: {which} must be a multiple of {num} devices, got "
                f"shape {shape} at batch{jax.tree_util.keystr(path)}. Pad the batch, or pass its "
                "size to data_mesh()."
            )
    spec = PartitionSpec(*[None] * axis, "batch")
    return jax.device_put(tree, NamedSharding(mesh, spec))


def split_batch(tree: Tree) -> Tree:
    """Splits a batch over all the devices that divide it evenly: the one line a notebook needs.

    What is computed from it, in `jax.jit`, runs on all of them, after `use_all_cores()` on every
    core, with the results of one device.

    Args:
      tree: pytree of arrays, batch first, as many examples in each.

    Returns:
      The same pytree on the devices.

    Raises:
      ValueError: if there is no array, or leading axes differ.

    Example:
      >>> split_batch({"x": np.zeros((4, 2)), "lengths": np.ones(4, int)})["x"].shape
      (4, 2)
    """
    sizes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(tree)}
    if len(sizes) != 1 or () in sizes:
        raise ValueError(
            "seqjax.train.split_batch: the arrays must have one leading axis of the same size, got "
            f"{sorted(sizes)}. Put the batch first."
        )
    return shard(data_mesh(sizes.pop()[0]), tree)


def replicate(mesh: Mesh, tree: Tree) -> Tree:
    """Puts a whole copy of every array on each device.

    Args:
      mesh: from `data_mesh`.
      tree: pytree of arrays.

    Returns:
      The same pytree on the devices.

    Example:
      >>> replicate(data_mesh(), np.arange(3)).tolist()
      [0, 1, 2]
    """
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))
