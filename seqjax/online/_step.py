"""One step of one example, as a function of real numbers."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqjax.cells._cell import Cell, project


class Step(NamedTuple):
    """All that one step of one example reads.

    Attributes:
      cell: the cell.
      params: the prepared parameters.
      state: the state before the step, without batch axes.
      x: the input, shape (D,).
      start: whether this is the first step of a sequence, for a cell that uses starts, or None.
      noise: the noise of the step, or None.
    """

    cell: Cell
    params: Any
    state: Any
    x: Array
    start: Array | None = None
    noise: Any = None

    def drive(self, params: Any) -> Any:
        """Returns the drive of the step."""
        return project(self.cell, params, self.x, self.start, self.noise)

    def new_state(self) -> Any:
        """Returns the state after the step, in the dtypes of the state before it."""
        new = self.cell.step(self.params, self.state, self.drive(self.params))
        return jax.tree.map(lambda leaf, old: leaf.astype(old.dtype), new, self.state)

    def after(self, parts: list[Array], vector: Array) -> Array:
        """Returns the new state, (N,), from parameters and state as real numbers."""
        params, state = from_parts(self.params, parts), from_vector(self.state, vector)
        return to_vector(self._replace(params=params, state=state).new_state())

    def jacobian(self) -> Array:
        """Returns the Jacobian of the step, (N, N)."""
        if self.noise is None:
            return self.cell.jacobian(self.params, self.state, self.drive(self.params))
        parts = real_parts(self.params)
        return jax.jacfwd(lambda vector: self.after(parts, vector))(to_vector(self.state))


def inexact_leaves(tree: Any) -> list[Array]:
    """Returns the real and complex leaves."""
    return [leaf for leaf in jax.tree.leaves(tree) if _inexact(leaf)]


def real_parts(tree: Any) -> list[Array]:
    """Returns the inexact leaves as real arrays; the two parts of a complex leaf are stacked."""
    return [
        jnp.stack([leaf.real, leaf.imag]) if jnp.iscomplexobj(leaf) else leaf
        for leaf in inexact_leaves(tree)
    ]


def from_parts(tree: Any, parts: list[Array]) -> Any:
    """Undoes `real_parts`; all other leaves are those of `tree`."""
    given = iter(parts)

    def rebuilt(leaf: Array) -> Array:
        if not _inexact(leaf):
            return leaf
        part = next(given)
        whole = jax.lax.complex(part[0], part[1]) if jnp.iscomplexobj(leaf) else part
        return whole.astype(leaf.dtype)

    return jax.tree.map(rebuilt, tree)


def to_vector(state: Any) -> Array:
    """Returns the state of one example as a real vector, in the order of `FlatState`."""
    return jnp.concatenate([part.ravel() for part in real_parts(state)])


def from_vector(state: Any, vector: Array) -> Any:
    """Undoes `to_vector`; integer and boolean fields are those of `state`."""
    parts, end = [], 0
    for part in real_parts(state):
        parts.append(vector[end : end + part.size].reshape(part.shape))
        end += part.size
    return from_parts(state, parts)


def gradient_leaves(tree: Any, cotangents: Any) -> list[Array]:
    """Returns the gradients of the inexact leaves of a tree, from the cotangents of JAX."""
    pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(cotangents), strict=True)
    # JAX's cotangent of a complex number is the conjugate of the direction in which the loss rises.
    return [cotangent.conj() for leaf, cotangent in pairs if _inexact(leaf)]


def as_cotangents(tree: Any, gradients: list[Array]) -> Any:
    """Undoes `gradient_leaves`."""
    given = iter(gradients)

    def cotangent(leaf: Array) -> Any:
        if not _inexact(leaf):
            return np.zeros(leaf.shape, jax.dtypes.float0)
        return next(given).conj().astype(leaf.dtype)

    return jax.tree.map(cotangent, tree)


def _inexact(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)
