"""The LSTM with layer normalisation."""

import jax.numpy as jnp
from jax.nn import sigmoid

from seqjax.cells._gated import GatedCell, gated_cell
from seqjax.cells._initializers import (
    Initializer,
    by_gate,
    constant,
    glorot_uniform,
    orthogonal,
    zeros,
)
from seqjax.cells._lstm import LSTMState
from seqjax.cells._operations import bind, normalised


def layer_norm_lstm(
    hidden_size: int,
    *,
    forget_bias: float = 1.0,
    epsilon: float = 1e-5,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
    learned_initial_state: bool = False,
) -> GatedCell:
    """Makes the LSTM that normalises its products and, for the output, its memory.

        N(v) = (v - mean(v)) / sqrt(variance(v) + epsilon)      over all numbers of v
        (i, f, g, o) = p * N(W x_t) + q * N(R h_{t-1}) + b      N over the 4 H numbers together
        c_t = sigmoid(f) * c_{t-1} + sigmoid(i) * tanh(g)
        h_t = sigmoid(o) * tanh(r * N(c_t) + s)

    The gains `p`, `q`, `r` start at 1. The scale of `W`, of `R` and of the input does not matter.
    The state is the memory before its normalisation.

    Differs from `lstm` in `N`. This is the form of the paper; its shifts after `N(W x)` and
    `N(R h)` only repeat `b` and are left out. TensorFlow 1 normalises each gate by itself;
    TensorFlow Addons stores the normalised memory as the state.

    Args:
      hidden_size: hidden units, `H`.
      epsilon: added to the variance.

    The other arguments are those of `lstm`.

    Returns:
      The cell. Its state is `LSTMState(hidden, cell)`; its parameters are `GatedParams` without a
      `bias`, with `p`, `q`, `b`, each (4 * H,), and `r`, `s`, each (H,), among the `units`.

    Raises:
      ValueError: if `hidden_size` is below 1, or `epsilon` is not above 0.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.layer_norm_lstm(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> again, _ = seqjax.unroll(cell, params, 100 * jnp.ones((7, 2, 3)))
      >>> bool(jnp.allclose(ys, again, atol=1e-4))
      True

    Reference: Ba, Kiros and Hinton (2016), Layer normalization.
    """
    if not epsilon > 0:
        raise ValueError(f"seqjax.layer_norm_lstm: `epsilon` must be above 0, got {epsilon}.")
    gates, ones = ("input", "forget", "candidate", "output"), bind(by_gate, values=(1.0,) * 4)
    return gated_cell(
        "layer_norm_lstm",
        hidden_size,
        gates=gates,
        unsummed=gates,
        rowwise=True,
        use_bias=False,
        units={
            "input_gain": ones,
            "recurrent_gain": ones,
            "gate_bias": bind(by_gate, values=(0.0, forget_bias, 0.0, 0.0)),
            "memory_gain": bind(constant, value=1.0),
            "memory_shift": zeros,
        },
        update=bind(_update, normal=bind(normalised, epsilon=epsilon)),
        state=LSTMState,
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
        learned_initial_state=learned_initial_state,
    )


def _update(state, input, forget, candidate, output, *, normal, candidate_factor=1.0, **units):
    pairs = zip(input, forget, candidate, output, strict=True)
    drive, recurrent = (normal(jnp.concatenate(parts, axis=-1)) for parts in pairs)
    gates = units["input_gain"] * drive + units["recurrent_gain"] * recurrent + units["gate_bias"]
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    cell = sigmoid(f) * state.cell + sigmoid(i) * candidate_factor * jnp.tanh(g)
    shown = units["memory_gain"] * normal(cell) + units["memory_shift"]
    return LSTMState(sigmoid(o) * jnp.tanh(shown), cell)
