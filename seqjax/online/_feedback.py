"""A linear read-out whose errors go back by fixed weights."""

import jax
from jax import Array

from seqjax._checks import check_shape
from seqjax.cells._operations import check_features


def feedback_alignment(x: Array, kernel: Array, feedback: Array) -> Array:
    """Returns `x @ kernel`; its gradient with respect to `x` goes back by `feedback` instead.

        y = x K,    dL/dx = dL/dy F'

    With a fixed random `F`, no unit needs to know the weights of the read-out. The gradient of the
    kernel is the usual one; that of `feedback` is zero.

    Args:
      x: shape (..., N).
      kernel: shape (N, M).
      feedback: shape (N, M).

    Returns:
      Array of shape (..., M).

    Raises:
      ValueError: if a shape does not fit.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> kernel, feedback = jnp.ones((2, 1)), jnp.full((2, 1), 3.0)
      >>> f = lambda x: seqjax.online.feedback_alignment(x, kernel, feedback).sum()
      >>> f(jnp.ones(2)).item(), jax.grad(f)(jnp.ones(2)).tolist()
      (2.0, [3.0, 3.0])

    Reference: Lillicrap et al. (2016), Random synaptic feedback weights support error
    backpropagation for deep learning.
    """
    where = "seqjax.online.feedback_alignment"
    check_features("online.feedback_alignment", x, kernel)
    check_shape(where, "feedback", feedback, "(N, M)", kernel.shape)
    # The value of the first product and its gradient for the kernel, and no more of the other.
    fixed = jax.lax.stop_gradient(x) @ kernel
    back = x @ jax.lax.stop_gradient(feedback)
    return fixed + (back - jax.lax.stop_gradient(back))
