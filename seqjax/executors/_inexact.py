"""Inexact leaves of a tree apart from the others: integers and booleans have no tangents."""

from typing import Any

import jax
import jax.numpy as jnp


class Split:
    """Splits trees of one structure into inexact leaves and others, and joins them again."""

    def __init__(self, tree: Any):
        """Reads the structure and the kind of each leaf."""
        leaves, self._structure = jax.tree.flatten(tree)
        self._inexact = [jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) for leaf in leaves]

    def __call__(self, tree: Any) -> tuple[list[Any], list[Any]]:
        """Returns what a tree has in the places of inexact leaves, and in the other places."""
        moving, still = [], []
        for leaf, is_in in zip(self._structure.flatten_up_to(tree), self._inexact, strict=True):
            (moving if is_in else still).append(leaf)
        return moving, still

    def join(self, moving: list[Any], still: list[Any]) -> Any:
        """Undoes a call."""
        moved, stood = iter(moving), iter(still)
        leaves = [next(moved if is_in else stood) for is_in in self._inexact]
        return self._structure.unflatten(leaves)
