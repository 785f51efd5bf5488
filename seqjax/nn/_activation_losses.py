"""Losses on the outputs of a recurrent layer, which regularise it."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from seqjax._padding import valid_steps


def activation_loss(
    ys: Array, *, lengths: ArrayLike | None = None, mask: ArrayLike | None = None
) -> Array:
    """Returns the mean square of the outputs (AR): it keeps activations small.

        mean over valid steps and features of y_t^2

    Multiply it by a weight, such as 2, and add it to the loss. Pass the outputs after dropout, as
    the reference does.

    Args:
      ys: outputs of the last layer, shape (B, T, H).
      lengths: valid steps of each sequence, shape (B,).
      mask: True at the valid steps, shape (B, T).

    Returns:
      A scalar in float32 or wider, 0 without a valid step.

    Raises:
      ValueError: if a shape does not fit.

    Example:
      >>> ys = jnp.array([[[1.0], [3.0]], [[2.0], [100.0]]])
      >>> float(activation_loss(ys, lengths=jnp.array([2, 1])))
      4.666666507720947

    Reference: Merity, McCann and Socher (2017), Revisiting activation regularization for language
    RNNs.
    """
    return _mean(ys, _valid("activation_loss", ys, lengths, mask))


def temporal_activation_loss(
    ys: Array,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
) -> Array:
    """Returns the mean square of the outputs' changes from step to step (TAR).

        mean over steps and features of (y_t - y_{t-1})^2

    A change counts where both steps are valid and no new sequence starts at the second one.
    Multiply it by a weight, such as 1, and add it to the loss. Pass the outputs before dropout.

    Args:
      ys: outputs of the last layer, shape (B, T, H).
      lengths: valid steps of each sequence, shape (B,).
      mask: True at the valid steps, shape (B, T).
      resets: True at the first step of each packed sequence, shape (B, T).

    Returns:
      A scalar in float32 or wider, 0 without a change that counts.

    Raises:
      ValueError: if a shape does not fit.

    Example:
      >>> ys = jnp.array([[[1.0], [3.0], [100.0]]])
      >>> float(temporal_activation_loss(ys, lengths=jnp.array([2])))
      4.0

    Reference: Merity, McCann and Socher (2017), Revisiting activation regularization for language
    RNNs.
    """
    valid = _valid("temporal_activation_loss", ys, lengths, mask)
    counts = valid[:, 1:] & valid[:, :-1]
    if resets is not None:
        counts &= ~_steps("temporal_activation_loss", "resets", ys, resets)[:, 1:]
    return _mean(ys[:, 1:] - ys[:, :-1], counts)


def _valid(where: str, ys: Array, lengths: ArrayLike | None, mask: ArrayLike | None) -> Array:
    if mask is not None:
        mask = _steps(where, "mask", ys, mask).T
    valid = valid_steps(ys.shape[1], ys.shape[:1], lengths, mask, where=f"seqjax.nn.{where}")
    return jnp.ones(ys.shape[:2], bool) if valid is None else valid.T


def _steps(where: str, name: str, ys: Array, steps: ArrayLike) -> Array:
    if jnp.shape(steps) != ys.shape[:2]:
        raise ValueError(
            f"seqjax.nn.{where}: `{name}` must have shape (B, T) = {ys.shape[:2]}, got "
            f"{jnp.shape(steps)}."
        )
    return jnp.asarray(steps, bool)


def _mean(ys: Array, counts: Array) -> Array:
    wide = ys.astype(jnp.promote_types(ys.dtype, jnp.float32))
    # Padding may hold anything: zero it before the square, or its NaN would reach the gradient.
    squares = jnp.where(counts[..., None], wide, 0) ** 2
    return squares.sum() / jnp.maximum(1, counts.sum() * ys.shape[-1])
