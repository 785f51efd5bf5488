"""Clipping of the gradient that flows from step to step."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from seqjax.executors._inexact import Split
from seqjax.executors._transposable import linear_map


def clip_gradient(tree: Any, bound: float | None) -> Any:
    """Returns `tree` unchanged; reverse mode clips its gradient to [-bound, bound].

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
    split = Split(tree)
    moving, still = split(tree)

    @jax.custom_jvp
    def identity(leaves):
        return leaves

    @identity.defjvp
    def _(primals, tangents):
        def push(_, tangent):
            return tangent

        def pull(_, cotangent):
            return clipped(cotangent, bound)

        return primals[0], linear_map(push, pull, (), tangents[0], batch_axes=((), 0, 0))

    return split.join(identity(moving), still)


def clipped(tree: Any, bound: float | None) -> Any:
    """Returns `tree` with every element clipped to [-bound, bound]; None clips nothing.

    The real and imaginary parts of a complex number are clipped separately.
    """
    if bound is None:
        return tree

    def cut(leaf: Any) -> Any:
        if not jnp.iscomplexobj(leaf):
            return jnp.clip(leaf, -bound, bound)
        return lax.complex(jnp.clip(leaf.real, -bound, bound), jnp.clip(leaf.imag, -bound, bound))

    return jax.tree.map(cut, tree)
