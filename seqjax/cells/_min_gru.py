"""The minimal gated recurrent unit (minGRU), linear in its state."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqjax.cells._cell import HiddenState
from seqjax.cells._initializers import Initializer, chrono, glorot_uniform, zeros
from seqjax.cells._linear import LinearCell, learned_zeros, linear_cell
from seqjax.cells._operations import affine, bind, check_features, check_in_size


class MinGRUParams(NamedTuple):
    """Parameters of a minGRU; the update gate's columns come first, then the candidate's.

    Attributes:
      input_kernel: shape (D, 2 * H).
      bias: shape (2 * H,).
      initial_state: learned initial state, or None for zeros.
    """

    input_kernel: Array
    bias: Array
    initial_state: HiddenState | None


def min_gru(
    hidden_size: int,
    *,
    max_timescale: float | None = None,
    kernel_init: Initializer = glorot_uniform,
    learned_initial_state: bool = False,
) -> LinearCell:
    """Makes the minimal gated recurrent unit; its gate depends on the input alone.

        z_t = sigmoid(W_z x_t + b_z)
        h_t = (1 - z_t) * h_{t-1} + z_t * (W_n x_t + b_n)

    Differs from `gru`: there is no recurrent kernel, so the cell is linear in its state and can run
    in parallel in time. One layer cannot track a state that depends on its own past; a stack can
    approximate one.

    Args:
      hidden_size: hidden units, `H`.
      max_timescale: if given, chrono initialisation of `b_z`, as in `gru`; otherwise zeros.
      kernel_init: initialiser of `W_z` and of `W_n`, (D, H).
      learned_initial_state: whether `h_0` is a parameter; zeros otherwise.

    Returns:
      The cell. Its state is `HiddenState(hidden)`; its parameters are `MinGRUParams`.

    Raises:
      ValueError: if `hidden_size` is below 1 or `max_timescale` is not above 2.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.min_gru(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape
      (7, 2, 4)

    Reference: Feng et al. (2024), Were RNNs all we needed?
    """
    gate_bias = zeros if max_timescale is None else chrono(max_timescale, sign=-1.0)
    return linear_cell(
        "min_gru",
        hidden_size,
        init=bind(
            _init,
            hidden_size=hidden_size,
            gate_bias=gate_bias,
            kernel_init=kernel_init,
            learned=learned_initial_state,
        ),
        coefficients=_coefficients,
        full_precision=("bias",),
        split=("input_kernel",),
    )


def _init(
    key, in_size, dtype=jnp.float32, *, hidden_size, gate_bias, kernel_init, learned
) -> MinGRUParams:
    check_in_size("min_gru", in_size)
    gate_key, candidate_key, bias_key = jax.random.split(key, 3)
    kernels = [kernel_init(k, (in_size, hidden_size), dtype) for k in (gate_key, candidate_key)]
    biases = [gate_bias(bias_key, (hidden_size,), dtype), jnp.zeros(hidden_size, dtype)]
    return MinGRUParams(
        input_kernel=jnp.concatenate(kernels, axis=-1),
        bias=jnp.concatenate(biases),
        initial_state=learned_zeros((hidden_size,), dtype) if learned else None,
    )


def _coefficients(params: MinGRUParams, xs: Array) -> tuple[Array, Array]:
    check_features("min_gru", xs, params.input_kernel)
    gate, candidate = jnp.split(affine(xs, params.input_kernel, params.bias), 2, axis=-1)
    z = jax.nn.sigmoid(gate)
    return 1 - z, z * candidate
