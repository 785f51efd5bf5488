"""Masked pooling over time: reduces a sequence to one vector."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from seqjax._checks import check_choice, check_shape, check_sizes
from seqjax.nn._module import Module, check_rngs


def masked_mean(xs: Array, mask: Array) -> Array:
    """Returns the mean over the valid steps, or zero if there are none.

    Args:
      xs: shape (*B, T, D).
      mask: True at the valid steps, shape (*B, T).

    Returns:
      Array of shape (*B, D).

    Example:
      >>> import jax.numpy as jnp
      >>> masked_mean(jnp.array([[1.0], [3.0], [9.0]]), jnp.array([True, True, False])).tolist()
      [2.0]
    """
    total = jnp.where(mask[..., None], xs, 0).sum(axis=-2)
    return total / jnp.maximum(mask.sum(axis=-1), 1)[..., None].astype(xs.dtype)


def masked_max(xs: Array, mask: Array) -> Array:
    """Returns the maximum over the valid steps, or zero if there are none.

    Args:
      xs: shape (*B, T, D).
      mask: True at the valid steps, shape (*B, T).

    Returns:
      Array of shape (*B, D).

    Example:
      >>> import jax.numpy as jnp
      >>> masked_max(jnp.array([[1.0], [3.0], [9.0]]), jnp.array([True, True, False])).tolist()
      [3.0]
    """
    lowest = jnp.finfo(xs.dtype).min
    highest = jnp.where(mask[..., None], xs, lowest).max(axis=-2)
    return jnp.where(mask.any(axis=-1)[..., None], highest, 0)


def masked_last(xs: Array, mask: Array) -> Array:
    """Returns the value at the last valid step, or zero if there is none.

    Args:
      xs: shape (*B, T, D).
      mask: True at the valid steps, shape (*B, T).

    Returns:
      Array of shape (*B, D).

    Example:
      >>> import jax.numpy as jnp
      >>> masked_last(jnp.array([[1.0], [3.0], [9.0]]), jnp.array([True, True, False])).tolist()
      [3.0]
    """
    steps = jnp.arange(mask.shape[-1]).reshape((1,) * (mask.ndim - 1) + (-1,))
    last = jnp.where(mask, steps, 0).max(axis=-1)
    values = jnp.take_along_axis(xs, last[..., None, None], axis=-2)[..., 0, :]
    return jnp.where(mask.any(axis=-1)[..., None], values, 0)


def masked_middle(xs: Array, mask: Array) -> Array:
    """Returns the value at the middle valid step (the later of two), or zero if there is none.

    Args:
      xs: shape (*B, T, D).
      mask: True at the valid steps, shape (*B, T).

    Returns:
      Array of shape (*B, D).

    Example:
      >>> import jax.numpy as jnp
      >>> masked_middle(jnp.array([[1.0], [3.0], [9.0]]), jnp.array([True, True, False])).tolist()
      [3.0]
    """
    place = jnp.cumsum(mask, axis=-1) - 1
    middle = mask & (place == (mask.sum(axis=-1) // 2)[..., None])
    # Select with `where`, not with a product: the padding may hold NaN.
    return jnp.where(middle[..., None], xs, 0).sum(axis=-2)


def masked_mean_max(xs: Array, mask: Array) -> Array:
    """Returns mean and maximum over the valid steps, concatenated."""
    return jnp.concatenate([masked_mean(xs, mask), masked_max(xs, mask)], axis=-1)


WITHOUT_PARAMETERS = {
    "last": masked_last,
    "middle": masked_middle,
    "mean": masked_mean,
    "max": masked_max,
    "mean_max": masked_mean_max,
}
POOLINGS = (*WITHOUT_PARAMETERS, "attention")


class Pooling(Module):
    """Pools a sequence over its valid steps.

    Args:
      kind: "last", "middle" (for two directions that meet there), "mean", "max", "mean_max" (both,
        concatenated) or "attention" (a weighted mean; the weights are a softmax of a learned score
        of each step).
      in_size: features of the sequence.
      param_dtype: dtype of the parameters of "attention"; the other kinds have none.
      rngs: provides the keys of the initialisers of "attention".

    Raises:
      ValueError: if `kind` is unknown or `in_size` is below 1.
      TypeError: if `rngs` is not `nnx.Rngs`.

    Example:
      >>> import jax.numpy as jnp, seqjax
      >>> from flax import nnx
      >>> pool = seqjax.nn.Pooling("mean_max", 8, rngs=nnx.Rngs(0))
      >>> pool(jnp.ones((2, 5, 8)), jnp.ones((2, 5), bool)).shape
      (2, 16)

    Reference: Bahdanau, Cho and Bengio (2015), Neural machine translation by jointly learning to
    align and translate (the additive score); Collobert and Weston (2008), A unified architecture
    for natural language processing (pooling over time).
    """

    def __init__(
        self, kind: str, in_size: int, *, param_dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs
    ):
        """Initialises the parameters of "attention"."""
        check_choice("seqjax.nn.Pooling", "kind", kind, POOLINGS)
        check_sizes("seqjax.nn.Pooling", in_size=in_size)
        check_rngs("seqjax.nn.Pooling", rngs)
        self.kind = kind
        self.in_size = in_size
        self.out_size = in_size * (2 if kind == "mean_max" else 1)
        if kind == "attention":
            self.hidden = nnx.Linear(in_size, in_size, param_dtype=param_dtype, rngs=rngs)
            self.score = nnx.Linear(in_size, 1, use_bias=False, param_dtype=param_dtype, rngs=rngs)

    def __call__(self, xs: Array, mask: Array) -> Array:
        """Pools `xs`, shape (*B, T, D), over the steps where `mask`, (*B, T), is True.

        Returns:
          Array of shape (*B, out_size), zero for a sequence without valid steps.

        Raises:
          ValueError: if a shape does not fit.
          TypeError: if `mask` is not boolean.
        """
        where, lead = "seqjax.nn.Pooling", xs.shape[:-1]
        check_shape(where, "xs", xs, "(*B, T, in_size)", (*lead, self.in_size))
        check_shape(where, "mask", mask, "(*B, T)", lead)
        if mask.dtype != jnp.bool_:
            raise TypeError(f"{where}: `mask` must be boolean, got {mask.dtype}.")
        if self.kind in WITHOUT_PARAMETERS:
            return WITHOUT_PARAMETERS[self.kind](xs, mask)
        clean = jnp.where(mask[..., None], xs, 0)
        scores = self.score(jnp.tanh(self.hidden(clean)))[..., 0]
        weights = jnp.where(mask, jax.nn.softmax(scores, axis=-1, where=mask), 0)
        return jnp.einsum("...t,...td->...d", weights, clean)
