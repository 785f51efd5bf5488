"""The closed-form continuous-time network: a mean of two answers that depends on time."""

import dataclasses

import jax
import jax.numpy as jnp

from seqjax._checks import check_sizes
from seqjax.cells._cell import Cell, HiddenState, batch_axes
from seqjax.cells._initializers import glorot_uniform
from seqjax.cells._operations import affine, check_features


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class cfc(Cell):
    """The closed-form continuous-time network.

        u_t = 1.7159 tanh(0.666 (W x_t + R h_{t-1} + b))
        s_t = sigmoid(dt (A u_t + b_a) + B u_t + b_b)
        h_t = (1 - s_t) * tanh(F u_t + b_f) + s_t * tanh(G u_t + b_g)

    `dt` is the time since the step before, 1 unless `timed`. The form approximates the solution of
    the differential equation of `ltc`, so no solver is needed.

    Differs from `gru`: no term keeps the old state as it is, and gate and candidates see it through
    a hidden layer, `u`. The paper calls the form with `dt` and two answers the full CfC; of its
    variants, only this one is here.

    Args:
      hidden_size: hidden units, `H`.
      backbone_size: units of the hidden layer, `U`.
      timed: whether the last feature of the input is `dt`, for data with irregular steps.

    Raises:
      ValueError: if a size is below 1, or `timed` and in_size is below 2.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.cfc(4, backbone_size=16)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, params["output_kernel"].shape
      ((7, 2, 4), (16, 16))

    Reference: Hasani et al. (2022), Closed-form continuous-time neural networks.
    """

    backbone_size: int = 128
    timed: bool = False

    def __post_init__(self):
        super().__post_init__()
        check_sizes("seqjax.cfc", backbone_size=self.backbone_size)

    def init(self, key, in_size, dtype=jnp.float32):
        check_sizes("seqjax cfc.init", at_least=1 + self.timed, in_size=in_size)
        size, units, in_size = self.hidden_size, self.backbone_size, in_size - self.timed
        keys = jax.random.split(key, 5)
        # One matrix sees the input and the state, so its bound counts both.
        seen = glorot_uniform(keys[0], (in_size + size, units), dtype)
        answers = [glorot_uniform(each, (units, size), dtype) for each in keys[1:]]
        return {
            "input_kernel": seen[:in_size],
            "recurrent_kernel": seen[in_size:],
            "bias": jnp.zeros(units, dtype),
            "output_kernel": jnp.concatenate(answers, axis=-1),  # F, G, A, B
            "output_bias": jnp.zeros(4 * size, dtype),
        }

    def initial_state(self, params, batch_shape=(), dtype=jnp.float32):
        return HiddenState(jnp.zeros((*batch_axes("cfc", batch_shape), self.hidden_size), dtype))

    def project(self, params, xs):
        xs, time = split_time("cfc", xs, params["input_kernel"], self.timed)
        return affine(xs, params["input_kernel"], params["bias"]), time

    def step(self, params, state, drive):
        drive, time = drive
        seen = drive + affine(state.hidden, params["recurrent_kernel"])
        seen = 1.7159 * jnp.tanh(0.666 * seen)
        answers = affine(seen, params["output_kernel"], params["output_bias"])
        f, g, a, b = jnp.split(answers, 4, axis=-1)
        share = jax.nn.sigmoid(a * time + b)
        return HiddenState((1 - share) * jnp.tanh(f) + share * jnp.tanh(g))


def split_time(name, xs, kernel, timed):
    """Returns the input and the time since the step before, (..., 1); the time is 1 by default."""
    if timed:
        return xs[..., :-1], xs[..., -1:]
    check_features(name, xs, kernel)
    return xs, jnp.ones((*xs.shape[:-1], 1), xs.dtype)
