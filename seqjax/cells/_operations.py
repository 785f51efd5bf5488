"""Building blocks of cells: functions bound by value, float32 products, and checks."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqjax._checks import check_shape, check_sizes


@dataclasses.dataclass(frozen=True)
class Bound:
    """A partial application that compares by value.

    `functools.partial` and closures compare by identity. Two cells that held them would differ
    even with the same hyper-parameters, so JAX would compile every new model again.

    Attributes:
      function: a module-level function, so that it can be pickled.
      keywords: the bound keywords and their values.
    """

    function: Callable[..., Any]
    keywords: tuple[tuple[str, Any], ...]

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Calls the function."""
        return self.function(*args, **dict(self.keywords), **keywords)


def bind(function: Callable[..., Any], **keywords: Any) -> Bound:
    """Binds keywords of a module-level function."""
    return Bound(function, tuple(keywords.items()))


def normalised(x: Array, epsilon: float) -> Array:
    """Returns each row with mean 0 and variance 1, but for `epsilon`, which avoids 0 / 0."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)


@jax.custom_jvp
def bounded_root(x: Array) -> Array:
    """Returns the square root, with its derivative, infinite at 0, limited to 1000."""
    return jnp.sqrt(x)


@bounded_root.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (tangent,) = primals, tangents
    return bounded_root(x), tangent / jnp.sqrt(jnp.maximum(4 * x, 1e-6))


def affine(x: Array, kernel: Array, bias: Array | None = None) -> Array:
    """Returns `x @ kernel + bias`, accumulated and returned in float32 or wider.

    Args:
      x: shape (..., D), cast to the kernel's dtype so that low precision reaches the product.
      kernel: shape (D, N).
      bias: shape (N,), or None.

    Returns:
      Array of shape (..., N), in the kernel's dtype promoted with float32.

    Raises:
      ValueError: if `x` does not have D features, or `bias` not N numbers.

    Example:
      >>> import jax.numpy as jnp
      >>> affine(jnp.ones((2, 3), jnp.bfloat16), jnp.ones((3, 4), jnp.bfloat16)).dtype
      dtype('float32')
    """
    check_features("affine", x, kernel)
    if bias is not None:
        check_shape("seqjax affine", "bias", bias, "(N,)", kernel.shape[1:])
    dtype = jnp.promote_types(kernel.dtype, jnp.float32)
    # Do not reshape to two axes first: merging time with a batch axis that is split over devices
    # would gather the whole batch on every device.
    product = jnp.matmul(x.astype(kernel.dtype), kernel, preferred_element_type=dtype)
    return add_bias(whole_features(product), bias)


def add_bias(y: Array, bias: Array | None) -> Array:
    """Adds `bias`, shape (N,), to the last axis of `y`; None adds nothing."""
    return y if bias is None else y + jnp.broadcast_to(bias.astype(y.dtype), y.shape)


def whole_features(x: Array) -> Array:
    """Gathers all features of `x` on each device if kernels are split over devices.

    A device that holds some columns of a kernel holds some gates of all units, not all gates of
    some units. One exchange after each product joins the gates. Without this constraint the
    compiler exchanges every gate separately at every time step. The function does nothing unless
    the ambient mesh has an axis "hidden"; `seqjax.train.make_train_step` sets that mesh.
    """
    if "hidden" not in jax.sharding.get_abstract_mesh().shape:
        return x
    free = jax.sharding.PartitionSpec.UNCONSTRAINED
    spec = jax.sharding.PartitionSpec(*[free] * (x.ndim - 1), None)
    return lax.with_sharding_constraint(x, spec)


def check_in_size(name: str, in_size: int) -> None:
    """Refuses an `in_size` that is not an integer of at least 1."""
    check_sizes(f"seqjax {name}.init", in_size=in_size)


def check_features(name: str, x: Array, kernel: Array) -> None:
    """Refuses an input whose number of features differs from the rows of `kernel`."""
    if x.shape[-1:] != kernel.shape[:1]:
        raise ValueError(
            f"seqjax {name}: the input must have in_size = {kernel.shape[0]} features on its last "
            f"axis, got shape {x.shape}. Make the parameters with "
            f"init(key, in_size={x.shape[-1] if x.ndim else '...'}), or fix the input."
        )


def check_steps(name: str, low: float, high: float) -> None:
    """Refuses a range of initial step sizes that is empty or not positive."""
    if not 0 < low < high:
        raise ValueError(
            f"seqjax.{name}: `min_step` and `max_step` must satisfy 0 < min_step < max_step, got "
            f"{low} and {high}."
        )


def heads_of(name: str, hidden_size: int, heads: int | None, *, size: int) -> int:
    """Returns the number of heads: by default one for `size` units, or 1 if that does not divide.

    Raises:
      ValueError: if `heads` is not an integer that divides `hidden_size`.
    """
    if heads is None:
        return 1 if hidden_size % size else hidden_size // size
    check_sizes(f"seqjax.{name}", heads=heads)
    if hidden_size % heads:
        raise ValueError(
            f"seqjax.{name}: `heads` must divide hidden_size = {hidden_size}, got {heads}."
        )
    return heads
