"""The gated recurrent unit, in both places of its reset gate."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from seqjax.cells.base import (
    Cell,
    GatedParams,
    HiddenState,
    Initializer,
    affine,
    gated_cell,
    glorot_uniform,
    orthogonal,
    zeros,
)
from seqjax.cells.initializers import chrono


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
) -> Cell:
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
      reset_after: where the reset gate acts. After the product the cell is a `GatedCell`, as in
        cuDNN; before it, as in the paper, the step is two products in a row and a plain `Cell`.
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

    reset_after_cell = gated_cell(
        "gru",
        hidden_size,
        gates=("update", "reset", "candidate"),
        separate=("candidate",),
        update=update,
        bias_inits=bias_inits,
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
        learned_initial_state=learned_initial_state,
    )
    if reset_after:
        return reset_after_cell

    def init(key: Array, in_size: int, dtype=jnp.float32) -> GatedParams:
        return reset_after_cell.init(key, in_size, dtype)._replace(recurrent_bias=None)

    def step(params: GatedParams, previous: HiddenState, drive: Array) -> HiddenState:
        h = previous.hidden
        gates, candidate = 2 * hidden_size, params.recurrent_kernel[:, 2 * hidden_size :]
        recurrent = affine(h, params.recurrent_kernel[:, :gates])
        z, r = jnp.split(gate_activation(drive[..., :gates] + recurrent), 2, axis=-1)
        n = activation(drive[..., gates:] + affine(r * h, candidate))
        return HiddenState(hidden=(1 - z) * h + z * n)

    return Cell(
        name="gru_reset_before",
        hidden_size=hidden_size,
        init=init,
        initial_state=reset_after_cell.initial_state,
        project=reset_after_cell.project,
        step=step,
        output=reset_after_cell.output,
    )
