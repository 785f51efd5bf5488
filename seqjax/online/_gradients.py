"""The gradient of a loss over a sequence, in memory that does not depend on its length."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from seqjax._checks import check_function, check_kind
from seqjax._padding import as_array, boolean_steps, valid_steps
from seqjax._unroll import widened
from seqjax.cells._cell import Cell
from seqjax.online._method import Method
from seqjax.online._step import from_parts, real_parts

WHERE = "seqjax.online.online_gradients"


def online_gradients(
    method: Method,
    cell: Cell,
    params: Any,
    xs: ArrayLike,
    loss: Callable[[Array, Any], Array],
    targets: Any = None,
    *,
    initial_state: Any = None,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    key: Array | None = None,
) -> tuple[Array, Any, Any]:
    """Returns a loss over sequences and its gradient, computed forwards in time.

        L = sum_t loss(y_t, target_t)

    The steps run one after the other, with `method.update`. No state and no output is kept, so the
    memory does not depend on the number of steps.

    Args:
      method: the method, such as `seqjax.online.RTRL()`.
      cell: the cell.
      params: the parameters that `cell.init` returns.
      xs: inputs, shape (T, *B, D).
      loss: `loss(y, target) -> scalar`, the loss of one step of the whole batch. As in
        `seqjax.unroll`, `y` is zero at an invalid step. It has no gradient there.
      targets: what `loss` receives, a pytree with leaves (T, ...), or None.
      initial_state: the state before the first step; by default `cell.initial_state`.
      lengths: valid steps of each sequence, shape (*B,).
      mask: True at the valid steps, shape (T, *B).
      resets: True where the state is reset before the step, shape (T, *B).
      key: random key, if the method needs one.

    Returns:
      `(value, gradients, state)`: the loss, its gradient in the structure of `params`, and the
      final state of the cell.

    Raises:
      ValueError: if the method does not apply to the cell, a shape does not fit, there is no step,
        or the loss is not a scalar.
      TypeError: if `method` is not a method, or an argument has another dtype.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.gru(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> xs, targets = jnp.ones((7, 2, 3)), jnp.zeros((7, 2, 4))
      >>> value, gradients, state = seqjax.online.online_gradients(
      ...     seqjax.online.RTRL(), cell, params, xs, lambda y, t: ((y - t) ** 2).sum(), targets
      ... )
      >>> gradients.input_kernel.shape
      (3, 12)
    """
    check_kind(WHERE, "method", method, Method, "a method such as seqjax.online.RTRL()")
    check_function(WHERE, "loss", loss, ["y", "target"])
    xs = as_array("xs", xs, WHERE)
    if xs.ndim < 2 or not xs.shape[0]:
        raise ValueError(
            f"{WHERE}: `xs` must have shape (T, *B, D) with T at least 1, got {xs.shape}."
        )
    num_steps, batch = xs.shape[0], xs.shape[1:-1]
    for leaf in jax.tree.leaves(targets):
        if jnp.shape(leaf)[:1] != (num_steps,):
            raise ValueError(
                f"{WHERE}: `targets` must have leaves of shape (T, ...) with T = {num_steps}, got "
                f"{jnp.shape(leaf)}."
            )
    valid = valid_steps(num_steps, batch, lengths, mask, where=WHERE)
    if resets is not None:
        resets = boolean_steps("resets", resets, num_steps, batch)
    params = jax.tree.map(jnp.asarray, params)
    parts = real_parts(widened(params))

    def run_step(carry: Any, at_step: Any) -> Any:
        state, value, sums = carry
        x, target, valid, reset = at_step

        def of_parts(parts: list[Array]) -> tuple[Array, Any]:
            here = from_parts(params, parts)
            y, after = method.update(cell, here, x, state, valid=valid, reset=reset)
            if jnp.shape(found := loss(y, target)) != ():
                raise ValueError(
                    f"{WHERE}: the loss must be a scalar, got shape {jnp.shape(found)}. Take its "
                    "sum or mean over the batch."
                )
            return found.astype(value.dtype), after

        (found, state), gradients = jax.value_and_grad(of_parts, has_aux=True)(parts)
        sums = [total + gradient for total, gradient in zip(sums, gradients, strict=True)]
        return (state, value + found, sums), None

    state = method.init(cell, params, xs[0], initial_state=initial_state, key=key)
    zero = jnp.zeros((), jnp.promote_types(xs.dtype, jnp.float32))
    carry = state, zero, [jnp.zeros_like(part) for part in parts]
    (state, value, sums), _ = lax.scan(run_step, carry, (xs, targets, valid, resets))

    def gradient(leaf: Array, rebuilt: Array) -> Any:
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            # The convention of jax.grad.
            return rebuilt.conj() if jnp.iscomplexobj(leaf) else rebuilt
        return np.zeros(leaf.shape, jax.dtypes.float0)

    return value, jax.tree.map(gradient, params, from_parts(params, sums)), state.cell
