"""The independently recurrent network."""

import jax.numpy as jnp

from seqjax.cells._activations import Activation, activate, named_activations
from seqjax.cells._cell import HiddenState
from seqjax.cells._gated import GatedCell, gated_cell
from seqjax.cells._initializers import Initializer, glorot_uniform, uniform
from seqjax.cells._operations import bind


def ind_rnn(
    hidden_size: int,
    *,
    activation: Activation = "relu",
    max_timescale: float | None = None,
    kernel_init: Initializer = glorot_uniform,
    learned_initial_state: bool = False,
) -> GatedCell:
    """Makes the independently recurrent cell, which has no connections between its units.

        h_t = g(W x_t + u * h_{t-1} + b)

    Differs from `elman`: a vector `u`, one weight per unit, replaces the recurrent matrix. Only
    the next layer mixes units, so stack two or more. The Jacobian of a step is diagonal.

    Args:
      hidden_size: hidden units, `H`.
      activation: `g`, a name such as "relu" or "tanh", or a pointwise function.
      max_timescale: longest dependency in steps, `T`. If given, `u` is clipped to
        `[-2^(1/T), 2^(1/T)]`, so that `|u|^T` is at most 2, and is drawn from
        `Uniform(0, 2^(1/T))`. By default `u` is not clipped and is drawn from `Uniform(0, 1)`.
      kernel_init: initialiser of `W`, (D, H).
      learned_initial_state: whether `h_0` is a parameter; zeros otherwise.

    Returns:
      The cell. Its state is `HiddenState(hidden)`; its parameters are `GatedParams`, with `u` as
      `units["recurrent"]`.

    Raises:
      ValueError: if `hidden_size` is below 1, `activation` is unknown, or `max_timescale` is not
        above 0.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.ind_rnn(4, max_timescale=100.0)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, params.units["recurrent"].shape
      ((7, 2, 4), (4,))

    Reference: Li et al. (2018), Independently recurrent neural network (IndRNN): building a longer
    and deeper RNN.
    """
    if max_timescale is not None and not max_timescale > 0:
        raise ValueError(
            f"seqjax.ind_rnn: `max_timescale` must be above 0 steps, got {max_timescale}."
        )
    bound = None if max_timescale is None else 2 ** (1 / max_timescale)
    squash = named_activations("seqjax.ind_rnn", activation=activation)
    return gated_cell(
        "ind_rnn",
        hidden_size,
        gates=("hidden",),
        heads=0,
        units={"recurrent": bind(uniform, high=1.0 if bound is None else bound)},
        update=bind(_update, bound=bound, **squash),
        kernel_init=kernel_init,
        learned_initial_state=learned_initial_state,
    )


def _update(state, hidden, recurrent, *, activation, bound) -> HiddenState:
    u = recurrent if bound is None else jnp.clip(recurrent, -bound, bound)
    return HiddenState(activate(activation, hidden + u * state.hidden))
