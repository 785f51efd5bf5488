"""The trajectory of a cell along a sequence, in a form to differentiate step by step.

Axes: `T` time, `B` batch (any number of axes), `D` input features, `H` hidden units, `N` numbers in
one example's state (2 * H for an LSTM).
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from seqjax._padding import first_steps
from seqjax._unroll import cast_params, unroll, widened
from seqjax.cells._cell import Cell, check_vectors, project


def floating(xs: ArrayLike) -> Array:
    """Returns inputs (T, *B, D) in float32 or wider, after checking their shape and dtype."""
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
    """The inputs of every step of a run, batch first, with the batch axes merged for `jax.vmap`.

    Attributes:
      params: the prepared parameters in the dtype of the computation.
      previous: the state before every step, leaves (B, T, ...).
      drives: `cell.project` of the input, leaves (B, T, ...).
      batch_shape: the batch axes before the merge.
    """

    params: Any
    previous: Any
    drives: Any
    batch_shape: tuple[int, ...]

    def restore(self, leaf: Array) -> Array:
        """Returns (B, T, ...) as (T, *B, ...)."""
        return jnp.moveaxis(leaf, 0, 1).reshape(leaf.shape[1], *self.batch_shape, *leaf.shape[2:])


def trajectory(cell: Cell, params: Any, xs: ArrayLike, initial_state: Any = None) -> Trajectory:
    """Runs the cell in float32 or wider and returns the inputs of every step.

    Args:
      cell: any cell.
      params: the parameters that `cell.init` returns.
      xs: inputs, shape (T, *B, D).
      initial_state: the state before the first step; by default `cell.initial_state`.

    Returns:
      The trajectory.

    Raises:
      ValueError: in the cases of `seqjax.unroll`, and if there is no step.
      TypeError: if `xs` is not floating.
    """
    check_vectors("seqjax.gradflow", cell)
    xs = floating(xs)
    run = unroll(cell, params, xs, initial_state=initial_state, return_states=True)
    states, batch_shape = run[2], xs.shape[1:-1]
    params = jax.tree.map(jnp.asarray, params)
    start = initial_state
    if start is None:
        start = cell.initial_state(params, batch_shape, xs.dtype)
    params = cast_params(cell, cell.prepare(widened(params)), xs.dtype)
    starts = None
    if cell.uses_starts:
        starts, _ = first_steps(jnp.asarray(start[-1]), None, None, xs.shape[0], reverse=False)

    def merged(leaf: Array) -> Array:
        rest = leaf.shape[1 + len(batch_shape) :]
        return jnp.moveaxis(leaf.reshape(leaf.shape[0], math.prod(batch_shape), *rest), 1, 0)

    def before(first: Array, rest: Array) -> Array:
        return merged(jnp.concatenate([jnp.asarray(first, rest.dtype)[None], rest[:-1]]))

    def whole(leaf: Array) -> Array:
        # A coefficient that is constant in time may have axes of size 1.
        lead = xs.shape[:-1]
        return merged(jnp.broadcast_to(leaf, (*lead, *leaf.shape[len(lead) :])))

    drives = jax.tree.map(whole, project(cell, params, xs, starts))
    return Trajectory(params, jax.tree.map(before, start, states), drives, batch_shape)
