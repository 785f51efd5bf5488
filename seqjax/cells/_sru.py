"""The simple recurrent unit: a gated memory without a recurrent product, and a highway."""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import sigmoid

from seqjax.cells._gated import GatedCell, gated_cell
from seqjax.cells._initializers import constant, uniform, zeros
from seqjax.cells._operations import affine, bind


class SRUState(NamedTuple):
    """Memory `c` and reset gate `r`, each (*B, H)."""

    cell: Array
    reset: Array


def sru(hidden_size: int, *, highway_bias: float = 0.0) -> GatedCell:
    """Makes the simple recurrent unit.

        f_t = sigmoid(W_f x_t + v_f * c_{t-1} + b_f)      forget gate
        r_t = sigmoid(W_r x_t + v_r * c_{t-1} + b_r)      reset gate
        c_t = f_t * c_{t-1} + (1 - f_t) * W x_t
        h_t = r_t * c_t + (1 - r_t) * s x_t               the output

    with `s = sqrt(1 + 2 exp(highway_bias))`, which keeps the size of the signal from layer to
    layer. If in_size differs from hidden_size, a learned linear map of the input replaces `s x`.

    Differs from `min_gru`: the gates see the memory through the vectors `v`, so the cell is not
    linear in its state. With `v = 0` it is the first version of the paper. The output is computed
    for all steps at once, afterwards.

    Args:
      hidden_size: hidden units, `H`.
      highway_bias: initial `b_r`; below 0, more of the input passes.

    Returns:
      The cell. Its state is `SRUState(cell, reset)`; its parameters are `GatedParams` without a
      `bias`, with `v` and `b` among the `units`, and the map as `extra["skip_kernel"]`. They start
      as published: `W ~ Uniform(-a, a)`, `a^2 = 3 / D`, `v ~ Uniform(-sqrt(1.5), sqrt(1.5))`, and
      the kernels of the two gates smaller by `sqrt(0.5)`.

    Raises:
      ValueError: if `hidden_size` is below 1.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.sru(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, params.recurrent_kernel is None, params.extra["skip_kernel"].shape
      ((7, 2, 4), True, (3, 4))

    Reference: Lei et al. (2018), Simple recurrent units for highly parallelizable recurrence.
    """
    weight = bind(uniform, low=-(1.5**0.5), high=1.5**0.5)
    cell = gated_cell(
        "sru",
        hidden_size,
        gates=("candidate", "forget", "reset"),
        heads=0,
        use_bias=False,
        units={
            "forget_weight": weight,
            "reset_weight": weight,
            "forget_bias": zeros,
            "reset_bias": bind(constant, value=highway_bias),
        },
        update=_update,
        state=SRUState,
        kernel_init=_lecun_uniform,
    )
    return _SRU(**vars(cell), scale=(1 + 2 * math.exp(highway_bias)) ** 0.5)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class _SRU(GatedCell):
    scale: float

    def init(self, key, in_size, dtype=jnp.float32):
        params, size = super().init(key, in_size, dtype), self.hidden_size
        factors = jnp.repeat(jnp.array([1, 0.5**0.5, 0.5**0.5], dtype), size)
        params = params._replace(input_kernel=params.input_kernel * factors[None])
        if in_size == size:
            return params
        skip = _lecun_uniform(jax.random.fold_in(key, 1), (in_size, size), dtype)
        return params._replace(extra={"skip_kernel": self.scale * skip})

    def output(self, params, states, xs):
        passed = affine(xs, params.extra["skip_kernel"]) if params.extra else self.scale * xs
        return states.reset * states.cell + (1 - states.reset) * passed


def _update(state, candidate, forget, reset, *, candidate_factor=1.0, **units) -> SRUState:
    c = state.cell
    f = sigmoid(forget + units["forget_weight"] * c + units["forget_bias"])
    r = sigmoid(reset + units["reset_weight"] * c + units["reset_bias"])
    return SRUState(f * c + (1 - f) * candidate_factor * candidate, r)


def _lecun_uniform(key, shape, dtype=jnp.float32) -> Array:
    bound = (3 / shape[0]) ** 0.5
    return uniform(key, shape, dtype, low=-bound, high=bound)
