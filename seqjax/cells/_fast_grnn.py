"""FastGRNN: a gate for the price of a bias."""

import jax.numpy as jnp
from jax.nn import sigmoid

from seqjax.cells._cell import HiddenState
from seqjax.cells._gated import GatedCell, gated_cell
from seqjax.cells._initializers import Initializer, normal, ones, scalar
from seqjax.cells._operations import bind

_NORMAL = bind(normal, scale=0.1)


def fast_grnn(
    hidden_size: int,
    *,
    kernel_init: Initializer = _NORMAL,
    recurrent_init: Initializer = _NORMAL,
    learned_initial_state: bool = False,
) -> GatedCell:
    """Makes the fast gated network, whose gate and candidate share one product.

        s_t = W x_t + R h_{t-1}
        z_t = sigmoid(s_t + b_z)                            gate
        n_t = tanh(s_t + b_n)                               candidate
        h_t = z_t * h_{t-1} + (sigmoid(zeta) (1 - z_t) + sigmoid(nu)) * n_t

    `zeta` and `nu` are two learned numbers for the whole cell. At `sigmoid(zeta) = 1` and
    `sigmoid(nu) = 0` the state is a weighted mean, as in a GRU. They start at 1 and -4.

    Differs from `gru`: no reset gate, `z` weights the old state, and both kernels are shared, so
    there are a third as many parameters. The low rank, sparsity and quantisation with which the
    paper makes the cell smaller still are not part of it.

    Args:
      hidden_size: hidden units, `H`.
      kernel_init: initialiser of `W`, (D, H); `0.1 N(0, 1)`, as published.
      recurrent_init: initialiser of `R`, (H, H); `0.1 N(0, 1)`, as published.
      learned_initial_state: whether `h_0` is a parameter; zeros otherwise.

    Returns:
      The cell. Its state is `HiddenState(hidden)`; its parameters are `GatedParams` without a
      `bias`, with `b_z`, `b_n`, `zeta` and `nu` among the `units`.

    Raises:
      ValueError: if `hidden_size` is below 1.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.fast_grnn(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, params.recurrent_kernel.shape, params.units["zeta"].tolist()
      ((7, 2, 4), (4, 4), [1.0])

    Reference: Kusupati et al. (2018), FastGRNN: a fast, accurate, stable and tiny kilobyte sized
    gated recurrent neural network.
    """
    return gated_cell(
        "fast_grnn",
        hidden_size,
        gates=("shared",),
        use_bias=False,
        units={
            "gate_bias": ones,
            "candidate_bias": ones,
            "zeta": bind(scalar, value=1.0),
            "nu": bind(scalar, value=-4.0),
        },
        update=_update,
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
        learned_initial_state=learned_initial_state,
    )


def _update(state, shared, gate_bias, candidate_bias, zeta, nu) -> HiddenState:
    z, n = sigmoid(shared + gate_bias), jnp.tanh(shared + candidate_bias)
    return HiddenState(z * state.hidden + (sigmoid(zeta) * (1 - z) + sigmoid(nu)) * n)
