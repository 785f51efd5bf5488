"""The real-gated linear recurrent unit of Griffin and RecurrentGemma."""

import dataclasses

import jax
import jax.numpy as jnp

from seqjax.cells._initializers import fan_in_normal, ring_log_radius
from seqjax.cells._linear import LinearCell
from seqjax.cells._operations import add_bias, affine, bounded_root, check_features, check_in_size
from seqjax.cells._product import recurrent_product


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class rg_lru(LinearCell):
    """The real-gated linear recurrent unit.

        log a_t = -8 sigmoid(W_a x_t + b_a) softplus(L)
        h_t = a_t * h_{t-1} + sqrt(1 - a_t^2) * sigmoid(W_i x_t + b_i) * x_t

    At the first step of a sequence and after a reset, `a` is 0 and the root is 1, because there is
    no past to weight. Initially `exp(-softplus(L))^2` is uniform between the squared radii. `L`
    stays in float32 under a narrower `dtype`. The state is a `SegmentState`.

    Differs from `lru`: the state is real, the input gates it, and there is no read-out. If in_size
    differs from hidden_size, `x` is a learned linear map of the input; otherwise it is the input.

    Args:
      hidden_size: hidden units, `H`.
      heads: blocks of `W_a` and of `W_i`.
      min_radius: smallest initial `exp(-softplus(L))`.
      max_radius: largest initial `exp(-softplus(L))`.

    Raises:
      ValueError: if `heads` does not divide `hidden_size`, or not 0 < min_radius < max_radius < 1.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.rg_lru(4, heads=2)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, state.fresh.tolist()
      ((7, 2, 4), [False, False])

    Reference: De et al. (2024), Griffin: mixing gated linear recurrences with local attention.
    """

    heads: int = 1
    min_radius: float = 0.9
    max_radius: float = 0.999
    uses_starts, full_precision = True, ("decay",)

    def __post_init__(self):
        super().__post_init__()
        heads, low, high = self.heads, self.min_radius, self.max_radius
        if heads < 1 or self.hidden_size % heads or not 0 < low < high < 1:
            raise ValueError(
                f"seqjax.rg_lru: `heads` must divide hidden_size = {self.hidden_size}, and 0 < "
                f"min_radius < max_radius < 1, got {heads}, {low} and {high}."
            )

    def init(self, key, in_size, dtype=jnp.float32):
        check_in_size("rg_lru", in_size)
        keys, units = jax.random.split(key, 3), self.hidden_size
        size = units // self.heads
        log_radius = ring_log_radius(keys[0], units, self.min_radius, self.max_radius)
        shape = (units, 2 * units) if self.heads == 1 else (self.heads, size, 2 * size)
        params = {
            "decay": jnp.log(jnp.expm1(-log_radius)),
            "gate_kernel": size**-0.5 * jax.random.normal(keys[1], shape),
            "gate_bias": jnp.zeros(2 * units),
        }
        if in_size != units:
            params["input_kernel"] = fan_in_normal(keys[2], (in_size, units))
        return jax.tree.map(lambda leaf: leaf.astype(dtype), params)

    def coefficients(self, params, xs, starts):  # pyright: ignore[reportIncompatibleMethodOverride]
        kernel = params.get("input_kernel")
        check_features("rg_lru", xs, params["decay"] if kernel is None else kernel)
        xs = xs if kernel is None else affine(xs, kernel)
        gates = add_bias(recurrent_product(xs, params["gate_kernel"]), params["gate_bias"])
        recurrence, admit = jnp.split(jax.nn.sigmoid(gates), 2, axis=-1)
        rate = jnp.broadcast_to(jax.nn.softplus(params["decay"]), recurrence.shape)
        log_a = -8 * recurrence * rate.astype(recurrence.dtype)
        # Computed from log a, since 1 - a^2 rounds to 0 when a is near 1.
        root = bounded_root(-jnp.expm1(2 * log_a))
        a, root = jnp.where(starts, 0.0, jnp.exp(log_a)), jnp.where(starts, 1.0, root)
        return a, root * admit * xs
