"""The recurrence of Mamba-2: one scalar decay a head."""

import dataclasses

import jax
import jax.numpy as jnp

from seqjax._checks import check_sizes
from seqjax.cells._initializers import fan_in_uniform, inverse_softplus, log_uniform
from seqjax.cells._linear import LinearCell
from seqjax.cells._matrix import HeadedCell, Memory, Writes
from seqjax.cells._operations import add_bias, affine, check_features, check_in_size, check_steps
from seqjax.cells._product import split_heads


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class mamba2(HeadedCell, LinearCell):
    """The recurrence of Mamba-2: all states of a head share one decay.

        v_t = W_v x_t,    B_t = W_B x_t,    C_t = W_C x_t,    dt_t = softplus(W_dt x_t + b)
        h_t = exp(-dt_t A) h_{t-1} + dt_t v_t B_t^T        A > 0, one number a head
        y_t = h_t C_t + D v_t                              D one number a head

    `v` is split by head, and each head has a state `(H / heads, N)`. All heads share `B` and `C`.
    `A` starts uniform between 1 and 16, and `D` at 1. `b` starts such that the steps at zero input
    are log-uniform. `A` and `b` stay in float32 under a narrower `dtype`.

    Differs from `s6`, which has one decay for each unit and state, and makes the step, `B` and `C`
    of the same features that it stores. Of the block of the paper this is the recurrence alone.

    Args:
      hidden_size: hidden units, `H`.
      state_size: states of a unit, `N`.
      heads: heads; by default one for 64 units, or one in all if 64 does not divide `H`.
      min_step: smallest initial `dt`.
      max_step: largest initial `dt`.

    Raises:
      ValueError: if `heads` does not divide `hidden_size`, `state_size` is below 1, or not
        0 < min_step < max_step.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.mamba2(4, state_size=3, heads=2)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, state.hidden.shape
      ((7, 2, 4), (2, 2, 2, 3))

    Reference: Dao and Gu (2024), Transformers are SSMs: generalized models and efficient algorithms
    through structured state space duality.
    """

    state_size: int = 64
    min_step: float = 0.001
    max_step: float = 0.1
    units_per_head, full_precision = 64, ("decay_log", "step_bias")

    def __post_init__(self):
        super().__post_init__()
        check_steps("mamba2", self.min_step, self.max_step)
        check_sizes("seqjax.mamba2", state_size=self.state_size)

    @property
    def state_shape(self):
        return *self.head_shape, self.state_size

    def init(self, key, in_size, dtype=jnp.float32):
        check_in_size("mamba2", in_size)
        keys, heads = jax.random.split(key, 4), self.state_shape[0]
        columns = self.hidden_size + self.state_size + heads
        step = log_uniform(keys[1], (heads,), self.min_step, self.max_step)
        params = {
            "input_kernel": fan_in_uniform(keys[0], (in_size, columns)),  # W_v, W_B, W_dt
            "read_kernel": fan_in_uniform(keys[3], (in_size, self.state_size)),
            "decay_log": jnp.log(jax.random.uniform(keys[2], (heads,), minval=1, maxval=16)),
            "step_bias": inverse_softplus(step),
            "skip": jnp.ones(heads),
        }
        return jax.tree.map(lambda leaf: leaf.astype(dtype), params)

    def writes(self, params, xs):
        check_features("mamba2", xs, params["input_kernel"])
        places = [self.hidden_size, self.hidden_size + self.state_size]
        value, drive, step = jnp.split(affine(xs, params["input_kernel"]), places, axis=-1)
        step = jax.nn.softplus(add_bias(step, params["step_bias"]))
        rate = jnp.broadcast_to(jnp.exp(params["decay_log"]), step.shape).astype(step.dtype)
        value = step[..., None] * split_heads(value, self.state_shape[0])
        return Writes(self._for_heads(drive), value, -(step * rate)[..., None])

    def query(self, params, xs):
        return self._for_heads(affine(xs, params["read_kernel"]))

    def answer(self, params, found, xs):
        value = affine(xs, params["input_kernel"][:, : self.hidden_size])
        skip = jnp.repeat(params["skip"], self.state_shape[1])
        ys = found.matrix.reshape(value.shape)
        return ys + value * jnp.broadcast_to(skip, value.shape)

    def as_memory(self, state):
        return Memory(jnp.swapaxes(state.hidden, -1, -2))

    def as_state(self, memory, state):
        return state._replace(hidden=jnp.swapaxes(memory.matrix, -1, -2))

    def coefficients(self, params, xs):  # pyright: ignore[reportIncompatibleMethodOverride]
        key, value, log_decay, *_ = self.writes(params, xs)
        return jnp.exp(log_decay[..., 0]), value[..., None] * key[..., None, :]

    def output(self, params, states, xs):
        found = jnp.einsum("...pvn,...n->...pv", states.hidden, affine(xs, params["read_kernel"]))
        return self.answer(params, Memory(found), xs)

    def _for_heads(self, x):
        """Returns what all heads share, (..., N), once for each head."""
        return jnp.broadcast_to(x[..., None, :], (*x.shape[:-1], self.state_shape[0], x.shape[-1]))
