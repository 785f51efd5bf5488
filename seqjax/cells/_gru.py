"""The gated recurrent unit, with the reset gate after or before the recurrent product."""

from typing import Any

from jax import Array

from seqjax.cells._activations import Activation, activate, named_activations
from seqjax.cells._cell import HiddenState
from seqjax.cells._gated import GatedCell, gated_cell
from seqjax.cells._initializers import Initializer, chrono, glorot_uniform, orthogonal, zeros
from seqjax.cells._operations import bind


def gru(
    hidden_size: int,
    *,
    reset_after: bool = True,
    max_timescale: float | None = None,
    activation: Activation = "tanh",
    gate_activation: Activation = "sigmoid",
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

    Differs from Keras, PyTorch and Flax: there, `z` weights the old state, so the weights of the
    update gate have the opposite sign.

    Args:
      hidden_size: hidden units, `H`.
      reset_after: whether the reset gate acts after the product, as in cuDNN, or before it, as in
        the paper. Reset before needs two products in a row, which is slower.
      max_timescale: if given, chrono initialisation, `b_z = -log u` with
        `u ~ Uniform(1, max_timescale - 1)`; otherwise zeros.
      activation: activation of the candidate: a name such as "tanh", or a pointwise function.
      gate_activation: activation of the two gates.
      kernel_init: initialiser of each `W`, (D, H).
      recurrent_init: initialiser of each `R`, (H, H).
      learned_initial_state: whether `h_0` is a parameter; zeros otherwise.

    Returns:
      The cell. Its state is `HiddenState(hidden)`; its parameters are `GatedParams`. The field
      `recurrent_bias` is `b_h`, or None if the reset acts before the product.

    Raises:
      ValueError: if `hidden_size` is below 1, an activation is unknown, or `max_timescale` is not
        above 2.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.gru(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, state.hidden.shape
      ((7, 2, 4), (2, 4))

    Reference: Cho et al. (2014), Learning phrase representations using RNN encoder-decoder for
    statistical machine translation (reset before the product; `z` weights the old state).
    """
    gate = named_activations("seqjax.gru", gate_activation=gate_activation)
    both = gate | named_activations("seqjax.gru", activation=activation)
    candidate: dict[str, Any] = {"unsummed": ("candidate",), "update": bind(_update_after, **both)}
    if not reset_after:
        candidate = {
            "inner_gates": ("candidate",),
            "inner_state": bind(_reset_state, **gate),
            "update": bind(_update_before, **both),
        }
    return gated_cell(
        "gru" if reset_after else "gru_reset_before",
        hidden_size,
        gates=("update", "reset", "candidate"),
        bias_inits={"update": zeros if max_timescale is None else chrono(max_timescale, sign=-1.0)},
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
        learned_initial_state=learned_initial_state,
        **candidate,
    )


def _update_after(
    state, update, reset, candidate, *, gate_activation, activation, candidate_factor=1.0
) -> HiddenState:
    drive, recurrent = candidate
    z, r = activate(gate_activation, update), activate(gate_activation, reset)
    n = candidate_factor * activate(activation, drive + r * recurrent)
    return HiddenState(hidden=(1 - z) * state.hidden + z * n)


def _update_before(
    state, update, reset, candidate, *, gate_activation, activation, candidate_factor=1.0
) -> HiddenState:
    z, n = activate(gate_activation, update), candidate_factor * activate(activation, candidate)
    return HiddenState(hidden=(1 - z) * state.hidden + z * n)


def _reset_state(state, update, reset, *, gate_activation) -> Array:
    return activate(gate_activation, reset) * state.hidden
