"""Adds our own backward pass to a run in time; JAX derives all other derivatives."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.executors._transposable import linear_map


def run_with_backward(
    forward: Callable[[Any, Any], Any],
    keep: Callable[[Any, Any], tuple[Any, Any]],
    backward: Callable[[Any, Any, Any, Any], Any],
    operands: Any,
    constants: Any,
    *,
    batch_axes: tuple[Any, Any, Any, Any],
    tangents_of: Callable[[Any, Any], Any] | None = None,
) -> Any:
    """Returns `forward(operands, constants)` and lets `backward` compute its gradient.

    Forward mode, second derivatives and `vmap` work as they do for `forward`: the tangents are the
    tangents of `forward`. Reverse mode transposes them, and `backward` replaces that transpose.

    Args:
      forward: `forward(operands, constants) -> results`.
      keep: `keep(operands, constants) -> (results, kept)`: the same results, and the residuals of
        the backward pass.
      backward: `backward(operands, constants, kept, d_results) -> d_operands`. Cotangents of
        integer and boolean leaves may be None.
      operands: pytree of arrays, differentiable.
      constants: pytree of arrays that are not differentiable: masks and resets.
      batch_axes: one pytree prefix for each of operands, constants, kept and results. A number
        says where a leaf takes an extra batch axis; -1 marks a leaf that the batch shares. See
        `linear_map`.
      tangents_of: a function of the same values, whose tangents forward mode uses; by default
        `forward`. An iteration needs it: the tangents of its last iterate are not exact.

    Returns:
      The results.
    """
    leaves, structure = jax.tree.flatten(operands)
    inexact = [jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) for leaf in leaves]
    # Integers have no tangents, so we treat them as constants.
    moving = [leaf for leaf, is_in in zip(leaves, inexact, strict=True) if is_in]
    still = [leaf for leaf, is_in in zip(leaves, inexact, strict=True) if not is_in]
    axes_of = [
        jax.tree.leaves(jax.tree.broadcast(axis, tree))
        for axis, tree in ((batch_axes[0], operands), (batch_axes[1], constants))
    ]
    moving_axes = [axis for axis, is_in in zip(axes_of[0], inexact, strict=True) if is_in]
    still_axes = [axis for axis, is_in in zip(axes_of[0], inexact, strict=True) if not is_in]

    def whole(moving: list[Any], still: list[Any]) -> Any:
        moved, stood = iter(moving), iter(still)
        return structure.unflatten([next(moved) if is_in else next(stood) for is_in in inexact])

    @jax.custom_jvp
    def run(moving: list[Any], still: list[Any], constants: Any) -> Any:
        return forward(whole(moving, still), constants)

    @run.defjvp
    def _(primals, tangents):
        moving, still, constants = primals
        results, kept = keep(whole(moving, still), constants)

        def push(residuals: Any, tangents: list[Any]) -> Any:
            moving, still, constants, _ = residuals

            def again(moving: list[Any]) -> Any:
                return (tangents_of or forward)(whole(moving, still), constants)

            return jax.jvp(again, (moving,), (tangents,))[1]

        def pull(residuals: Any, d_results: Any) -> list[Any]:
            moving, still, constants, kept = residuals
            found = backward(whole(moving, still), constants, kept, d_results)
            found = structure.flatten_up_to(found)
            return [leaf for leaf, is_in in zip(found, inexact, strict=True) if is_in]

        d_results = linear_map(
            push,
            pull,
            (moving, still, constants, kept),
            tangents[0],
            batch_axes=(
                (
                    moving_axes,
                    still_axes,
                    jax.tree.unflatten(jax.tree.structure(constants), axes_of[1]),
                    batch_axes[2],
                ),
                moving_axes,
                batch_axes[3],
            ),
        )
        return results, d_results

    return run(moving, still, constants)
