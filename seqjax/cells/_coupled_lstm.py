"""The LSTM with coupled input and forget gates (CIFG)."""

from seqjax.cells._activations import Activation, activate, named_activations
from seqjax.cells._gated import GatedCell, gated_cell
from seqjax.cells._initializers import Initializer, chrono, constant, glorot_uniform, orthogonal
from seqjax.cells._lstm import LSTMState
from seqjax.cells._operations import bind


def coupled_lstm(
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
    """Makes the LSTM whose input gate is what the forget gate leaves free.

        f_t = sigmoid(W_f x_t + R_f h_{t-1} + b_f)      forget gate
        g_t = tanh(W_g x_t + R_g h_{t-1} + b_g)         candidate
        o_t = sigmoid(W_o x_t + R_o h_{t-1} + b_o)      output gate
        c_t = f_t * c_{t-1} + (1 - f_t) * g_t
        h_t = o_t * tanh(c_t)

    `c_t` is a weighted mean of candidates, so it stays in (-1, 1), whereas the memory of an LSTM
    can grow without bound.

    Differs from `lstm`: `i = 1 - f` replaces the input gate, which saves a quarter of the
    parameters. The paper also has peepholes; it finds that dropping them does no harm.

    Args:
      hidden_size: hidden units, `H`.
      max_timescale: if given, `b_f = log u` with `u ~ Uniform(1, max_timescale - 1)`;
        `forget_bias` is then ignored.

    The other arguments are those of `lstm`.

    Returns:
      The cell. Its state is `LSTMState(hidden, cell)`; its parameters are `GatedParams`.

    Raises:
      ValueError: if `hidden_size` is below 1, an activation is unknown, or `max_timescale` is not
        above 2.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.coupled_lstm(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, params.bias.tolist()[:4]
      ((7, 2, 4), [1.0, 1.0, 1.0, 1.0])

    Reference: Greff et al. (2017), LSTM: a search space odyssey.
    """
    squash = {"activation": activation, "gate_activation": gate_activation}
    keeps = bind(constant, value=forget_bias)
    return gated_cell(
        "coupled_lstm",
        hidden_size,
        gates=("forget", "candidate", "output"),
        update=bind(_update, **named_activations("seqjax.coupled_lstm", **squash)),
        state=LSTMState,
        bias_inits={"forget": keeps if max_timescale is None else chrono(max_timescale)},
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
        learned_initial_state=learned_initial_state,
    )


def _update(
    state, forget, candidate, output, *, activation, gate_activation, candidate_factor=1.0
) -> LSTMState:
    f, o = activate(gate_activation, forget), activate(gate_activation, output)
    cell = f * state.cell + (1 - f) * candidate_factor * activate(activation, candidate)
    return LSTMState(hidden=o * activate(activation, cell), cell=cell)
