"""The linear recurrent unit: a diagonal of complex decays."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from seqjax.cells._linear import LinearCell, linear_cell
from seqjax.cells._operations import affine, bind, check_features, check_in_size


class LRUParams(NamedTuple):
    """Parameters of an LRU with `N` complex states.

    Attributes:
      decay_log: `nu`, shape (N,): |a| = exp(-exp(nu)).
      phase_log: `theta`, shape (N,): the phase of `a` is exp(theta).
      scale_log: `gamma`, shape (N,).
      input_kernel: real, then imaginary parts of `B`, shape (D, 2 * N).
      output_kernel: real, then imaginary parts of `C`, shape (2 * N, H).
      skip_kernel: `D`, shape (D, H).
    """

    decay_log: Array
    phase_log: Array
    scale_log: Array
    input_kernel: Array
    output_kernel: Array
    skip_kernel: Array


class PreparedLRU(NamedTuple):
    """What a run of an LRU reads: `decay` is `a`, complex; the scale is in the input kernel."""

    decay: Array
    input_kernel: Array
    output_kernel: Array
    skip_kernel: Array


def lru(
    hidden_size: int,
    *,
    state_size: int | None = None,
    min_radius: float = 0.0,
    max_radius: float = 1.0,
    max_phase: float = 2 * jnp.pi,
) -> LinearCell:
    """Makes the linear recurrent unit.

        a   = exp(-exp(nu) + i exp(theta))
        h_t = a * h_{t-1} + exp(gamma) * (B x_t)        h, a, B complex
        y_t = Re(C h_t) + D x_t

    `|a|^2` starts uniform between the squares of the two radii, the phase uniform in
    `[0, max_phase]`, and `gamma` as `log sqrt(1 - |a|^2)`; all three are then learned. The decay
    stays in float32 under a narrower `dtype`.

    Differs from S5, which learns a step size and has the read-out `2 Re(C h)`. `D` is a matrix, as
    in the paper; published code has a vector, for which in_size must equal hidden_size.

    Args:
      hidden_size: features of the output, `H`.
      state_size: complex states, `N`; by default `hidden_size`.
      min_radius: smallest |a| at the start.
      max_radius: largest |a| at the start; near 1 for long memories.
      max_phase: largest phase at the start; small for long sequences.

    Returns:
      The cell; its state is a `HiddenState` of `N` complex numbers, its parameters `LRUParams`.

    Raises:
      ValueError: if a size is below 1, or not 0 <= min_radius < max_radius <= 1, or `max_phase`
        is not above 0.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.lru(4, state_size=6, min_radius=0.9)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, state.hidden.shape, state.hidden.dtype
      ((7, 2, 4), (2, 6), dtype('complex64'))

    Reference: Orvieto et al. (2023), Resurrecting recurrent neural networks for long sequences.
    """
    size = hidden_size if state_size is None else state_size
    if (
        (state_size is not None and state_size < 1)
        or not 0 <= min_radius < max_radius <= 1
        or not max_phase > 0
    ):
        raise ValueError(
            "seqjax.lru: `state_size` must be at least 1, 0 <= min_radius < max_radius <= 1, and "
            f"`max_phase` above 0, got {size}, {min_radius}, {max_radius} and {max_phase}."
        )
    ring = {"min_radius": min_radius, "max_radius": max_radius, "max_phase": max_phase}
    return linear_cell(
        "lru",
        hidden_size,
        init=bind(_init, hidden_size=hidden_size, state_size=size, **ring),
        prepare=_prepare,
        coefficients=_coefficients,
        output=_output,
        state_shape=(size,),
        complex_state=True,
        full_precision=("decay",),
    )


def _init(
    key: Array,
    in_size: int,
    dtype: DTypeLike = jnp.float32,
    *,
    hidden_size: int,
    state_size: int,
    min_radius: float,
    max_radius: float,
    max_phase: float,
) -> LRUParams:
    check_in_size("lru", in_size)
    radius_key, phase_key, *keys = jax.random.split(key, 5)
    wide = jnp.promote_types(dtype, jnp.float32)
    tiny = jnp.finfo(wide).tiny
    # Open at both ends, since |a| = 0 and |a| = 1 have no finite logarithm.
    uniform = jax.random.uniform(radius_key, (state_size,), wide, minval=1e-6, maxval=1 - 1e-6)
    square = uniform * (max_radius**2 - min_radius**2) + min_radius**2
    phase = max_phase * jax.random.uniform(phase_key, (state_size,), wide, minval=tiny)
    shapes = (in_size, 2 * state_size), (2 * state_size, hidden_size), (in_size, hidden_size)
    scales = (2 * in_size) ** -0.5, state_size**-0.5, in_size**-0.5
    kernels = [
        scale * jax.random.normal(k, shape, dtype)
        for k, shape, scale in zip(keys, shapes, scales, strict=True)
    ]
    decays = jnp.log(-0.5 * jnp.log(square)), jnp.log(phase), 0.5 * jnp.log1p(-square)
    return LRUParams(*(leaf.astype(dtype) for leaf in decays), *kernels)


def _prepare(params: LRUParams) -> PreparedLRU:
    decay = jnp.exp(jax.lax.complex(-jnp.exp(params.decay_log), jnp.exp(params.phase_log)))
    scale = jnp.tile(jnp.exp(params.scale_log), 2)[None]
    kernels = params.input_kernel * scale, params.output_kernel, params.skip_kernel
    return PreparedLRU(decay, *kernels)


def _coefficients(params: PreparedLRU, xs: Array) -> tuple[Array, Array]:
    check_features("lru", xs, params.input_kernel)
    real, imag = jnp.split(affine(xs, params.input_kernel), 2, axis=-1)
    decay = params.decay.reshape(*(1,) * (xs.ndim - 1), -1)  # the same at every step
    return decay, jax.lax.complex(real, imag)


def _output(params: PreparedLRU, hidden: Array, xs: Array) -> Array:
    parts = jnp.concatenate([hidden.real, -hidden.imag], axis=-1)
    return affine(parts, params.output_kernel) + affine(xs, params.skip_kernel)
