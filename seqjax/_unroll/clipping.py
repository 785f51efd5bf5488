"""Clipping of the gradient that flows from step to step."""

from typing import Any

import jax
import jax.numpy as jnp

from seqjax._unroll.transposable import linear_map


def clip_gradient(tree: Any, bound: float | None) -> Any:
    """Returns `tree` as it is; its gradient in reverse mode is clipped to [-bound, bound].

    Args:
      tree: pytree of arrays.
      bound: largest magnitude of an element of the gradient, or None for no clipping.

    Returns:
      The same pytree.

    Example:
      >>> import jax
      >>> float(jax.grad(lambda x: 5.0 * clip_gradient(x, 1.0))(2.0))
      1.0
    """
    if bound is None:
        return tree

    @jax.custom_jvp
    def identity(tree):
        return tree

    @identity.defjvp
    def _(primals, tangents):
        def push(_, tangent):
            return tangent

        def pull(_, cotangent):
            return clipped(cotangent, bound)

        return primals[0], linear_map(push, pull, (), tangents[0], batch_axes=((), 0, 0))

    return identity(tree)


def clipped(tree: Any, bound: float | None) -> Any:
    """Returns the leaves with every element cut to [-bound, bound]; None cuts nothing."""
    if bound is None:
        return tree
    return jax.tree.map(lambda leaf: jnp.clip(leaf, -bound, bound), tree)
