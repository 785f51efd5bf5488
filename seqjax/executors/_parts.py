"""Splits the batch into one part per device, so that devices add their gradients only once.

If a loop over time sums weight gradients over a batch that is split over devices, the devices wait
for each other at every step. Here the loop sums within each part of the batch, and the sum over
the parts comes once, after the loop. No data moves: each part is already on its own device.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqjax.executors._executor import Run


def batch_parts(batch_shape: tuple[int, ...]) -> int:
    """Returns the number of parts of the first batch axis: one per device if that divides it.

    The number of devices is the size of the axis "batch" of the ambient mesh, which
    `seqjax.train.make_train_step` or `jax.set_mesh` sets. Without a mesh there is one part.
    """
    parts = jax.sharding.get_abstract_mesh().shape.get("batch", 1)
    return parts if batch_shape and batch_shape[0] % parts == 0 else 1


def in_parts(x: Array) -> Array:
    """Splits the first batch axis of (K, *B, N): (K, parts, ..., N)."""
    steps, *batch, features = x.shape
    parts = batch_parts(tuple(batch))
    if batch:
        batch[0] //= parts
    return x.reshape(steps, parts, *batch, features)


def whole(x: Array, axis: int) -> Array:
    """Constrains `x` to be sharded over its batch axis `axis` alone; see `whole_features`."""
    mesh = jax.sharding.get_abstract_mesh()
    if "hidden" not in mesh.shape:
        return x
    even = axis < x.ndim - 1 and x.shape[axis] % mesh.shape["batch"] == 0
    names = ["batch" if even and place == axis else None for place in range(x.ndim)]
    return jax.lax.with_sharding_constraint(x, jax.sharding.PartitionSpec(*names))


def run_in_parts(function: Callable[[Run], tuple[Any, Any]], run: Run) -> tuple[Any, Any]:
    """Runs each part of the batch with its own copy of the weights.

    Inside the loop, the weight gradients have an axis of parts. The transpose of the copy sums them
    over that axis.

    Args:
      function: `function(run) -> (final state, states)`.
      run: the run of the whole batch.

    Returns:
      The final state and the state after every step.
    """
    parts = batch_parts(run.inputs.xs.shape[1:-1])
    if parts == 1:
        return function(run)

    def split(leaf: Array, axis: int) -> Array:
        shape = leaf.shape
        return leaf.reshape(*shape[:axis], parts, shape[axis] // parts, *shape[axis + 1 :])

    def joined(leaf: Array, axis: int) -> Array:
        shape = leaf.shape
        return leaf.reshape(*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])

    def copied(leaf: Array) -> Array:
        return jnp.broadcast_to(leaf[None], (parts, *leaf.shape))

    params = jax.tree.map(copied, run.params)
    inputs = jax.tree.map(lambda leaf: split(leaf, 1), run.inputs)
    state, reset_state = jax.tree.map(lambda leaf: split(leaf, 0), (run.state, run.reset_state))

    def run_part(params: Any, inputs: Any, state: Any, reset_state: Any) -> tuple[Any, Any]:
        part = Run(run.cell, params, inputs, state, reset_state, run.reverse, run.all_states)
        return function(part)

    over_parts = jax.vmap(run_part, in_axes=(0, 1, 0, 0), out_axes=(0, 1))
    final, states = over_parts(params, inputs, state, reset_state)
    final = jax.tree.map(lambda leaf: joined(leaf, 0), final)
    return final, jax.tree.map(lambda leaf: joined(leaf, 1), states)
