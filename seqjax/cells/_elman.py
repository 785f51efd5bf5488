"""The vanilla recurrent network."""

from jax import Array

from seqjax.cells._activations import Activation, activate, named_activations
from seqjax.cells._cell import HiddenState
from seqjax.cells._gated import GatedCell, gated_cell
from seqjax.cells._initializers import Initializer, glorot_uniform, orthogonal, zeros
from seqjax.cells._operations import bind


def elman(
    hidden_size: int,
    *,
    activation: Activation = "tanh",
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
    bias_init: Initializer = zeros,
    learned_initial_state: bool = False,
) -> GatedCell:
    """Makes the vanilla (Elman) cell.

        a_t = g1(W_ax x_t + W_aa a_{t-1} + b_a)

    The read-out `y_t = g2(W_ya a_t + b_y)` is a separate layer after the cell.

    Differs from a Jordan network, which feeds the read-out back instead of the hidden state.

    Args:
      hidden_size: hidden units, `H`.
      activation: `g1`, a name such as "tanh" or "relu", or a pointwise function.
      kernel_init: initialiser of `W_ax`, (D, H).
      recurrent_init: initialiser of `W_aa`, (H, H).
      bias_init: initialiser of `b_a`, (H,).
      learned_initial_state: whether `a_0` is a parameter; zeros otherwise.

    Returns:
      The cell. Its state is `HiddenState(hidden)`; its parameters are `GatedParams`.

    Raises:
      ValueError: if `activation` is an unknown name or `hidden_size` is below 1.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.elman(4, activation="relu")
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, state.hidden.shape
      ((7, 2, 4), (2, 4))

    Reference: Elman (1990), Finding structure in time.
    """
    squash = named_activations("seqjax.elman", activation=activation)
    return gated_cell(
        "elman",
        hidden_size,
        gates=("hidden",),
        update=bind(_update, **squash),
        bias_inits={"hidden": bias_init},
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
        learned_initial_state=learned_initial_state,
    )


def _update(state: HiddenState, hidden: Array, *, activation: Activation) -> HiddenState:
    return HiddenState(hidden=activate(activation, hidden))
