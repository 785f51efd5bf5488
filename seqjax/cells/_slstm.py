"""The scalar LSTM of xLSTM: exponential gates, a normaliser, and heads."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqjax.cells._gated import GatedCell, gated_cell
from seqjax.cells._initializers import Initializer, glorot_uniform, zeros
from seqjax.cells._operations import bind


class SLSTMState(NamedTuple):
    """Output `h`, memory `c`, sum of the memory's weights `n` and log scale `m`, each (*B, H)."""

    hidden: Array
    cell: Array
    normaliser: Array
    stabiliser: Array


def slstm(
    hidden_size: int,
    *,
    heads: int = 1,
    block_ratio: float = 0.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = zeros,
) -> GatedCell:
    """Makes the sLSTM cell; its exponential input gate can overwrite the memory.

        l_t = log sigmoid(f~_t) + m_{t-1},    m_t = max(l_t, i~_t)
        i_t = exp(i~_t - m_t),                f_t = exp(l_t - m_t)
        c_t = f_t * c_{t-1} + i_t * tanh(z~_t)
        n_t = f_t * n_{t-1} + i_t
        h_t = sigmoid(o~_t) * c_t / n_t

    where each of `i~, f~, z~, o~` is `W x_t + R h_{t-1} + b`. `m` starts at minus infinity, so
    the first step stores its whole input.

    Differs from `lstm`: the input gate is exponential and the memory is divided by the sum of
    its weights.

    Args:
      hidden_size: hidden units, `H`.
      heads: blocks of `R`. Recurrent connections stay within a head.
      block_ratio: depth `r` of the layer in its network, from 0 (lowest) to 1 (highest). The
        initial forget bias of unit `j` of `d` in a head is `5 - 12 (j/(d-1))^(0.3 + 1.3 r)`.
      kernel_init: initialiser of each `W`, (D, H).
      recurrent_init: initialiser of each head's `R`, (H / heads, H / heads); zeros, as published.

    Raises:
      ValueError: if `heads` does not divide `hidden_size`, or `block_ratio` is not in [0, 1].

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.slstm(8, heads=2)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, params.recurrent_kernel.shape
      ((7, 2, 8), (2, 4, 16))

    Reference: Beck et al. (2024), xLSTM: extended long short-term memory.
    """
    if not 0 <= block_ratio <= 1:
        raise ValueError(f"seqjax.slstm: `block_ratio` must lie in [0, 1], got {block_ratio}.")
    return gated_cell(
        "slstm",
        hidden_size,
        gates=("input", "forget", "candidate", "output"),
        heads=heads,
        update=_update,
        state=SLSTMState,
        initial_values={"stabiliser": -float("inf")},
        bias_inits={"forget": bind(_forget_bias, heads=heads, block_ratio=block_ratio)},
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
    )


def _update(state, input, forget, candidate, output) -> SLSTMState:
    decayed = jax.nn.log_sigmoid(forget) + state.stabiliser
    stabiliser = jnp.maximum(decayed, input)
    i, f = jnp.exp(input - stabiliser), jnp.exp(decayed - stabiliser)
    cell = f * state.cell + i * jnp.tanh(candidate)
    normaliser = f * state.normaliser + i
    hidden = jax.nn.sigmoid(output) * cell / normaliser
    return SLSTMState(hidden, cell, normaliser, stabiliser)


def _forget_bias(key, shape, dtype=jnp.float32, *, heads: int, block_ratio: float) -> Array:
    size = shape[0] // heads
    place = jnp.arange(size, dtype=dtype) / max(1, size - 1)
    return jnp.tile(5 - 12 * place ** (0.3 + 1.3 * block_ratio), heads)
