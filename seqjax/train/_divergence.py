"""Numbers that are not finite: whose they are."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from seqjax.train._checkpoints import Position
from seqjax.train._errors import DivergedError
from seqjax.train._state import PyTree


def blamed(params: PyTree, broken: Sequence[float]) -> str:
    """Says whose gradient is not finite, in words for the middle of a sentence.

    Args:
      params: parameters.
      broken: 1 for each array of them whose gradient is not finite, in their order.
    """
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    names = [path for path, bad in zip(paths, broken, strict=True) if bad]
    if not names:
        sizes = [float(jnp.abs(leaf).max(initial=0)) for leaf in jax.tree.leaves(params)]
        largest = paths[max(range(len(sizes)), key=sizes.__getitem__)]
        return f"every gradient finite, the largest number in {largest}"
    others = f" and {len(names) - 1} more of {len(paths)} parameters" if len(names) > 1 else ""
    return f"not finite in the gradient of {names[0]}{others}"


def refuse_not_finite(params: PyTree, position: Position, name: str) -> None:
    """Keeps numbers out of a checkpoint from which no training can go on.

    Raises:
      DivergedError: if a parameter is not finite.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not bool(jnp.isfinite(leaf).all()):
            raise DivergedError(
                f"Training diverged at step {position.step} ({name}): "
                f"{jax.tree_util.keystr(path)} is not finite, though loss and gradient were. Lower "
                "the learning rate; the last checkpoint is sound."
            )
