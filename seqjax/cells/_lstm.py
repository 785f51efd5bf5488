"""Long short-term memory."""

from typing import NamedTuple

from jax import Array

from seqjax.cells._activations import Activation, activate, named_activations
from seqjax.cells._gated import GatedCell, gated_cell
from seqjax.cells._initializers import Initializer, chrono, constant, glorot_uniform, orthogonal
from seqjax.cells._operations import bind


class LSTMState(NamedTuple):
    """The state of an LSTM, each field of shape (*B, H).

    Attributes:
      hidden: `h`, the output.
      cell: `c`, the memory.
    """

    hidden: Array
    cell: Array


def lstm(
    hidden_size: int,
    *,
    forget_bias: float = 1.0,
    max_timescale: float | None = None,
    activation: Activation = "tanh",
    gate_activation: Activation = "sigmoid",
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
    learned_initial_state: bool = False,
) -> GatedCell:
    """Makes the long short-term memory cell, with a forget gate but no peepholes.

        i_t = sigmoid(W_i x_t + R_i h_{t-1} + b_i)      input gate
        f_t = sigmoid(W_f x_t + R_f h_{t-1} + b_f)      forget gate
        g_t = tanh(W_g x_t + R_g h_{t-1} + b_g)         candidate
        o_t = sigmoid(W_o x_t + R_o h_{t-1} + b_o)      output gate
        c_t = f_t * c_{t-1} + i_t * g_t
        h_t = o_t * tanh(c_t)

    Differs from the LSTM of PyTorch, which adds a second, redundant bias.

    Args:
      hidden_size: hidden units, `H`.
      forget_bias: initial value of `b_f`; 1 lets gradients pass from the start of training.
      max_timescale: if given, chrono initialisation: `b_f = log u` and `b_i = -b_f` with
        `u ~ Uniform(1, max_timescale - 1)`; `forget_bias` is then ignored.
      activation: activation of the candidate and of the memory in the output: a name such as
        "tanh", or a pointwise function.
      gate_activation: activation of the three gates.
      kernel_init: initialiser of each `W`, (D, H).
      recurrent_init: initialiser of each `R`, (H, H).
      learned_initial_state: whether `h_0` and `c_0` are parameters; zeros otherwise.

    Returns:
      The cell. Its state is `LSTMState(hidden, cell)`; its parameters are `GatedParams`.

    Raises:
      ValueError: if `hidden_size` is below 1, an activation is unknown, or `max_timescale` is not
        above 2.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.lstm(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, state.cell.shape
      ((7, 2, 4), (2, 4))

    Reference: Hochreiter and Schmidhuber (1997), Long short-term memory; Gers, Schmidhuber and
    Cummins (2000), Learning to forget; Tallec and Ollivier (2018), Can recurrent neural networks
    warp time? (chrono initialisation).
    """
    squash = {"activation": activation, "gate_activation": gate_activation}
    return gated_cell(
        "lstm",
        hidden_size,
        gates=("input", "forget", "candidate", "output"),
        update=bind(_update, **named_activations("seqjax.lstm", **squash)),
        state=LSTMState,
        bias_inits=lstm_bias_inits(forget_bias, max_timescale),
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
        learned_initial_state=learned_initial_state,
    )


def lstm_bias_inits(forget_bias: float, max_timescale: float | None) -> dict[str, Initializer]:
    """Returns the initialisers of the gate biases of an LSTM: a constant or chrono."""
    if max_timescale is None:
        return {"forget": bind(constant, value=forget_bias)}
    return {"input": chrono(max_timescale, sign=-1.0), "forget": chrono(max_timescale)}


def _update(
    state, input, forget, candidate, output, *, activation, gate_activation, candidate_factor=1.0
) -> LSTMState:
    i, f, o = (activate(gate_activation, z) for z in (input, forget, output))
    cell = f * state.cell + i * (candidate_factor * activate(activation, candidate))
    return LSTMState(hidden=o * activate(activation, cell), cell=cell)
