"""S6, the selective state space of Mamba."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from seqjax._checks import check_sizes
from seqjax.cells._initializers import fan_in_normal, fan_in_uniform, inverse_softplus, log_uniform
from seqjax.cells._linear import LinearCell
from seqjax.cells._operations import add_bias, affine, check_features, check_in_size, check_steps


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class s6(LinearCell):
    """The selective state space of Mamba: `N` states a unit; the input sets step, B and C.

        dt_t = softplus(W_2 W_1 x_t + b),     B_t = W_B x_t,     C_t = W_C x_t
        h_t  = exp(dt_t A) * h_{t-1} + dt_t * x_t B_t^T        A < 0 and h of shape (H, N)
        y_t  = h_t C_t + D * x_t

    `A` starts at `-1 ... -N` in every unit, and `D` at 1. `b` starts such that the steps at zero
    input are log-uniform. `A` and `b` stay in float32 under a narrower `dtype`.

    Differs from `s5`: `dt`, `B` and `C` depend on the input, states are real, and units do not
    meet in the recurrence. Of the block of the paper this is the recurrence alone. If in_size
    differs from hidden_size, `x` is a learned linear map of the input; otherwise it is the input.

    Args:
      hidden_size: hidden units, `H`.
      state_size: states of a unit, `N`.
      rank: rank of `W_2 W_1`; by default `H / 16`, rounded up.
      min_step: smallest initial `dt`.
      max_step: largest initial `dt`.

    Raises:
      ValueError: if a size is below 1, or not 0 < min_step < max_step.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.s6(4, state_size=2)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> run = jax.jit(seqjax.unroll, static_argnums=0)
      >>> ys, state = run(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, state.hidden.shape
      ((7, 2, 4), (2, 4, 2))

    Reference: Gu and Dao (2023), Mamba: linear-time sequence modeling with selective state spaces.
    """

    state_size: int = 16
    rank: int | None = None
    min_step: float = 0.001
    max_step: float = 0.1
    full_precision = ("decay_log", "step_bias")

    def __post_init__(self):
        super().__post_init__()
        check_steps("s6", self.min_step, self.max_step)
        rank = 1 if self.rank is None else self.rank
        check_sizes("seqjax.s6", state_size=self.state_size, rank=rank)

    @property
    def state_shape(self):
        return self.hidden_size, self.state_size

    def init(self, key, in_size, dtype=jnp.float32):
        check_in_size("s6", in_size)
        keys, (units, states) = jax.random.split(key, 5), self.state_shape
        rank = math.ceil(units / 16) if self.rank is None else self.rank
        step = log_uniform(keys[2], (units,), self.min_step, self.max_step)
        params = {
            "decay_log": jnp.tile(jnp.log(jnp.arange(1, states + 1)), (units, 1)),
            "select_kernel": fan_in_uniform(keys[0], (units, rank + states)),  # W_1, then W_B
            "read_kernel": fan_in_uniform(keys[4], (units, states)),
            "step_kernel": fan_in_uniform(keys[1], (rank, units)),
            "step_bias": inverse_softplus(step),
            "skip": jnp.ones(units),
        }
        if in_size != units:
            params["input_kernel"] = fan_in_normal(keys[3], (in_size, units))
        return jax.tree.map(lambda leaf: leaf.astype(dtype), params)

    def coefficients(self, params, xs):  # pyright: ignore[reportIncompatibleMethodOverride]
        check_features("s6", xs, params.get("input_kernel", params["skip"]))
        xs = self._mapped(params, xs)
        parts = affine(xs, params["select_kernel"])
        step, drive = jnp.split(parts, [parts.shape[-1] - self.state_size], axis=-1)
        step = affine(step, params["step_kernel"])
        step = jax.nn.softplus(add_bias(step, params["step_bias"]))
        rate = jnp.exp(params["decay_log"]).astype(step.dtype)
        rate = jnp.broadcast_to(rate, (*step.shape, self.state_size))
        return jnp.exp(-step[..., None] * rate), (step * xs)[..., None] * drive[..., None, :]

    def output(self, params, states, xs):
        xs = self._mapped(params, xs)
        ys = jnp.einsum("...hn,...n->...h", states.hidden, affine(xs, params["read_kernel"]))
        return ys + xs * jnp.broadcast_to(params["skip"], xs.shape)

    def _mapped(self, params, xs):
        return affine(xs, params["input_kernel"]) if "input_kernel" in params else xs
