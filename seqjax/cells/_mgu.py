"""The minimal gated unit."""

from jax import Array

from seqjax.cells._activations import Activation, activate, named_activations
from seqjax.cells._cell import HiddenState
from seqjax.cells._gated import GatedCell, gated_cell
from seqjax.cells._initializers import Initializer, chrono, glorot_uniform, orthogonal, zeros
from seqjax.cells._operations import bind


def mgu(
    hidden_size: int,
    *,
    max_timescale: float | None = None,
    activation: Activation = "tanh",
    gate_activation: Activation = "sigmoid",
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
    learned_initial_state: bool = False,
) -> GatedCell:
    """Makes the minimal gated unit, a GRU in which one gate does the work of two.

        f_t = sigmoid(W_f x_t + R_f h_{t-1} + b_f)              forget gate
        n_t = tanh(W_n x_t + R_n (f_t * h_{t-1}) + b_n)         candidate
        h_t = (1 - f_t) * h_{t-1} + f_t * n_t

    A closed gate keeps the state and hides it from the candidate; an open gate does neither.

    Differs from `gru(reset_after=False)`: `f` is both the update gate and the reset gate.

    Args:
      hidden_size: hidden units, `H`.
      max_timescale: if given, chrono initialisation, `b_f = -log u` with
        `u ~ Uniform(1, max_timescale - 1)`; otherwise zeros.
      activation: activation of the candidate: a name such as "tanh", or a pointwise function.
      gate_activation: activation of the gate.
      kernel_init: initialiser of each `W`, (D, H).
      recurrent_init: initialiser of each `R`, (H, H).
      learned_initial_state: whether `h_0` is a parameter; zeros otherwise.

    Returns:
      The cell. Its state is `HiddenState(hidden)`; its parameters are `GatedParams`.

    Raises:
      ValueError: if `hidden_size` is below 1, an activation is unknown, or `max_timescale` is not
        above 2.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.mgu(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, params.recurrent_kernel.shape
      ((7, 2, 4), (4, 8))

    Reference: Zhou et al. (2016), Minimal gated unit for recurrent neural networks.
    """
    gate = named_activations("seqjax.mgu", gate_activation=gate_activation)
    squash = named_activations("seqjax.mgu", activation=activation)
    return gated_cell(
        "mgu",
        hidden_size,
        gates=("forget", "candidate"),
        inner_gates=("candidate",),
        inner_state=bind(_forgotten, **gate),
        update=bind(_update, **squash, **gate),
        bias_inits={"forget": zeros if max_timescale is None else chrono(max_timescale, sign=-1.0)},
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
        learned_initial_state=learned_initial_state,
    )


def _update(
    state, forget, candidate, *, gate_activation, activation, candidate_factor=1.0
) -> HiddenState:
    f, n = activate(gate_activation, forget), candidate_factor * activate(activation, candidate)
    return HiddenState((1 - f) * state.hidden + f * n)


def _forgotten(state: HiddenState, forget: Array, *, gate_activation: Activation) -> Array:
    return activate(gate_activation, forget) * state.hidden
