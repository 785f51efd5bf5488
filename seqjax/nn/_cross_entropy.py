"""Cross-entropy of a linear read-out over many classes; it reads the logits only once."""

import jax
import jax.numpy as jnp
from jax import Array

from seqjax._checks import check_integers, check_range, check_shape

WHERE = "seqjax.nn.AttentionDecoder.cross_entropy"


def linear_logits(outputs: Array, table: Array, bias: Array) -> Array:
    """Returns `outputs table^T + bias`, shape (..., V)."""
    return outputs @ table.T + bias.reshape((1,) * (outputs.ndim - 1) + (-1,))


def linear_cross_entropy(
    outputs: Array, table: Array, bias: Array, targets: Array, *, label_smoothing: float = 0.0
) -> tuple[Array, Array]:
    """Returns the loss of each output, and the negative log-likelihood without label smoothing.

        nll  = logsumexp(logits) - logits[target]
        loss = logsumexp(logits) - (1 - s) logits[target] - s mean(logits)

    The target's logit and the mean logit are products of the output with a single vector each. So
    only logsumexp reads the large array of all logits, and its gradient is written once.

    Args:
      outputs: shape (..., D).
      table: one row per class, (V, D), such as the table of an embedding.
      bias: one number per class, (V,).
      targets: integers of shape (...), from 0 to V - 1. Under `jax.jit`, a target out of range
        gives NaN.
      label_smoothing: `s`, the probability mass moved from the target to all classes uniformly.

    Returns:
      Two arrays of shape (...).

    Raises:
      ValueError: if a shape does not fit, or a known target is out of range.
      TypeError: if `targets` is not integer.

    Example:
      >>> import jax.numpy as jnp
      >>> outputs, table, bias = jnp.zeros((1, 2)), jnp.ones((4, 2)), jnp.zeros(4)
      >>> loss, nll = linear_cross_entropy(outputs, table, bias, jnp.array([1]))
      >>> round(float(nll[0]), 4)  # log 4
      1.3863

    Reference: Szegedy et al. (2016), Rethinking the Inception architecture for computer vision
    (label smoothing).
    """
    check_shape(WHERE, "targets", targets, "(...)", outputs.shape[:-1])
    check_integers(WHERE, "targets", targets)
    check_range(WHERE, "targets", targets, len(table) - 1, "V - 1")
    normaliser = jax.nn.logsumexp(linear_logits(outputs, table, bias), axis=-1)
    asked = (outputs * table[targets]).sum(axis=-1)
    # As unsigned integers, negative targets are out of range too, instead of counting from the end.
    asked += jnp.take(bias, targets.astype(jnp.uint32), mode="fill", fill_value=jnp.nan)
    nll = normaliser - asked
    if not label_smoothing:
        return nll, nll
    mean = outputs @ table.mean(axis=0) + bias.mean()
    return nll + label_smoothing * (asked - mean), nll
