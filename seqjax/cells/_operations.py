"""Building blocks of cells: float32 products, initialisers, activations by name and checks."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from seqjax._checks import check_shape, check_sizes

Initializer = Callable[..., Array]
Activation = str | Callable[[Array], Array]

zeros: Initializer = jax.nn.initializers.zeros
ones: Initializer = jax.nn.initializers.ones

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "softsign": jax.nn.soft_sign,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
}


def glorot_uniform(key: Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Array:
    """Draws from `Uniform(-a, a)` with `a = sqrt(6 / (rows + columns))`."""
    return jax.nn.initializers.glorot_uniform()(key, shape, dtype)


def orthogonal(key: Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Array:
    """Draws an orthogonal matrix in float32 or wider, since QR has no bfloat16, then casts it."""
    wide = jnp.promote_types(dtype, jnp.float32)
    return jax.nn.initializers.orthogonal()(key, shape, wide).astype(dtype)


def uniform(
    key: Array,
    shape: Sequence[int],
    dtype: DTypeLike = jnp.float32,
    *,
    low: float = 0.0,
    high: float = 1.0,
) -> Array:
    """Draws from `Uniform(low, high)` in float32 or wider, then casts."""
    wide = jnp.promote_types(dtype, jnp.float32)
    return jax.random.uniform(key, shape, wide, low, high).astype(dtype)


def normal(
    key: Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32, *, scale: float
) -> Array:
    """Draws from `N(0, scale^2)` in float32 or wider, then casts."""
    wide = jnp.promote_types(dtype, jnp.float32)
    return (scale * jax.random.normal(key, shape, wide)).astype(dtype)


def constant(
    key: Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32, *, value: float
) -> Array:
    """Returns an array filled with one value."""
    return jnp.full(shape, value, dtype)


def by_gate(
    key: Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32, *, values: Sequence[float]
) -> Array:
    """Returns one value for all units of each gate, (G * H,), for `units` of that width."""
    return jnp.repeat(jnp.asarray(values, dtype), shape[0])


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


def named_activation(where: str, argument: str, activation: Activation) -> Activation:
    """Returns the name of an activation if it has one: a name compares by value and pickles."""
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"{where}: `{argument}` must be one of {', '.join(sorted(ACTIVATIONS))}, or a "
                f"pointwise function, got {activation!r}."
            )
        return activation
    if not callable(activation):
        raise TypeError(
            f"{where}: `{argument}` must be a name or a pointwise function, got {activation!r}."
        )
    names = [name for name, function in ACTIVATIONS.items() if function is activation]
    return names[0] if names else activation


def activate(activation: Activation, x: Array) -> Array:
    """Applies an activation, given as a name or a function."""
    return ACTIVATIONS[activation](x) if isinstance(activation, str) else activation(x)


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
