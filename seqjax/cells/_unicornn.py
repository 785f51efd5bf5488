"""The undamped independent controlled oscillatory network."""

import jax.numpy as jnp
from jax import Array
from jax.nn import sigmoid

from seqjax.cells._co_rnn import OscillatorState
from seqjax.cells._gated import GatedCell, gated_cell
from seqjax.cells._initializers import uniform
from seqjax.cells._operations import bind


def unicornn(hidden_size: int, *, step_size: float = 0.19, stiffness: float = 30.65) -> GatedCell:
    """Makes the undamped independent oscillators `y'' = -(tanh(w * y + W x + b) + k y)`.

        d   = step_size sigmoid(c)
        z_t = z_{t-1} - d * (tanh(w * y_{t-1} + W x_t + b) + k y_{t-1})
        y_t = y_{t-1} + d * z_t

    with the stiffness `k`. Each unit learns a step `d` of its own, and so its own frequency. The
    update is symplectic, like that of a planet: it keeps volume, its eigenvalues multiply to 1, and
    what a state has forgotten can be computed back from it.

    Differs from `co_rnn`: no damping, and no connections between the units; only the next layer
    mixes them, so stack two or more. The authors use three. `w` and `c` are vectors.

    Args:
      hidden_size: oscillators, `H`.
      step_size: largest step, above 0. Stable where `d^2 k < 4` about; the defaults are the
        authors' for permuted MNIST.
      stiffness: `k`, at least 0; the paper's alpha.

    Returns:
      The cell. Its state is `OscillatorState(hidden, velocity)`; its parameters are `GatedParams`,
      with `w` and `c` as `units["recurrent"]` and `units["control"]`. They start as published:
      `w ~ Uniform(0, 1)`, `c ~ Uniform(-0.1, 0.1)`, `W ~ Uniform(-a, a)`, `a^2 = 6 / (65 D)`.

    Raises:
      ValueError: if `hidden_size` is below 1, `step_size` is not above 0, or `stiffness` is
        negative.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.unicornn(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, params.recurrent_kernel is None, params.units["recurrent"].shape
      ((7, 2, 4), True, (4,))

    Reference: Rusch and Mishra (2021), UnICORNN: a recurrent model for learning very long time
    dependencies.
    """
    if not (step_size > 0 and stiffness >= 0):
        raise ValueError(
            "seqjax.unicornn: `step_size` must be above 0 and `stiffness` at least 0, got "
            f"{step_size} and {stiffness}."
        )
    return gated_cell(
        "unicornn",
        hidden_size,
        gates=("force",),
        heads=0,
        units={"recurrent": uniform, "control": bind(uniform, low=-0.1, high=0.1)},
        update=bind(_update, step_size=step_size, stiffness=stiffness),
        state=OscillatorState,
        kernel_init=_kaiming_uniform,
    )


def _update(state, force, recurrent, control, *, step_size, stiffness) -> OscillatorState:
    y, z = state
    d = step_size * sigmoid(control)
    z = z - d * (jnp.tanh(force + recurrent * y) + stiffness * y)
    return OscillatorState(y + d * z, z)


def _kaiming_uniform(key, shape, dtype=jnp.float32) -> Array:
    bound = (6 / (65 * shape[0])) ** 0.5
    return uniform(key, shape, dtype, low=-bound, high=bound)
