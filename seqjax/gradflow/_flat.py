"""The state of any cell as one vector, which is what Jacobians and perturbations need.

Axes: `T` time, `B` batch (any number of axes), `D` input features, `H` hidden units, `N` all
numbers of one example's state (2 * H for an LSTM).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from seqjax._unroll import unroll
from seqjax.cells._base import Cell


class FlatState(NamedTuple):
    """The vector form of a cell's state.

    Attributes:
      size: numbers in one example's state, `N`.
      flatten: `flatten(state) -> vector`, leaves (*lead, ...) to one array (*lead, N), field after
        field in the state's own order.
      unflatten: its inverse, for any leading axes.
    """

    size: int
    flatten: Callable[[Any], Array]
    unflatten: Callable[[Array], Any]


def flat_state(cell: Cell, params: Any) -> FlatState:
    """Returns the vector form of the cell's state, from the shapes of its initial state.

    Example:
      >>> import jax, seqjax
      >>> cell = seqjax.lstm(4)
      >>> form = flat_state(cell, cell.init(jax.random.key(0), 3))
      >>> form.size, form.unflatten(jnp.ones((5, 8))).cell.shape
      (8, (5, 4))
    """
    template = jax.eval_shape(lambda params: cell.initial_state(params, (), jnp.float32), params)
    leaves, structure = jax.tree.flatten(template)
    shapes = [leaf.shape for leaf in leaves]
    ends = [0]
    for shape in shapes:
        ends.append(ends[-1] + math.prod(shape))

    def flatten(state: Any) -> Array:
        parts = []
        for leaf, shape in zip(jax.tree.leaves(state), shapes, strict=True):
            lead = leaf.shape[: leaf.ndim - len(shape)]
            parts.append(leaf.reshape(*lead, math.prod(shape)))
        return jnp.concatenate(parts, axis=-1)

    def unflatten(vector: Array) -> Any:
        lead = vector.shape[:-1]
        parts = [
            vector[..., start:end].reshape(*lead, *shape)
            for start, end, shape in zip(ends, ends[1:], shapes, strict=False)
        ]
        return jax.tree.unflatten(structure, parts)

    return FlatState(ends[-1], flatten, unflatten)


def floating(xs: ArrayLike) -> Array:
    """Returns inputs (T, *B, D) in float32 or wider; refuses what is no sequence of numbers."""
    xs = jnp.asarray(xs)
    if not jnp.issubdtype(xs.dtype, jnp.floating):
        raise TypeError(
            f"seqjax.gradflow: `xs` must be floating, got {xs.dtype}. Embed token ids first, or "
            "pass xs.astype(float)."
        )
    if xs.ndim < 2 or xs.shape[0] < 1:
        raise ValueError(
            f"seqjax.gradflow: `xs` must have shape (T, *B, D) with T at least 1, got {xs.shape}. "
            "A sequence of numbers needs xs[:, None]."
        )
    return xs.astype(jnp.promote_types(xs.dtype, jnp.float32))


class Trajectory(NamedTuple):
    """What a cell went through, batch axes merged into one, batch first, ready for `jax.vmap`.

    Attributes:
      params: the parameters in the dtype of the computation.
      previous: the state before every step, leaves (B, T, ...).
      drives: `cell.project` of the input, leaves (B, T, ...).
      batch_shape: the batch axes that were merged.
    """

    params: Any
    previous: Any
    drives: Any
    batch_shape: tuple[int, ...]

    def restore(self, leaf: Array) -> Array:
        """Returns (B, T, ...) as (T, *B, ...)."""
        return jnp.moveaxis(leaf, 0, 1).reshape(leaf.shape[1], *self.batch_shape, *leaf.shape[2:])


def trajectory(cell: Cell, params: Any, xs: ArrayLike, initial_state: Any = None) -> Trajectory:
    """Runs the cell, in float32 or wider, and keeps what every step read.

    Args:
      cell: any cell.
      params: its parameters.
      xs: inputs, shape (T, *B, D).
      initial_state: the state before the first step; by default `cell.initial_state`.

    Returns:
      The trajectory.

    Raises:
      ValueError: as `seqjax.unroll`.
      TypeError: if `xs` is not floating.
    """
    xs = floating(xs)
    _, _, states = unroll(cell, params, xs, initial_state=initial_state, return_states=True)
    params = jax.tree.map(lambda leaf: leaf.astype(xs.dtype), params)
    batch_shape = xs.shape[1:-1]
    start = initial_state
    if start is None:
        start = cell.initial_state(params, batch_shape, xs.dtype)

    def merged(leaf: Array) -> Array:
        rest = leaf.shape[1 + len(batch_shape) :]
        return jnp.moveaxis(leaf.reshape(leaf.shape[0], math.prod(batch_shape), *rest), 1, 0)

    def before(first: Array, rest: Array) -> Array:
        return merged(jnp.concatenate([jnp.asarray(first, rest.dtype)[None], rest[:-1]]))

    drives = jax.tree.map(merged, cell.project(params, xs))
    return Trajectory(params, jax.tree.map(before, start, states), drives, batch_shape)
