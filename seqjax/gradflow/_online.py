"""Measures the bias of gradients that are computed forwards in time."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from seqjax._checks import check_function, check_kind
from seqjax._unroll import unroll, widened
from seqjax.cells._cell import Cell, check_cell
from seqjax.gradflow._flat import floating
from seqjax.gradflow._norms import Loss, checked_scalar
from seqjax.gradflow._truncation import agreement, as_vector
from seqjax.online import Method


class OnlineBias(NamedTuple):
    """The gradients of online methods compared with the full gradient, one entry for each method.

    Attributes:
      cosine: cosine of the angle between the two gradients, shape (K,); 0 if either is zero.
      norm_ratio: norm of the method's gradient divided by the norm of the full gradient, shape
        (K,).
    """

    cosine: Array
    norm_ratio: Array


def online_bias(
    cell: Cell,
    params: Any,
    xs: ArrayLike,
    loss: Loss,
    methods: Sequence[Method],
    *,
    initial_state: Any = None,
    key: Array | None = None,
) -> OnlineBias:
    """Compares the gradients of online methods with back-propagation through all steps.

    For a method that draws numbers, it is the comparison of one draw. The mean over keys of a
    UORO gradient is the full gradient; the angle of one draw shows its noise.

    Args:
      cell: any cell.
      params: its parameters. The gradients are with respect to `params`.
      xs: inputs, shape (T, *B, D).
      loss: `loss(ys, final_state) -> scalar`, over the whole batch.
      methods: the methods, such as `[seqjax.online.SnAp1(), seqjax.online.EProp()]`.
      initial_state: the state before the first step; by default `cell.initial_state`.
      key: random key, if a method needs one.

    Returns:
      The cosine and the norm ratio for each method.

    Raises:
      ValueError: if there is no method, one does not apply to the cell or lacks a key, or the loss
        is not a scalar, and in the cases of `seqjax.unroll`.
      TypeError: if `cell` is not a cell, a method is not a method, or `loss` cannot be called as
        above.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> from seqjax import online
      >>> cell = seqjax.lstm(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> xs = jax.random.normal(jax.random.key(1), (8, 2, 3))
      >>> methods = [online.EProp(), online.SnAp1(), online.RTRL()]
      >>> loss = lambda ys, state: ys[-1].sum()
      >>> measure = jax.jit(lambda params, xs: online_bias(cell, params, xs, loss, methods))
      >>> bias = measure(params, xs)
      >>> bool(bias.cosine[0] < bias.cosine[2]), round(float(bias.cosine[2]), 4)
      (True, 1.0)

    Reference: Marschall, Cho and Savin (2020), A unified framework of online learning algorithms
    for training recurrent neural networks.
    """
    where = "seqjax.gradflow.online_bias"
    check_cell(where, cell)
    check_function(where, "loss", loss, ["ys", "final_state"])
    methods = list(methods)
    if not methods:
        raise ValueError(f"{where}: `methods` must hold one method or more, got none.")
    for index, method in enumerate(methods):
        check_kind(where, f"methods[{index}]", method, Method, "a method of seqjax.online")
        if method.needs_key and key is None:
            raise ValueError(
                f"{where}: {type(method).__name__} needs a random `key`, got None. Pass "
                "key=jax.random.key(0)."
            )
    xs, params = floating(xs), widened(params)

    def gradient(executor: Method | None) -> Array:
        own = key if executor is not None and executor.needs_key else None

        def total(params: Any) -> Array:
            ys, final = unroll(
                cell, params, xs, initial_state=initial_state, executor=executor, key=own
            )
            return checked_scalar(loss(ys, final), "online_bias")

        return as_vector(jax.grad(total, allow_int=True)(params))

    full = gradient(None)
    pairs = [agreement(gradient(method), full) for method in methods]
    cosine, ratio = (jnp.stack(values) for values in zip(*pairs, strict=True))
    return OnlineBias(cosine, ratio)
