"""The batch in one part a device, so that devices add their gradients once.

A loop over time that sums the gradients of weights over a batch which is split over devices makes
them wait for each other at every step. Here the sum runs over each part of the batch by itself,
and over the parts once, behind the loop. Nothing is moved: a part is what one device has.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqjax.executors._executor import Inputs


def batch_parts(batch_shape: tuple[int, ...]) -> int:
    """Returns in how many parts the first batch axis is taken: one a device where that is even.

    The devices are those along the axis "batch" of the ambient mesh, as
    `seqjax.train.make_train_step` or `jax.set_mesh` sets it. Without a mesh there is one part.
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
    """Says that `x` is split over the batch, its axis `axis`, alone; see `whole_features`."""
    mesh = jax.sharding.get_abstract_mesh()
    if "hidden" not in mesh.shape:
        return x
    even = axis < x.ndim - 1 and x.shape[axis] % mesh.shape["batch"] == 0
    names = ["batch" if even and place == axis else None for place in range(x.ndim)]
    return jax.lax.with_sharding_constraint(x, jax.sharding.PartitionSpec(*names))


def run_in_parts(
    run: Callable[[Any, Inputs, Any, Any], tuple[Any, Any]],
    params: Any,
    inputs: Inputs,
    state: Any,
    reset_state: Any,
) -> tuple[Any, Any]:
    """Runs an executor that JAX differentiates, each part of the batch with weights of its own.

    The weights are copies of the same ones. Their gradients have an axis of parts inside the loop
    and are summed over it by the transpose of the copying.

    Args:
      run: `run(params, inputs, state, reset_state) -> (final state, states)`.
      params: parameters of the cell.
      inputs: inputs, masks and resets, leaves (T, *B, ...).
      state: the state before the first step, leaves (*B, ...).
      reset_state: the state that a reset puts in place, leaves (*B, ...).

    Returns:
      The final state and the state after every step.
    """
    parts = batch_parts(inputs.xs.shape[1:-1])
    if parts == 1:
        return run(params, inputs, state, reset_state)

    def split(leaf: Array, axis: int) -> Array:
        shape = leaf.shape
        return leaf.reshape(*shape[:axis], parts, shape[axis] // parts, *shape[axis + 1 :])

    def joined(leaf: Array, axis: int) -> Array:
        shape = leaf.shape
        return leaf.reshape(*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])

    copies = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[None], (parts, *leaf.shape)), params)
    inputs = jax.tree.map(lambda leaf: split(leaf, 1), inputs)
    state, reset_state = jax.tree.map(lambda leaf: split(leaf, 0), (state, reset_state))
    final, states = jax.vmap(run, in_axes=(0, 1, 0, 0), out_axes=(0, 1))(
        copies, inputs, state, reset_state
    )
    final = jax.tree.map(lambda leaf: joined(leaf, 0), final)
    return final, jax.tree.map(lambda leaf: joined(leaf, 1), states)
