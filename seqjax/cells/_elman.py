"""The vanilla recurrent network."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from seqjax.cells._base import (
    GatedCell,
    HiddenState,
    Initializer,
    gated_cell,
    glorot_uniform,
    orthogonal,
    zeros,
)

_ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}


def elman(
    hidden_size: int,
    *,
    activation: str | Callable[[Array], Array] = "tanh",
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
    bias_init: Initializer = zeros,
    learned_initial_state: bool = False,
) -> GatedCell:
    """Makes the vanilla (Elman) cell.

        a_t = g1(W_ax x_t + W_aa a_{t-1} + b_a)

    The read-out `y_t = g2(W_ya a_t + b_y)` is a linear layer after the cell, not part of it.

    Differs from a Jordan network, which feeds the read-out back instead of the hidden state.

    Args:
      hidden_size: hidden units, `H`.
      activation: `g1`: "tanh", "relu", "sigmoid", or any pointwise function.
      kernel_init: initialiser of `W_ax`, (D, H).
      recurrent_init: initialiser of `W_aa`, (H, H).
      bias_init: initialiser of `b_a`, (H,).
      learned_initial_state: whether `a_0` is a parameter; zeros otherwise.

    Returns:
      The cell; its state is `HiddenState(hidden)`, its parameters `GatedParams`.

    Raises:
      ValueError: if `activation` is an unknown name, or `hidden_size` is below 1.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.elman(4, activation="relu")
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, state.hidden.shape
      ((7, 2, 4), (2, 4))

    Reference: Elman (1990), Finding structure in time.
    """
    if isinstance(activation, str) and activation not in _ACTIVATIONS:
        raise ValueError(
            f"seqjax.elman: `activation` must be one of {sorted(_ACTIVATIONS)} or a function, "
            f"got {activation!r}."
        )
    g1 = _ACTIVATIONS[activation] if isinstance(activation, str) else activation

    def update(state: HiddenState, hidden: Array) -> HiddenState:
        return HiddenState(hidden=g1(hidden))

    return gated_cell(
        "elman",
        hidden_size,
        gates=("hidden",),
        update=update,
        bias_inits={"hidden": bias_init},
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
        learned_initial_state=learned_initial_state,
    )
