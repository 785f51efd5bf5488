"""A linear map with a custom transpose.

Reverse mode transposes the tangent computation. If you know a better transpose than the one that
JAX derives, `jax.custom_vjp` lets you supply it, but then forward mode fails. Use this primitive
in the tangent part of a `jax.custom_jvp` rule instead. Forward mode calls `push` and reverse mode
calls `pull`. Both can be batched and differentiated again.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from seqjax._axes import like

_linear_map = Primitive("seqjax_linear_map")
_linear_map.multiple_results = True


def linear_map(
    push: Callable[[Any, Any], Any],
    pull: Callable[[Any, Any], Any],
    residuals: Any,
    tangents: Any,
    *,
    batch_axes: tuple[Any, Any, Any],
) -> Any:
    """Returns `push(residuals, tangents)`; `pull` is its transpose.

    Args:
      push: `push(residuals, tangents) -> results`, linear in the tangents.
      pull: `pull(residuals, cotangents of the results) -> cotangents of the tangents`.
      residuals: pytree of arrays.
      tangents: pytree of floating arrays.
      batch_axes: one pytree prefix of integers for each of `residuals`, `tangents` and the results.
        A number says where a leaf takes an extra batch axis; -1 marks a leaf that the batch shares.
        If `vmap` maps no shared leaf, it calls the map once with the extra axis. Shared leaves then
        get one gradient instead of one per example.

    Returns:
      The results.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> def push(scale, x):
      ...     return scale * x
      >>> def doubled(x):
      ...     def pull(scale, y):  # twice what is right, to be seen in the gradient
      ...         return 2 * scale * y
      ...     return linear_map(push, pull, jnp.float32(3), x, batch_axes=(-1, 0, 0))
      >>> float(doubled(1.0)), float(jax.grad(doubled)(1.0))
      (3.0, 6.0)
    """
    residual_leaves, residual_tree = jax.tree.flatten(residuals)
    tangent_leaves, tangent_tree = jax.tree.flatten(tangents)
    shapes = jax.eval_shape(push, residuals, tangents)
    result_tree = jax.tree.structure(shapes)

    def flat_push(residuals: Sequence[Array], tangents: Sequence[Array]) -> list[Array]:
        arguments = residual_tree.unflatten(residuals), tangent_tree.unflatten(tangents)
        return result_tree.flatten_up_to(push(*arguments))

    def flat_pull(residuals: Sequence[Array], cotangents: Sequence[Array]) -> list[Array]:
        arguments = residual_tree.unflatten(residuals), result_tree.unflatten(cotangents)
        return tangent_tree.flatten_up_to(pull(*arguments))

    trees = residuals, tangents, shapes
    axes = (jax.tree.broadcast(axis, tree) for axis, tree in zip(batch_axes, trees, strict=True))
    leaves = _linear_map.bind(
        *residual_leaves,
        *tangent_leaves,
        push=flat_push,
        pull=flat_pull,
        num_residuals=len(residual_leaves),
        axes=tuple(tuple(jax.tree.leaves(tree)) for tree in axes),
    )
    return result_tree.unflatten(leaves)


def _apply(*leaves, push, num_residuals, **_):
    return push(list(leaves[:num_residuals]), list(leaves[num_residuals:]))


def _abstract(*avals, push, num_residuals, **_):
    shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]
    results = jax.eval_shape(push, shapes[:num_residuals], shapes[num_residuals:])
    return [like(result, avals) for result in results]


def _jvp(primals, tangents, *, push, num_residuals, **rest):
    options = {"push": push, "num_residuals": num_residuals, **rest}
    results = _linear_map.bind(*primals, **options)
    residuals, linear = list(primals[:num_residuals]), list(primals[num_residuals:])
    of_residuals, of_linear = tangents[:num_residuals], tangents[num_residuals:]
    parts = []
    if not all(isinstance(leaf, ad.Zero) for leaf in of_linear):
        of_linear = [ad.instantiate_zeros(leaf) for leaf in of_linear]
        parts.append(_linear_map.bind(*residuals, *of_linear, **options))
    moving = [i for i, leaf in enumerate(of_residuals) if not isinstance(leaf, ad.Zero)]
    if moving:

        def of(*moved):
            leaves = list(residuals)
            for i, leaf in zip(moving, moved, strict=True):
                leaves[i] = leaf
            return push(leaves, linear)

        moved = [residuals[i] for i in moving], [of_residuals[i] for i in moving]
        parts.append(jax.jvp(of, *moved)[1])
    return results, [sum(leaves[1:], leaves[0]) for leaves in zip(*parts, strict=True)]


def _transpose(cotangents, *leaves, pull, num_residuals, **_):
    residuals, linear = list(leaves[:num_residuals]), leaves[num_residuals:]
    found = pull(residuals, [ad.instantiate_zeros(leaf) for leaf in cotangents])
    asked = [ct if ad.is_undefined_primal(x) else None for ct, x in zip(found, linear, strict=True)]
    return [None] * num_residuals + asked


def _batch(leaves, dims, *, push, pull, num_residuals, axes):
    residual_axes, tangent_axes, result_axes = axes
    wanted = (*residual_axes, *tangent_axes)
    size = next(
        leaf.shape[dim] for leaf, dim in zip(leaves, dims, strict=True) if isinstance(dim, int)
    )
    if all(axis >= 0 for axis, dim in zip(wanted, dims, strict=True) if isinstance(dim, int)):

        def further(leaf, dim, axis):
            if axis < 0:
                return leaf
            if not isinstance(dim, int):
                return jnp.broadcast_to(
                    jnp.expand_dims(leaf, axis), (*leaf.shape[:axis], size, *leaf.shape[axis:])
                )
            return jnp.moveaxis(leaf, dim, axis)

        moved = [further(*each) for each in zip(leaves, dims, wanted, strict=True)]
        results = _linear_map.bind(
            *moved, push=push, pull=pull, num_residuals=num_residuals, axes=axes
        )
        return results, result_axes

    def front(leaf, dim):
        if isinstance(dim, int):
            return jnp.moveaxis(leaf, dim, 0)
        return jnp.broadcast_to(leaf[None], (size, *leaf.shape))

    residuals = leaves[:num_residuals]
    in_axes = [dim if isinstance(dim, int) else None for dim in dims[:num_residuals]]
    linear = map(front, leaves[num_residuals:], dims[num_residuals:])

    def behind(axes):  # the new axis comes first, so all other axes move by one
        return tuple(axis + 1 if axis >= 0 else axis for axis in axes)

    results = _linear_map.bind(
        *residuals,
        *linear,
        push=jax.vmap(push, in_axes=(in_axes, 0)),
        pull=jax.vmap(pull, in_axes=(in_axes, 0)),
        num_residuals=num_residuals,
        axes=(residual_axes, behind(tangent_axes), behind(result_axes)),
    )
    return results, [0] * len(results)


_linear_map.def_impl(jax.jit(_apply, static_argnames=("push", "pull", "num_residuals", "axes")))
_linear_map.def_abstract_eval(_abstract)
mlir.register_lowering(_linear_map, mlir.lower_fun(_apply, multiple_results=True))
ad.primitive_jvps[_linear_map] = _jvp
ad.primitive_transposes[_linear_map] = _transpose
batching.primitive_batchers[_linear_map] = _batch
