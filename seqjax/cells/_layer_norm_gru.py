"""The GRU with layer normalisation."""

import jax.numpy as jnp
from jax import Array
from jax.nn import sigmoid

from seqjax.cells._cell import HiddenState
from seqjax.cells._gated import GatedCell, gated_cell
from seqjax.cells._initializers import Initializer, by_gate, glorot_uniform, orthogonal, zeros
from seqjax.cells._operations import bind, normalised


def layer_norm_gru(
    hidden_size: int,
    *,
    epsilon: float = 1e-5,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
    learned_initial_state: bool = False,
) -> GatedCell:
    """Makes the GRU that normalises its products.

        N(v) = (v - mean(v)) / sqrt(variance(v) + epsilon)          over all numbers of v
        (z, r) = sigmoid(p * N(W_zr x_t) + q * N(R_zr h_{t-1}) + b)  N over 2 H numbers together
        n = tanh(p_n * N(W_n x_t) + b_n + r * (q_n * N(R_n h_{t-1}) + b_h))
        h_t = (1 - z) * h_{t-1} + z * n

    The gains `p` and `q` start at 1. Differs from `gru` in `N`. This is the form of the paper, with
    the two gates normalised apart from the candidate; its shifts that only repeat `b` and `b_n` are
    left out. haste normalises all three together.

    Args:
      hidden_size: hidden units, `H`.
      epsilon: added to the variance.

    The other arguments are those of `gru`.

    Returns:
      The cell. Its state is `HiddenState(hidden)`; its parameters are `GatedParams` without a
      `bias`. Its `units` are all `p`, all `q` and all `b` in the order z, r, n, each (3 * H,), and
      `b_h`, (H,).

    Raises:
      ValueError: if `hidden_size` is below 1, or `epsilon` is not above 0.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.layer_norm_gru(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, _ = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, params.units["input_gain"].shape
      ((7, 2, 4), (12,))

    Reference: Ba, Kiros and Hinton (2016), Layer normalization.
    """
    if not epsilon > 0:
        raise ValueError(f"seqjax.layer_norm_gru: `epsilon` must be above 0, got {epsilon}.")
    gates, ones = ("update", "reset", "candidate"), bind(by_gate, values=(1.0,) * 3)
    return gated_cell(
        "layer_norm_gru",
        hidden_size,
        gates=gates,
        unsummed=gates,
        rowwise=True,
        use_bias=False,
        units={
            "input_gain": ones,
            "recurrent_gain": ones,
            "gate_bias": bind(by_gate, values=(0.0, 0.0, 0.0)),
            "recurrent_bias": zeros,
        },
        update=bind(_update, epsilon=epsilon),
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
        learned_initial_state=learned_initial_state,
    )


def _update(state, update, reset, candidate, *, epsilon, candidate_factor=1.0, **units):
    def normal(z: Array, r: Array, n: Array) -> Array:
        gates = normalised(jnp.concatenate([z, r], axis=-1), epsilon)
        return jnp.concatenate([gates, normalised(n, epsilon)], axis=-1)

    drive, recurrent = (normal(*parts) for parts in zip(update, reset, candidate, strict=True))
    drive = units["input_gain"] * drive + units["gate_bias"]
    (z, r, n), (z_h, r_h, n_h) = (
        jnp.split(part, 3, axis=-1) for part in (drive, units["recurrent_gain"] * recurrent)
    )
    z, r = sigmoid(z + z_h), sigmoid(r + r_h)
    n = candidate_factor * jnp.tanh(n + r * (n_h + units["recurrent_bias"]))
    return HiddenState((1 - z) * state.hidden + z * n)
