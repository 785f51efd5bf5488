"""Measures how often and how much clipping by the global norm shortens the gradient."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, core
from jax.typing import ArrayLike


class ClippingStatistics(NamedTuple):
    """The effect of clipping over a series of updates; all fields are scalars.

    Attributes:
      rate: fraction of updates with a clipped gradient.
      clipped_fraction: mean fraction of the norm that clipping removed, `1 - threshold / norm`,
        over the clipped updates; 0 if no update was clipped.
      mean_scale: mean factor on the gradient, `min(1, threshold / norm)`, over all updates.
    """

    rate: Array
    clipped_fraction: Array
    mean_scale: Array


def clipping_statistics(norms: ArrayLike, threshold: ArrayLike) -> ClippingStatistics:
    """Returns the statistics of clipping a series of gradients at a norm.

    Args:
      norms: global gradient norms before clipping, shape (updates,), such as the `grad_norm` of
        each update. Do not average over updates first: averages hide large norms. An infinite norm
        counts as clipped to zero. NaN makes `mean_scale` NaN.
      threshold: the largest norm that clipping allows, as in `optax.clip_by_global_norm`.

    Returns:
      The statistics.

    Raises:
      ValueError: if `norms` is empty or does not have shape (updates,), or a known `threshold` is
        not above 0.

    Example:
      >>> statistics = clipping_statistics(jnp.array([0.5, 2.0, 4.0, 0.5]), 1.0)
      >>> [float(value) for value in statistics]
      [0.5, 0.625, 0.6875]

    Reference: Pascanu, Mikolov and Bengio (2013), On the difficulty of training recurrent neural
    networks.
    """
    norms = jnp.asarray(norms, float)
    if norms.ndim != 1 or not norms.size:
        raise ValueError(
            "seqjax.gradflow.clipping_statistics: `norms` must have shape (updates,) with at least "
            f"one update, got {norms.shape}."
        )
    if not isinstance(threshold, core.Tracer) and not np.all(np.asarray(threshold) > 0):
        raise ValueError(
            f"seqjax.gradflow.clipping_statistics: `threshold` must be above 0, got {threshold}."
        )
    threshold = jnp.asarray(threshold, norms.dtype)
    clipped = norms > threshold
    scale = jnp.where(clipped, threshold / jnp.where(clipped, norms, 1), 1)
    cut = jnp.where(clipped, 1 - scale, 0).sum() / clipped.sum().clip(1)
    mean_scale = jnp.where(jnp.isnan(norms), norms, scale).mean()
    return ClippingStatistics(clipped.mean(), cut, mean_scale)
