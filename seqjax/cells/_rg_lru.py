"""The real-gated linear recurrent unit of Griffin and RecurrentGemma."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from seqjax.cells._linear import LinearCell, linear_cell
from seqjax.cells._operations import (
    add_bias,
    affine,
    bind,
    check_features,
    check_hidden_size,
    check_in_size,
)
from seqjax.cells._product import recurrent_product

_SHARPNESS = 8.0
_STEEPEST_ROOT = 1000.0


class RGLRUParams(NamedTuple):
    """Parameters of an RG-LRU.

    Attributes:
      decay: `L`, shape (H,): a unit's slowest decay is exp(-8 softplus(L)).
      gate_kernel: columns of the recurrence gate, then of the input gate, shape (H, 2 * H), or by
        head (n, H / n, 2 * H / n).
      gate_bias: shape (2 * H,).
      input_kernel: shape (D, H), or None where in_size equals hidden_size.
    """

    decay: Array
    gate_kernel: Array
    gate_bias: Array
    input_kernel: Array | None


def rg_lru(
    hidden_size: int, *, heads: int = 1, min_radius: float = 0.9, max_radius: float = 0.999
) -> LinearCell:
    """Makes the real-gated linear recurrent unit.

        log a_t = -8 sigmoid(W_a x_t + b_a) softplus(L)
        h_t = a_t * h_{t-1} + sqrt(1 - a_t^2) * sigmoid(W_i x_t + b_i) * x_t

    At the first step of a sequence, and at the first step after a reset, `a = 0` and the root is
    1: there is no past to weigh the input against. `exp(-softplus(L))^2` starts uniform between
    the squares of the two radii. `L` stays in float32 under a narrower `dtype`.

    Differs from `lru`: real, its decay gated by the input, and without a read-out. Where in_size
    differs from hidden_size, `x` is a linear map of the input; otherwise there is no such map, as
    published. The block of the paper has a convolution and a gated branch around this cell.

    Args:
      hidden_size: hidden units, `H`.
      heads: blocks of `W_a` and of `W_i`.
      min_radius: smallest `exp(-softplus(L))` at the start.
      max_radius: largest `exp(-softplus(L))` at the start.

    Returns:
      The cell; its state is a `SegmentState`, its parameters `RGLRUParams`.

    Raises:
      ValueError: if `heads` does not divide `hidden_size`, or not 0 < min_radius < max_radius < 1.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.rg_lru(4, heads=2)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, state.fresh.tolist()
      ((7, 2, 4), [False, False])

    Reference: De et al. (2024), Griffin: mixing gated linear recurrences with local attention for
    efficient language models.
    """
    check_hidden_size("rg_lru", hidden_size)
    if heads < 1 or hidden_size % heads or not 0 < min_radius < max_radius < 1:
        raise ValueError(
            f"seqjax.rg_lru: `heads` must divide hidden_size = {hidden_size}, and 0 < min_radius < "
            f"max_radius < 1, got {heads}, {min_radius} and {max_radius}."
        )
    ring = {"min_radius": min_radius, "max_radius": max_radius}
    return linear_cell(
        "rg_lru",
        hidden_size,
        init=bind(_init, hidden_size=hidden_size, heads=heads, **ring),
        coefficients=_coefficients,
        uses_starts=True,
        full_precision=("decay",),
    )


def _init(
    key: Array,
    in_size: int,
    dtype: DTypeLike = jnp.float32,
    *,
    hidden_size: int,
    heads: int,
    min_radius: float,
    max_radius: float,
) -> RGLRUParams:
    check_in_size("rg_lru", in_size)
    decay_key, gate_key, input_key = jax.random.split(key, 3)
    size = hidden_size // heads
    shape = (hidden_size, 2 * hidden_size) if heads == 1 else (heads, size, 2 * size)
    square = jax.random.uniform(
        decay_key, (hidden_size,), minval=min_radius**2, maxval=max_radius**2
    )
    project = in_size != hidden_size
    return RGLRUParams(
        decay=jnp.log(jnp.expm1(-0.5 * jnp.log(square))).astype(dtype),
        gate_kernel=size**-0.5 * jax.random.normal(gate_key, shape, dtype),
        gate_bias=jnp.zeros(2 * hidden_size, dtype),
        input_kernel=(
            in_size**-0.5 * jax.random.normal(input_key, (in_size, hidden_size), dtype)
            if project
            else None
        ),
    )


def _coefficients(params: RGLRUParams, xs: Array, starts: Array) -> tuple[Array, Array]:
    if params.input_kernel is not None:
        check_features("rg_lru", xs, params.input_kernel)
        xs = affine(xs, params.input_kernel)
    else:
        check_features("rg_lru", xs, params.decay)
    gates = add_bias(recurrent_product(xs, params.gate_kernel), params.gate_bias)
    recurrence, admit = jnp.split(jax.nn.sigmoid(gates), 2, axis=-1)
    # In logarithms: 1 - a^2 would round to 0 where a is near 1.
    decay = jax.nn.softplus(params.decay).astype(recurrence.dtype)
    log_a = -_SHARPNESS * recurrence * jnp.broadcast_to(decay, recurrence.shape)
    a = jnp.where(starts, 0.0, jnp.exp(log_a))
    root = jnp.where(starts, 1.0, _root(-jnp.expm1(2 * log_a)))
    return a, root * admit * xs


@jax.custom_jvp
def _root(x: Array) -> Array:
    """A square root whose derivative is at most 1000, as published: it is infinite at 0."""
    return jnp.sqrt(x)


@_root.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (tangent,) = primals, tangents
    return _root(x), tangent / jnp.sqrt(jnp.maximum(4 * x, _STEEPEST_ROOT**-2))
