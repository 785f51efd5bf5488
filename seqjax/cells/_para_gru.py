"""The GRU of ParaRNN, whose units see only themselves, made for Newton's method."""

import jax.numpy as jnp
from jax import Array
from jax.nn import sigmoid

from seqjax.cells._cell import HiddenState
from seqjax.cells._gated import GatedCell, gated_cell
from seqjax.cells._initializers import Initializer, glorot_uniform, normal


def para_gru(
    hidden_size: int,
    *,
    kernel_init: Initializer = glorot_uniform,
    learned_initial_state: bool = False,
) -> GatedCell:
    """Makes the gated recurrent unit with vectors in place of recurrent kernels.

        z_t = sigmoid(W_z x_t + a_z * h_{t-1} + b_z)              update gate
        r_t = sigmoid(W_r x_t + a_r * h_{t-1} + b_r)              reset gate
        n_t = tanh(W_n x_t + a_n * (r_t * h_{t-1}) + b_n)         candidate
        h_t = (1 - z_t) * h_{t-1} + z_t * n_t

    The Jacobian of a step is diagonal. An iteration of Newton's method on a whole sequence is then
    as cheap as a step of a linear cell, and parallel in time.

    Differs from `gru(reset_after=False)`: each unit sees only its own state, through the vectors
    `a`. Only the next layer mixes units, so stack two or more. The paper's layer also makes `W`
    block-diagonal; here it is dense.

    Args:
      hidden_size: hidden units, `H`.
      kernel_init: initialiser of each `W`, (D, H).
      learned_initial_state: whether `h_0` is a parameter; zeros otherwise.

    Returns:
      The cell. Its state is `HiddenState(hidden)`; its parameters are `GatedParams`, with `a` among
      the `units`. They start as published: `a ~ N(0, 4 / (5 H))`, `b_z` evenly from 0 to -1.

    Raises:
      ValueError: if `hidden_size` is below 1.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.para_gru(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, sorted(params.units)
      ((7, 2, 4), ['candidate_weight', 'reset_weight', 'update_weight'])

    Reference: Danieli et al. (2026), ParaRNN: unlocking parallel training of nonlinear RNNs for
    large language models.
    """
    gates = ("update", "reset", "candidate")
    return gated_cell(
        "para_gru",
        hidden_size,
        gates=gates,
        heads=0,
        units={f"{gate}_weight": small_normal for gate in gates},
        update=_update,
        bias_inits={"update": falling},
        kernel_init=kernel_init,
        learned_initial_state=learned_initial_state,
    )


def _update(state, update, reset, candidate, *, candidate_factor=1.0, **units) -> HiddenState:
    h = state.hidden
    z = sigmoid(update + units["update_weight"] * h)
    r = sigmoid(reset + units["reset_weight"] * h)
    n = candidate_factor * jnp.tanh(candidate + units["candidate_weight"] * r * h)
    return HiddenState((1 - z) * h + z * n)


def small_normal(key, shape, dtype=jnp.float32) -> Array:
    """Draws the weights of the units on themselves from `N(0, 4 / (5 H))`."""
    return normal(key, shape, dtype, scale=2 / (5 * shape[0]) ** 0.5)


def falling(key, shape, dtype=jnp.float32) -> Array:
    """Returns biases evenly from 0 to -1."""
    return -jnp.linspace(0, 1, shape[0]).astype(dtype)
