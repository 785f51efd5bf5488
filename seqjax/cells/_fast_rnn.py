"""FastRNN: a weighted residual connection makes an Elman network stable."""

from jax.nn import sigmoid

from seqjax.cells._activations import Activation, activate, named_activations
from seqjax.cells._cell import HiddenState
from seqjax.cells._gated import GatedCell, gated_cell
from seqjax.cells._initializers import Initializer, normal, ones, scalar
from seqjax.cells._operations import bind

_NORMAL = bind(normal, scale=0.1)


def fast_rnn(
    hidden_size: int,
    *,
    activation: Activation = "tanh",
    kernel_init: Initializer = _NORMAL,
    recurrent_init: Initializer = _NORMAL,
    learned_initial_state: bool = False,
) -> GatedCell:
    """Makes the Elman network with a weighted residual connection.

        h_t = sigmoid(beta) * h_{t-1} + sigmoid(alpha) * g(W x_t + R h_{t-1} + b)

    `alpha` and `beta` are two learned numbers for the whole cell. They start at -3 and 3, so a step
    keeps 95 % of the state and gradients pass many steps. They stay in float32 under a narrower
    `dtype`.

    Differs from `leaky_rnn`: the two weights are learned separately and need not sum to 1. Differs
    from `fast_grnn`: the weights do not depend on the input.

    Args:
      hidden_size: hidden units, `H`.
      activation: `g`, a name such as "tanh" or "relu", or a pointwise function.
      kernel_init: initialiser of `W`, (D, H); `0.1 N(0, 1)`, as published.
      recurrent_init: initialiser of `R`, (H, H); `0.1 N(0, 1)`, as published.
      learned_initial_state: whether `h_0` is a parameter; zeros otherwise.

    Returns:
      The cell. Its state is `HiddenState(hidden)`; its parameters are `GatedParams`, with `alpha`
      and `beta` among the `units`. `b` starts at 1, as published.

    Raises:
      ValueError: if `hidden_size` is below 1, or `activation` is unknown.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.fast_rnn(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, params.units["alpha"].tolist(), params.units["beta"].tolist()
      ((7, 2, 4), [-3.0], [3.0])

    Reference: Kusupati et al. (2018), FastGRNN: a fast, accurate, stable and tiny kilobyte sized
    gated recurrent neural network.
    """
    squash = named_activations("seqjax.fast_rnn", activation=activation)
    return gated_cell(
        "fast_rnn",
        hidden_size,
        gates=("hidden",),
        units={"alpha": bind(scalar, value=-3.0), "beta": bind(scalar, value=3.0)},
        update=bind(_update, **squash),
        bias_inits={"hidden": ones},
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
        learned_initial_state=learned_initial_state,
    )


def _update(state, hidden, alpha, beta, *, activation) -> HiddenState:
    new = activate(activation, hidden)
    return HiddenState(sigmoid(beta) * state.hidden + sigmoid(alpha) * new)
