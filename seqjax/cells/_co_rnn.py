"""The coupled oscillatory recurrent network."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqjax.cells._gated import GatedCell, GatedParams
from seqjax.cells._initializers import uniform
from seqjax.cells._operations import bind, check_in_size


class OscillatorState(NamedTuple):
    """Position `y`, which is the output, and velocity `z`, each (*B, H)."""

    hidden: Array
    velocity: Array


def co_rnn(
    hidden_size: int, *, step_size: float = 0.042, stiffness: float = 2.7, damping: float = 4.7
) -> GatedCell:
    """Makes the coupled oscillatory network, `y'' = tanh(W x + R y + S y' + b) - k y - e y'`.

        z_t = z_{t-1} + dt (tanh(W x_t + R y_{t-1} + S z_{t-1} + b) - k y_{t-1} - e z_{t-1})
        y_t = y_{t-1} + dt z_t

    with the step `dt`, the stiffness `k` and the damping `e`. Each unit is a damped oscillator,
    driven by the input and by all other units.

    Differs from `elman`: it is of second order in time. The damping is explicit, it sees `z_{t-1}`,
    as in the authors' code; the paper also has the form that sees `z_t`.

    Args:
      hidden_size: oscillators, `H`.
      step_size: `dt`, above 0. The defaults are the authors' for sequential MNIST; tune all three.
      stiffness, damping: `k` and `e`, at least 0; the paper's gamma and epsilon.

    Returns:
      The cell. Its state is `OscillatorState(hidden, velocity)`; its parameters are `GatedParams`
      with the transposes of `R` and `S` side by side in `recurrent_kernel`, (H, 2 * H). All are
      drawn from `Uniform(-1 / sqrt(D + 2 H), 1 / sqrt(D + 2 H))`, as published.

    Raises:
      ValueError: if `hidden_size` is below 1, `step_size` is not above 0, or `stiffness` or
        `damping` is negative.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.co_rnn(4, step_size=0.1)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))[1].velocity.shape
      (2, 4)

    Reference: Rusch and Mishra (2021), Coupled oscillatory recurrent neural network (coRNN).
    """
    if not (step_size > 0 and stiffness >= 0 and damping >= 0):
        raise ValueError(
            "seqjax.co_rnn: `step_size` must be above 0, `stiffness` and `damping` at least 0, got "
            f"{step_size}, {stiffness} and {damping}."
        )
    return _CoRNN(
        hidden_size,
        name="co_rnn",
        gates=("position", "velocity"),
        inner_gates=("velocity",),
        inner_state=_velocity,
        update=bind(_update, step_size=step_size, stiffness=stiffness, damping=damping),
        state=OscillatorState,
    )


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class _CoRNN(GatedCell):
    def init(self, key, in_size, dtype=jnp.float32):
        check_in_size(self.name, in_size)
        size = self.hidden_size
        bound = (in_size + 2 * size) ** -0.5
        draw = bind(uniform, low=-bound, high=bound)
        keys, shapes = jax.random.split(key, 3), ((in_size, size), (size, 2 * size), (size,))
        kernel, recurrent, bias = (draw(k, s, dtype) for k, s in zip(keys, shapes, strict=True))
        return GatedParams(kernel, recurrent, bias)

    def prepare(self, params, key=None):
        # The input and the bias enter through the gate "position" alone.
        kernel = jnp.pad(params.input_kernel, ((0, 0), (0, self.hidden_size)))
        bias = jnp.pad(params.bias, (0, self.hidden_size))  # pyright: ignore[reportArgumentType]
        return params._replace(input_kernel=kernel, bias=bias)


def _velocity(state: OscillatorState, position: Array) -> Array:
    return state.velocity


def _update(state: OscillatorState, position, velocity, *, step_size, stiffness, damping):
    y, z = state
    z = z + step_size * (jnp.tanh(position + velocity) - stiffness * y - damping * z)
    return OscillatorState(y + step_size * z, z)
