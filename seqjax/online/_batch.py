"""The functions of a method, which are for one example, over a batch of examples."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array

from seqjax.cells._cell import Cell
from seqjax.online._step import Step, from_parts, from_vector, inexact_leaves, to_vector

if TYPE_CHECKING:
    from seqjax.online._method import Method


def over_batch(function: Callable[..., Any], x: Array, *rest: Any) -> Any:
    """Maps a function of one example over the batch axes of `x`, (*B, D), and of the rest."""
    batch = x.shape[:-1]

    def merged(leaf: Array) -> Array:
        return leaf.reshape(math.prod(batch), *leaf.shape[len(batch) :])

    found = jax.vmap(function)(*jax.tree.map(merged, (x, *rest)))
    return jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), found)


def begin(
    method: "Method", cell: Cell, params: Any, state: Any, x: Array, key: Array | None
) -> Any:
    """Returns the traces at the start of sequences."""

    def of_example(x: Array, state: Any, key: Any) -> Any:
        return method.begin(Step(cell, params, state, x, first(cell, state)), key)

    return over_batch(of_example, x, state, keys(key, x))


def pull(
    method: "Method", cell: Cell, params: Any, x: Array, state: Any, trace: Any, d_state: list[Any]
) -> tuple[list[Array], list[Array]]:
    """Returns gradients from those of the state, each a list of inexact leaves.

    Returns:
      The gradients of the prepared parameters, summed over the batch, and those of the start of
      each sequence.
    """

    def of_example(x: Array, state: Any, trace: Any, d_state: list[Array]) -> Any:
        step = Step(cell, params, state, x, first(cell, state))
        parts, start = method.pull(step, trace, to_vector(d_state))
        return parts, from_vector(d_state, start)

    parts, start = over_batch(of_example, x, state, trace, d_state)
    summed = [part.sum(axis=tuple(range(x.ndim - 1))) for part in parts]
    wide = jax.tree.map(
        lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)), inexact_leaves(params)
    )
    return inexact_leaves(from_parts(wide, summed)), start


def first(cell: Cell, state: Any) -> Array | None:
    """Returns whether the next valid step is the first one, for a cell that uses starts."""
    return state[-1] if cell.uses_starts else None


def keys(key: Array | None, x: Array) -> Array | None:
    """Returns a key for each example."""
    return None if key is None else jax.random.split(key, x.shape[:-1])


def two_keys(key: Array | None) -> tuple[Array | None, Array | None]:
    """Splits a key in two."""
    if key is None:
        return None, None
    first, second = jax.random.split(key)
    return first, second
