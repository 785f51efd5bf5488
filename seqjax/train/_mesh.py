"""Where the numbers live: devices along one axis that splits the batch, or two, batch and hidden.

What is split over "hidden" is the columns of the kernels of recurrent layers, with their moments
and averages; each device then multiplies by its own columns, and all have the whole states.

The gates do not interleave: columns stand gate by gate, so a device has some gates of all units and
not all gates of some. What a product of the recurrence gives is therefore put together once a step
in time, `G * H` numbers an example. Interleaved columns would exchange `H` as often, but need an
order of columns that depends on the devices, in every checkpoint and converter, or a rearrangement
of every kernel in every training step. A recurrence waits for the exchange, not for its volume.
"""

import re
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from seqjax.train._errors import RunError
from seqjax.train._processes import fetch

Tree = TypeVar("Tree")

SPLIT_KERNELS = ("input_kernel", "recurrent_kernel")

# As `use_mesh` was told: batch and hidden; whether members of a population share the devices.
_chosen: tuple[int, int] | None = None
_by_members: bool | None = None


def use_mesh(shape: str = "auto") -> None:
    """Chooses how devices share the work, for everything that is made from now on.

    Args:
      shape: "members" for seeds and members of a sweep that train together where they can, each on
        its part of the devices, and else as "batch"; "batch" for one after the other, all devices
        along the batch; "auto" for "batch" on CPUs, whose cores one network fills, and "members"
        elsewhere; or "4x2" for 4 parts of the batch times 2 parts of the hidden units, which must
        be all devices of all processes.

    Raises:
      RunError: if it is none of them.

    Example:
      >>> use_mesh("auto")
    """
    global _chosen, _by_members
    _by_members = None if shape == "auto" else shape == "members"
    if shape in ("auto", "members", "batch"):
        _chosen = None
        return
    if not re.fullmatch(r"[1-9][0-9]{0,8}x[1-9][0-9]{0,8}", shape):
        raise RunError(
            f"--mesh must be auto, members, batch, or BATCHxHIDDEN such as 4x2; got {shape!r}."
        )
    batch, hidden = map(int, shape.split("x"))
    _chosen = (batch, hidden)


def shared_by_members() -> bool:
    """Returns whether members of a population are to share the devices, see `use_mesh`."""
    return jax.default_backend() != "cpu" if _by_members is None else _by_members


def data_mesh(batch_size: int | None = None) -> Mesh:
    """Lines the devices up along "batch"; `--mesh` of an experiment adds "hidden".

    Args:
      batch_size: if given, only as many devices are used as divide it evenly, of every process
        as many.

    Returns:
      A mesh with the axis "batch", or the axes "batch" and "hidden".

    Raises:
      RunError: if the devices, or the batch, cannot be divided so.

    Example:
      >>> data_mesh(batch_size=1).shape["batch"]
      1
    """
    devices = jax.devices()
    if _chosen is not None:
        batch, hidden = _chosen
        if batch * hidden != len(devices) or (batch_size or 0) % batch:
            raise RunError(
                f"--mesh={batch}x{hidden} needs {batch * hidden} devices and a batch that is a "
                f"multiple of {batch}; there are {len(devices)} devices, and the batch is "
                f"{batch_size}."
            )
        grid = np.array(devices).reshape(batch, hidden)
        return Mesh(grid, ("batch", "hidden"), axis_types=(AxisType.Auto,) * 2)
    of_process: dict[int, list[Any]] = {}
    for device in devices:
        of_process.setdefault(device.process_index, []).append(device)
    most = min(map(len, of_process.values()))
    fitting = [n for n in range(1, most + 1) if (batch_size or 0) % (n * len(of_process)) == 0]
    if not fitting:
        raise RunError(
            f"The batch must be a multiple of the {len(of_process)} processes, got {batch_size}."
        )
    chosen = [device for own in of_process.values() for device in own[: fitting[-1]]]
    return Mesh(np.array(chosen), ("batch",), axis_types=(AxisType.Auto,))


def shard(mesh: Mesh, tree: Tree, *, axis: int = 0) -> Tree:
    """Splits an axis of every array over the devices along "batch".

    Args:
      mesh: from `data_mesh`.
      tree: pytree of arrays, the same in every process; each puts its own part there.
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
    return put(tree, NamedSharding(mesh, spec))


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
    return put(tree, NamedSharding(mesh, PartitionSpec()))


def layout(mesh: Mesh, tree: Any) -> Any:
    """Says where parameters live, or whatever has arrays by their names, such as moments of them.

    Columns of the kernels of recurrent layers are split over "hidden" where their number can be
    divided; all else is whole on every device.

    Args:
      mesh: from `data_mesh`.
      tree: pytree of arrays.

    Returns:
      A pytree of shardings.

    Example:
      >>> layout(data_mesh(), {"recurrent_kernel": np.zeros((2, 8))})["recurrent_kernel"].spec
      P()
    """
    parts = mesh.shape.get("hidden", 1)

    def place(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        shape, spec = np.shape(leaf), PartitionSpec()
        named = any(name in jax.tree_util.keystr(path) for name in SPLIT_KERNELS)
        if parts > 1 and named and len(shape) > 1 and shape[-1] % parts == 0:
            spec = PartitionSpec(*[None] * (len(shape) - 1), "hidden")
        return NamedSharding(mesh, spec)

    return jax.tree_util.tree_map_with_path(place, tree)


def put(tree: Tree, shardings: Any) -> Tree:
    """Puts arrays on devices; of those that other processes have, only the own part.

    Args:
      tree: pytree of arrays, the same in every process.
      shardings: one for all, or a pytree of them.

    Returns:
      The same pytree on the devices.
    """
    if all(each.is_fully_addressable for each in jax.tree.leaves(shardings)):
        return jax.device_put(tree, shardings)
    if isinstance(shardings, NamedSharding):
        return jax.tree.map(lambda leaf: _put_own_part(leaf, shardings), tree)
    return jax.tree.map(_put_own_part, tree, shardings)


def _put_own_part(leaf: Any, sharding: NamedSharding) -> jax.Array:
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = _put_own_part(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    whole = np.asarray(fetch(leaf))
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])
