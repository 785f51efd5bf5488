"""The LSTM of ParaRNN, whose units see only themselves, made for Newton's method."""

import jax.numpy as jnp
from jax.nn import sigmoid

from seqjax.cells._gated import GatedCell, gated_cell
from seqjax.cells._initializers import Initializer, glorot_uniform
from seqjax.cells._lstm import LSTMState
from seqjax.cells._para_gru import falling, small_normal


def para_lstm(
    hidden_size: int,
    *,
    kernel_init: Initializer = glorot_uniform,
    learned_initial_state: bool = False,
) -> GatedCell:
    """Makes the coupled-gate LSTM with vectors in place of recurrent kernels.

        f_t = sigmoid(W_f x_t + a_f * h_{t-1} + p_f * c_{t-1} + b_f)      forget gate
        g_t = tanh(W_g x_t + a_g * h_{t-1} + b_g)                         candidate
        c_t = f_t * c_{t-1} + (1 - f_t) * g_t
        o_t = sigmoid(W_o x_t + a_o * h_{t-1} + p_o * c_t + b_o)          output gate
        h_t = o_t * tanh(c_t)

    The Jacobian of a step has one 2 x 2 block for each unit. An iteration of Newton's method on a
    whole sequence is then nearly as cheap as a step of a linear cell, and parallel in time.

    Differs from `coupled_lstm`: each unit sees only its own state and memory, through the vectors
    `a` and the peepholes `p`. Only the next layer mixes units, so stack two or more. The paper's
    layer also makes `W` block-diagonal; here it is dense.

    Args:
      hidden_size: hidden units, `H`.
      kernel_init: initialiser of each `W`, (D, H).
      learned_initial_state: whether the initial state is a parameter; zeros otherwise.

    Returns:
      The cell. Its state is `LSTMState(hidden, cell)`; its parameters are `GatedParams`, with `a`
      and `p` among the `units`. They start as published: `a, p ~ N(0, 4 / (5 H))`, `b_f` evenly
      from 0 to -1.

    Raises:
      ValueError: if `hidden_size` is below 1.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.para_lstm(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, len(params.units)
      ((7, 2, 4), 5)

    Reference: Danieli et al. (2026), ParaRNN: unlocking parallel training of nonlinear RNNs for
    large language models.
    """
    gates = ("forget", "candidate", "output")
    units = *(f"{gate}_weight" for gate in gates), "forget_peephole", "output_peephole"
    return gated_cell(
        "para_lstm",
        hidden_size,
        gates=gates,
        heads=0,
        units=dict.fromkeys(units, small_normal),
        update=_update,
        state=LSTMState,
        bias_inits={"forget": falling},
        kernel_init=kernel_init,
        learned_initial_state=learned_initial_state,
    )


def _update(state, forget, candidate, output, *, candidate_factor=1.0, **units) -> LSTMState:
    h, c = state
    f = sigmoid(forget + units["forget_weight"] * h + units["forget_peephole"] * c)
    g = candidate_factor * jnp.tanh(candidate + units["candidate_weight"] * h)
    c = f * c + (1 - f) * g
    o = sigmoid(output + units["output_weight"] * h + units["output_peephole"] * c)
    return LSTMState(o * jnp.tanh(c), c)
