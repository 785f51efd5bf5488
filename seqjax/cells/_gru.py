"""The gated recurrent unit, in both places of its reset gate."""

from collections.abc import Callable
from typing import Any

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
from seqjax.cells._initializers import chrono


def gru(
    hidden_size: int,
    *,
    reset_after: bool = True,
    max_timescale: float | None = None,
    activation: Callable[[Array], Array] = jnp.tanh,
    gate_activation: Callable[[Array], Array] = jax.nn.sigmoid,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
    learned_initial_state: bool = False,
) -> GatedCell:
    """Makes the gated recurrent unit.

        z_t = sigmoid(W_z x_t + R_z h_{t-1} + b_z)                      update gate
        r_t = sigmoid(W_r x_t + R_r h_{t-1} + b_r)                      reset gate
        n_t = tanh(W_n x_t + b_n + r_t * (R_n h_{t-1} + b_h))           reset after the product
        n_t = tanh(W_n x_t + b_n + R_n (r_t * h_{t-1}))                 reset before the product
        h_t = (1 - z_t) * h_{t-1} + z_t * n_t

    Differs from Keras, PyTorch and Flax, where `z` weighs the old state and not the new one: the
    sign of the update gate's weights is the other way round there.

    Args:
      hidden_size: hidden units, `H`.
      reset_after: where the reset gate acts: after the product, as in cuDNN, or before it, as in
        the paper, where a step is two products in a row and slower.
      max_timescale: where given, chrono initialisation, `b_z = -log u` with
        `u ~ Uniform(1, max_timescale - 1)`; zeros otherwise.
      activation: pointwise function of the candidate.
      gate_activation: pointwise function of the two gates.
      kernel_init: initialiser of each `W`, (D, H).
      recurrent_init: initialiser of each `R`, (H, H).
      learned_initial_state: whether `h_0` is a parameter; zeros otherwise.

    Returns:
      The cell; its state is `HiddenState(hidden)`, its parameters `GatedParams`, whose
      `recurrent_bias` is `b_h` (None with the reset before the product).

    Raises:
      ValueError: if `hidden_size` is below 1 or `max_timescale` is not above 2.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.gru(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, state.hidden.shape
      ((7, 2, 4), (2, 4))

    Reference: Cho et al. (2014), Learning phrase representations using RNN encoder-decoder for
    statistical machine translation (reset before; its `z` weighs the old state).
    """
    bias_inits = {
        "update": zeros if max_timescale is None else chrono(max_timescale, sign=-1.0),
    }

    def update(
        state: HiddenState, update: Array, reset: Array, candidate: tuple[Array, Array]
    ) -> HiddenState:
        drive, recurrent = candidate
        z, r = gate_activation(update), gate_activation(reset)
        n = activation(drive + r * recurrent)
        return HiddenState(hidden=(1 - z) * state.hidden + z * n)

    def update_before(
        state: HiddenState, update: Array, reset: Array, candidate: Array
    ) -> HiddenState:
        z, n = gate_activation(update), activation(candidate)
        return HiddenState(hidden=(1 - z) * state.hidden + z * n)

    def middle(state: HiddenState, update: Array, reset: Array) -> Array:
        return gate_activation(reset) * state.hidden

    candidate: Any = {"separate": ("candidate",), "update": update}
    if not reset_after:
        candidate = {"second": ("candidate",), "middle": middle, "update": update_before}
    return gated_cell(
        "gru" if reset_after else "gru_reset_before",
        hidden_size,
        gates=("update", "reset", "candidate"),
        bias_inits=bias_inits,
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
        learned_initial_state=learned_initial_state,
        **candidate,
    )
