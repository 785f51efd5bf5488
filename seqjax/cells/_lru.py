"""The linear recurrent unit: a diagonal of complex decays."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqjax.cells._initializers import ring_log_radius
from seqjax.cells._linear import LinearCell
from seqjax.cells._operations import affine, check_features, check_in_size


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class lru(LinearCell):
    """The linear recurrent unit.

        a   = exp(-exp(nu) + i exp(theta))
        h_t = a * h_{t-1} + exp(gamma) * (B x_t)        h, a, B complex
        y_t = Re(C h_t) + D x_t

    Initially `|a|^2` is uniform between the squared radii, the phase `exp(theta)` is uniform in
    `[0, max_phase]`, and `gamma` is `log sqrt(1 - |a|^2)`. All three are learned. `a` stays in
    float32 under a narrower `dtype`. The state is a `HiddenState` of `N` complex numbers.

    Differs from S5, which learns a step size and reads out `2 Re(C h)`. `D` is a matrix, as in the
    paper; in published code it is a vector, so in_size must equal hidden_size.

    Args:
      hidden_size: features of the output, `H`.
      state_size: complex states, `N`; by default `hidden_size`.
      min_radius: smallest initial `|a|`, at least 0 and below `max_radius`.
      max_radius: largest initial `|a|`, at most 1; near 1 for long memory.
      max_phase: largest initial phase; small for long sequences.

    Raises:
      ValueError: if a size is below 1, the radii are out of order, or `max_phase` is not above 0.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.lru(4, state_size=6, min_radius=0.9)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, state.hidden.shape, state.hidden.dtype
      ((7, 2, 4), (2, 6), dtype('complex64'))

    Reference: Orvieto et al. (2023), Resurrecting recurrent neural networks for long sequences.
    """

    state_size: int | None = None
    min_radius: float = 0.0
    max_radius: float = 1.0
    max_phase: float = 2 * jnp.pi
    complex_state, full_precision = True, ("decay",)

    def __post_init__(self):
        super().__post_init__()
        radii, size, phase = (self.min_radius, self.max_radius), self.state_size, self.max_phase
        if (size is not None and size < 1) or not 0 <= radii[0] < radii[1] <= 1 or not phase > 0:
            raise ValueError(
                "seqjax.lru: `state_size` must be at least 1, 0 <= min_radius < max_radius <= 1, "
                f"and `max_phase` above 0, got {size}, {radii[0]}, {radii[1]} and {phase}."
            )

    @property
    def state_shape(self):
        return (self.hidden_size if self.state_size is None else self.state_size,)

    def init(self, key, in_size, dtype=jnp.float32):
        check_in_size("lru", in_size)
        (size,), *keys = self.state_shape, *jax.random.split(key, 5)
        log_radius = ring_log_radius(keys[0], size, self.min_radius, self.max_radius)
        phase = self.max_phase * jax.random.uniform(keys[1], (size,), minval=1e-6)
        logs = jnp.log(-log_radius), jnp.log(phase), 0.5 * jnp.log(-jnp.expm1(2 * log_radius))
        names = "decay_log", "phase_log", "scale_log"
        params: dict[str, Array] = dict(zip(names, logs, strict=True))

        def normal(key, rows, columns, scale):
            return scale * jax.random.normal(key, (rows, columns))

        # Columns of B, and rows of C: real parts, then imaginary parts.
        params["input_kernel"] = normal(keys[2], in_size, 2 * size, (2 * in_size) ** -0.5)
        params["output_kernel"] = normal(keys[3], 2 * size, self.hidden_size, size**-0.5)
        params["skip_kernel"] = normal(keys[4], in_size, self.hidden_size, in_size**-0.5)
        return jax.tree.map(lambda leaf: leaf.astype(dtype), params)

    def prepare(self, params):
        decay = lax.complex(-jnp.exp(params["decay_log"]), jnp.exp(params["phase_log"]))
        scale = jnp.tile(jnp.exp(params["scale_log"]), 2)[None]
        return params | {"decay": jnp.exp(decay), "input_kernel": params["input_kernel"] * scale}

    def coefficients(self, params, xs):  # pyright: ignore[reportIncompatibleMethodOverride]
        check_features("lru", xs, params["input_kernel"])
        drive = lax.complex(*jnp.split(affine(xs, params["input_kernel"]), 2, axis=-1))
        return params["decay"].reshape(*(1,) * (xs.ndim - 1), -1), drive  # constant in time

    def output(self, params, states, xs):
        parts = jnp.concatenate([states.hidden.real, -states.hidden.imag], axis=-1)
        return affine(parts, params["output_kernel"]) + affine(xs, params["skip_kernel"])
