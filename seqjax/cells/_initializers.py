"""Initialisers: those of JAX that hold for every dtype, and those of recurrent networks."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from seqjax.cells._operations import bind

Initializer = Callable[..., Array]

zeros: Initializer = jax.nn.initializers.zeros
ones: Initializer = jax.nn.initializers.ones


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


def scalar(
    key: Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32, *, value: float
) -> Array:
    """Returns one number for all units, (1,)."""
    return jnp.full((1,), value, dtype)


def by_gate(
    key: Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32, *, values: Sequence[float]
) -> Array:
    """Returns one value for all units of each gate, (G * H,), for `units` of that width."""
    return jnp.repeat(jnp.asarray(values, dtype), shape[0])


def chrono(max_timescale: float, *, sign: float = 1.0) -> Initializer:
    """Returns the chrono initialiser of a gate's bias.

        b = sign * log(u),   u ~ Uniform(1, max_timescale - 1)

    A forget gate with this bias keeps its memory for about `u` steps. The units of a layer then
    cover every time-scale up to the longest dependency that you expect in the data.

    Args:
      max_timescale: longest dependency in steps, greater than 2.
      sign: 1 for a gate that keeps memory (LSTM forget), -1 for a gate that admits input (LSTM
        input, GRU update).

    Returns:
      An initialiser, `(key, shape, dtype) -> Array`.

    Raises:
      ValueError: if `max_timescale` is not greater than 2, or `sign` is not 1 or -1.

    Example:
      >>> import jax
      >>> bias = chrono(100.0)(jax.random.key(0), (1000,))
      >>> bool((bias >= 0).all() and (bias <= jax.numpy.log(99.0)).all())
      True

    Reference: Tallec and Ollivier (2018), Can recurrent neural networks warp time?
    """
    if not max_timescale > 2:
        raise ValueError(
            f"seqjax chrono: `max_timescale` must be greater than 2 steps, got {max_timescale}."
        )
    if sign not in (1, -1):
        raise ValueError(f"seqjax chrono: `sign` must be 1 or -1, got {sign}.")
    return bind(_chrono, max_timescale=max_timescale, sign=sign)


def _chrono(
    key: Array,
    shape: tuple[int, ...],
    dtype: DTypeLike = jnp.float32,
    *,
    max_timescale: float,
    sign: float,
) -> Array:
    timescales = jax.random.uniform(key, shape, dtype, minval=1.0, maxval=max_timescale - 1.0)
    return sign * jnp.log(timescales)


def ring_log_radius(key: Array, size: int, min_radius: float, max_radius: float) -> Array:
    """Draws `log |a|` of `size` decays, with `|a|^2` uniform between the squared radii."""
    square = jax.random.uniform(key, (size,), minval=1e-6, maxval=1 - 1e-6)
    return 0.5 * jnp.log(square * (max_radius**2 - min_radius**2) + min_radius**2)


def log_uniform(key: Array, size: tuple[int, ...], low: float, high: float) -> Array:
    """Draws numbers whose logarithm is uniform between those of `low` and `high`."""
    return jnp.exp(jax.random.uniform(key, size, minval=jnp.log(low), maxval=jnp.log(high)))


def inverse_softplus(x: Array) -> Array:
    """Returns `y` with `softplus(y) = x`, for positive `x`."""
    return x + jnp.log(-jnp.expm1(-x))


def fan_in_normal(key: Array, shape: tuple[int, ...]) -> Array:
    """Draws a kernel (D, N) from a normal distribution with variance `1 / D`."""
    return shape[0] ** -0.5 * jax.random.normal(key, shape)


def fan_in_uniform(key: Array, shape: tuple[int, ...]) -> Array:
    """Draws a kernel (D, N) uniformly between `-1 / sqrt(D)` and `1 / sqrt(D)`."""
    return shape[0] ** -0.5 * jax.random.uniform(key, shape, minval=-1.0)
