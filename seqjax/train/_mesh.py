"""Where the numbers live: devices along one axis that splits the batch, or also hidden or time.

What is split over "hidden" is what the cells say (`Cell.partition`): the columns of the kernels of
recurrent layers, with their moments and averages. Each device then multiplies by its own columns,
and all have the whole states.

The gates do not interleave: columns stand gate by gate, so a device has some gates of all units and
not all gates of some. What a product of the recurrence gives is therefore put together once a step
in time, `G * H` numbers an example. Interleaved columns would exchange `H` as often, but need an
order of columns that depends on the devices, in every checkpoint and converter, or a rearrangement
of every kernel in every training step. A recurrence waits for the exchange, not for its volume.

Along "time" nothing lives: the executors `Associative` and `Newton` split the steps over it.
"""

import math
import re
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from seqjax.train._errors import RunError
from seqjax.train._processes import fetch

Tree = TypeVar("Tree")


def check_mesh(shape: str) -> dict[str, int] | None:
    """Reads a description of a mesh; starts no device.

    Returns:
      The sizes of the axes in one like "4x2", "time4" or "2xtime4"; None for the others, where the
      devices decide.

    Raises:
      RunError: if it is not one of those that `data_mesh` takes.

    Example:
      >>> check_mesh("4x2"), check_mesh("time4"), check_mesh("auto")
      ({'batch': 4, 'hidden': 2}, {'batch': 1, 'time': 4}, None)
    """
    if shape in ("auto", "members", "batch"):
        return None
    size = "([1-9][0-9]{0,8})"
    if found := re.fullmatch(f"{size}x(time)?{size}", shape):
        return {"batch": int(found[1]), found[2] or "hidden": int(found[3])}
    if found := re.fullmatch(f"time{size}", shape):
        return {"batch": 1, "time": int(found[1])}
    raise RunError(
        "--mesh must be auto, members, batch, BATCHxHIDDEN such as 4x2, or time4 or 2xtime4, which "
        f"split time; got {shape!r}."
    )


def shared_by_members(shape: str = "auto") -> bool:
    """Returns whether members of a population share the devices.

    So it is for "members", and for "auto" on accelerators: one network fills the cores of a CPU.

    Raises:
      RunError: if `shape` does not describe a mesh.

    Example:
      >>> shared_by_members("members"), shared_by_members("batch")
      (True, False)
    """
    check_mesh(shape)
    return jax.default_backend() != "cpu" if shape == "auto" else shape == "members"


def data_mesh(batch_size: int | None = None, shape: str = "auto") -> Mesh:
    """Lines the devices up along "batch", or along "batch" and "hidden" or "time".

    Args:
      batch_size: if given, only as many devices are used as divide it evenly, of every process
        as many.
      shape: "auto", "batch" or "members" for all devices along the batch; "4x2" for 4 parts of the
        batch times 2 parts of the hidden units; "2xtime4" for 2 parts of the batch times 4 parts of
        time, and "time4" for time alone. The parts must be all devices of all processes. The first
        three differ only in how seeds share the devices, see `can_train_together`.

    Returns:
      A mesh with the axis "batch", or the axes "batch" and "hidden", or "batch" and "time".

    Raises:
      RunError: if `shape` does not describe a mesh, or the devices or the batch cannot be divided
        so.

    Example:
      >>> data_mesh(batch_size=1).shape["batch"]
      1
    """
    devices = jax.devices()
    along = check_mesh(shape)
    if along is not None:
        batch, wanted = along["batch"], math.prod(along.values())
        if wanted != len(devices) or (batch_size or 0) % batch:
            raise RunError(
                f"--mesh={shape} needs {wanted} devices and a batch that is a multiple of {batch}; "
                f"there are {len(devices)} devices, and the batch is {batch_size}."
            )
        grid = np.array(devices).reshape(*along.values())
        return Mesh(grid, tuple(along), axis_types=(AxisType.Auto,) * 2)
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


def layout(mesh: Mesh, tree: Any, params: Any, partition: Any = None) -> Any:
    """Says where a state of training lives.

    Whatever has the structure of the parameters lives as they do: moments of an optimiser, an
    average, and what is left of them under `optax.masked`. All else is whole on every device.

    Args:
      mesh: from `data_mesh`.
      tree: pytree of arrays.
      params: the parameters.
      partition: a `PartitionSpec` for each parameter, in their structure; by default what Flax's
        Variables among them say (`out_sharding`), and no split of other arrays. An axis that the
        mesh does not have, or whose size does not divide the dimension, leaves that whole.

    Returns:
      A pytree of shardings.

    Example:
      >>> params = {"kernel": np.zeros((2, 8)), "bias": np.zeros(8)}
      >>> partition = {"kernel": PartitionSpec(None, "batch"), "bias": PartitionSpec()}
      >>> found = layout(data_mesh(1), {"mu": params, "count": np.zeros(())}, params, partition)
      >>> found["mu"]["kernel"].spec, found["mu"]["bias"].spec, found["count"].spec
      (P(None, 'batch'), P(), P())
    """
    structure = jax.tree.structure(params)
    if partition is None:
        partition = nnx.get_partition_spec(params)

    def like_params(node: Any) -> bool:
        return jax.tree.structure(node, is_leaf=_is_masked) == structure

    def place(node: Any) -> Any:
        if not like_params(node):
            return NamedSharding(mesh, PartitionSpec())
        return jax.tree.map(
            lambda leaf, spec: leaf if _is_masked(leaf) else _sharding(mesh, np.shape(leaf), spec),
            node,
            partition,
            is_leaf=_is_masked,
        )

    return jax.tree.map(place, tree, is_leaf=like_params)


def _is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)


def _sharding(mesh: Mesh, shape: tuple[int, ...], spec: PartitionSpec) -> NamedSharding:
    """Returns the sharding of an array; dimensions that `spec` cannot split are whole."""
    if len(spec) > len(shape):  # of an optimiser that keeps less than the whole parameter
        return NamedSharding(mesh, PartitionSpec())

    def fits(size: int, names: Any) -> bool:
        axes = names if isinstance(names, tuple) else (names,)
        return (
            all(name in mesh.shape for name in axes)
            and size % math.prod(mesh.shape[name] for name in axes) == 0
        )

    axes = [names if fits(size, names) else None for size, names in zip(shape, spec, strict=False)]
    return NamedSharding(mesh, PartitionSpec(*axes) if any(axes) else PartitionSpec())


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
