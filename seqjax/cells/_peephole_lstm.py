"""The LSTM with peepholes: its gates read the memory."""

from jax import Array

from seqjax.cells._activations import Activation, activate, named_activations
from seqjax.cells._gated import GatedCell, gated_cell
from seqjax.cells._initializers import Initializer, glorot_uniform, orthogonal, zeros
from seqjax.cells._lstm import LSTMState, lstm_bias_inits
from seqjax.cells._operations import bind


def peephole_lstm(
    hidden_size: int,
    *,
    forget_bias: float = 1.0,
    max_timescale: float | None = None,
    activation: Activation = "tanh",
    gate_activation: Activation = "sigmoid",
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
    peephole_init: Initializer = zeros,
    learned_initial_state: bool = False,
) -> GatedCell:
    """Makes the long short-term memory cell with peepholes.

        i_t = sigmoid(W_i x_t + R_i h_{t-1} + p_i * c_{t-1} + b_i)      input gate
        f_t = sigmoid(W_f x_t + R_f h_{t-1} + p_f * c_{t-1} + b_f)      forget gate
        g_t = tanh(W_g x_t + R_g h_{t-1} + b_g)                         candidate
        c_t = f_t * c_{t-1} + i_t * g_t
        o_t = sigmoid(W_o x_t + R_o h_{t-1} + p_o * c_t + b_o)          output gate
        h_t = o_t * tanh(c_t)

    Differs from `lstm` in the peepholes `p`, one weight per unit and gate. The output gate reads
    the memory after this step; the input and forget gates read the memory before it.

    Args:
      hidden_size: hidden units, `H`.
      peephole_init: initialiser of each `p`, (H,).

    The other arguments are those of `lstm`.

    Returns:
      The cell. Its state is `LSTMState(hidden, cell)`; its parameters are `GatedParams`, with the
      `units` `input_peephole`, `forget_peephole` and `output_peephole`.

    Raises:
      ValueError: if `hidden_size` is below 1, an activation is unknown, or `max_timescale` is not
        above 2.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.peephole_lstm(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, sorted(params.units)
      ((7, 2, 4), ['forget_peephole', 'input_peephole', 'output_peephole'])

    Reference: Gers, Schraudolph and Schmidhuber (2002), Learning precise timing with LSTM
    recurrent networks.
    """
    squash = {"activation": activation, "gate_activation": gate_activation}
    peepholes = ("input_peephole", "forget_peephole", "output_peephole")
    return gated_cell(
        "peephole_lstm",
        hidden_size,
        gates=("input", "forget", "candidate", "output"),
        units=dict.fromkeys(peepholes, peephole_init),
        update=bind(_update, **named_activations("seqjax.peephole_lstm", **squash)),
        state=LSTMState,
        bias_inits=lstm_bias_inits(forget_bias, max_timescale),
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
        learned_initial_state=learned_initial_state,
    )


def _update(state, *, activation, gate_activation, candidate_factor=1.0, **seen) -> LSTMState:
    def gate(name: str, memory: Array) -> Array:
        return activate(gate_activation, seen[name] + seen[f"{name}_peephole"] * memory)

    i, f = gate("input", state.cell), gate("forget", state.cell)
    cell = f * state.cell + i * (candidate_factor * activate(activation, seen["candidate"]))
    return LSTMState(hidden=gate("output", cell) * activate(activation, cell), cell=cell)
