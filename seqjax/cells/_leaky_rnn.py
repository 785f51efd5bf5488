"""The leaky recurrent network, also called continuous-time (CT-RNN)."""

import math

import jax

from seqjax.cells._activations import Activation, activate, named_activations
from seqjax.cells._cell import HiddenState
from seqjax.cells._gated import GatedCell, gated_cell
from seqjax.cells._initializers import Initializer, constant, glorot_uniform, orthogonal
from seqjax.cells._operations import bind


def leaky_rnn(
    hidden_size: int,
    *,
    time_constant: float = 5.0,
    learned: bool = False,
    activation: Activation = "tanh",
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
    learned_initial_state: bool = False,
) -> GatedCell:
    """Makes the leaky network, one Euler step of `tau h' = -h + g(W x + R h + b)`.

        h_t = (1 - 1 / tau) * h_{t-1} + (1 / tau) * g(W x_t + R h_{t-1} + b)

    Time is in steps. A unit without input keeps `1 - 1 / tau` of its state at each step.

    Differs from `elman`, which is the case `tau = 1`. With `learned`, each unit learns its own
    `tau`, through `1 / tau = sigmoid(leak)`, which keeps `tau` above 1, where Euler's step is
    stable. `leak` stays in float32 under a narrower `dtype`.

    Args:
      hidden_size: hidden units, `H`.
      time_constant: `tau` in steps, at least 1; with `learned` its initial value, above 1. 5 is
        usual in models of neurons (a step of 20 ms, 100 ms for `tau`).
      learned: whether `tau` is learned.
      activation: `g`, a name such as "tanh" or "relu", or a pointwise function.
      kernel_init: initialiser of `W`, (D, H).
      recurrent_init: initialiser of `R`, (H, H).
      learned_initial_state: whether `h_0` is a parameter; zeros otherwise.

    Returns:
      The cell. Its state is `HiddenState(hidden)`; its parameters are `GatedParams`, with
      `units["leak"]` if `tau` is learned.

    Raises:
      ValueError: if `hidden_size` or `time_constant` is too small, or `activation` is unknown.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.leaky_rnn(1, time_constant=4.0)
      >>> start = seqjax.cells.HiddenState(jnp.ones(1))
      >>> params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), 3))
      >>> ys, _ = seqjax.unroll(cell, params, jnp.zeros((3, 3)), initial_state=start)
      >>> ys[:, 0].tolist()
      [0.75, 0.5625, 0.421875]

    Reference: Funahashi and Nakamura (1993), Approximation of dynamical systems by continuous time
    recurrent neural networks.
    """
    if not 1 <= time_constant < math.inf or (learned and time_constant == 1):
        raise ValueError(
            "seqjax.leaky_rnn: `time_constant` must be finite and at least 1 step, above 1 with "
            f"`learned`, got {time_constant}."
        )
    known = named_activations("seqjax.leaky_rnn", activation=activation)
    leak = bind(constant, value=-math.log(time_constant - 1)) if learned else None
    return gated_cell(
        "leaky_rnn",
        hidden_size,
        gates=("hidden",),
        units={"leak": leak} if leak else None,
        update=bind(_learned, **known) if leak else bind(_update, share=1 / time_constant, **known),
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
        learned_initial_state=learned_initial_state,
    )


def _update(state, hidden, *, activation, share) -> HiddenState:
    return HiddenState(state.hidden + share * (activate(activation, hidden) - state.hidden))


def _learned(state, hidden, leak, *, activation) -> HiddenState:
    return _update(state, hidden, activation=activation, share=jax.nn.sigmoid(leak))
