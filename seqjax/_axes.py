"""Device axes in array types: `same_axes` for `jax.shard_map`, `automatic` for explicit meshes."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
from jax import Array, lax
from jax.core import ShapedArray
from jax.sharding import AxisType, NamedSharding, PartitionSpec

Tree = TypeVar("Tree")


def same_axes(*trees: Tree) -> tuple[Tree, ...]:
    """Returns the trees with every array varying over the same device axes.

    Inside `jax.shard_map`, the type of an array records the mesh axes over which its values vary.
    A loop must preserve the type of its carry, but an initial state of zeros varies over no axis.
    Outside `jax.shard_map` this does nothing.
    """
    leaves = jax.tree.leaves(trees)
    names = frozenset().union(*map(varying, leaves))
    if not names:
        return trees

    def vary(leaf: Array) -> Array:
        missing = tuple(sorted(names - varying(leaf)))
        return lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(vary, trees)


def automatic(function: Callable[..., Any], xs: Array) -> Callable[..., Any]:
    """Returns `function` with explicit mesh axes made automatic inside it.

    Under a mesh with explicit axes, every operation must say how its result is sharded. Inside a
    run in time, the compiler decides instead. The results are sharded over their batch axes as
    `xs` is.

    Args:
      function: `function(*arrays) -> (outputs, final state, states)`. Outputs and states are time
        first.
      xs: the inputs, shape (T, *B, D).
    """
    mesh = jax.sharding.get_abstract_mesh()
    explicit = AxisType.Explicit in getattr(mesh, "axis_types", ())
    if not explicit:
        return function
    _, *batch, _ = (*jax.typeof(xs).sharding.spec, *[None] * xs.ndim)[: xs.ndim]
    over_time, at_end = PartitionSpec(None, *batch), PartitionSpec(*batch)

    specs = over_time, at_end, over_time
    return jax.sharding.auto_axes(function, out_sharding=specs)


def like(result: jax.ShapeDtypeStruct, operands: Sequence[Any]) -> ShapedArray:
    """Returns the type of a result that varies over the same device axes as its operands.

    Args:
      result: shape and dtype of the result.
      operands: types of the operands. All that vary must vary over the same axes.
    """
    varying = [aval for aval in operands if _axes_of(aval)]
    if not varying:
        return ShapedArray(result.shape, result.dtype)
    whole = PartitionSpec(*[None] * len(result.shape))
    return ShapedArray(
        result.shape,
        result.dtype,
        sharding=NamedSharding(varying[0].sharding.mesh, whole),
        manual_axis_type=varying[0].manual_axis_type,
    )


def varying(leaf: Any) -> frozenset[str]:
    """Returns the device axes over which the values of an array vary inside `jax.shard_map`."""
    return _axes_of(jax.typeof(leaf))


def _axes_of(aval: Any) -> frozenset[str]:
    kind = getattr(aval, "manual_axis_type", None)
    return frozenset() if kind is None else kind.varying
