"""Long expressive memory: two differential equations with learned step sizes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import sigmoid

from seqjax.cells._gated import GatedCell, gated_cell
from seqjax.cells._initializers import uniform
from seqjax.cells._operations import bind


class LEMState(NamedTuple):
    """Output `y` and memory `z`, each (*B, H)."""

    hidden: Array
    memory: Array


def lem(hidden_size: int, *, step_size: float = 1.0) -> GatedCell:
    """Makes the long expressive memory cell.

        d_t = step_size sigmoid(W_d x_t + R_d y_{t-1} + b_d)    step of the output
        e_t = step_size sigmoid(W_e x_t + R_e y_{t-1} + b_e)    step of the memory
        z_t = (1 - e_t) * z_{t-1} + e_t * tanh(W_z x_t + R_z y_{t-1} + b_z)
        y_t = (1 - d_t) * y_{t-1} + d_t * tanh(W_y x_t + R_y z_t + b_y)

    Both lines are Euler steps of `u' = (tanh(..) - u) / tau`, each unit with a time-scale that
    depends on input and state. So one cell covers time-scales of several orders of magnitude.

    Differs from `lstm`: the output is itself a memory, and sees `z` of this step through a
    product. That makes two products in a row. Differs from the authors' code: one bias a gate.

    Args:
      hidden_size: hidden units, `H`.
      step_size: largest step of both equations, above 0 and at most 1. Smaller for longer memory:
        the authors use 0.31 for permuted MNIST.

    Returns:
      The cell. Its state is `LEMState(hidden, memory)`; its parameters are `GatedParams`, all drawn
      from `Uniform(-1 / sqrt(H), 1 / sqrt(H))`, as published.

    Raises:
      ValueError: if `hidden_size` is below 1, or `step_size` is not in (0, 1].

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.lem(4, step_size=0.31)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, state.memory.shape
      ((7, 2, 4), (2, 4))

    Reference: Rusch et al. (2022), Long expressive memory for sequence modeling.
    """
    if not 0 < step_size <= 1:
        raise ValueError(f"seqjax.lem: `step_size` must lie in (0, 1], got {step_size}.")
    gates = ("output_step", "memory_step", "memory", "output")
    return gated_cell(
        "lem",
        hidden_size,
        gates=gates,
        inner_gates=("output",),
        inner_state=bind(_memory, step_size=step_size),
        update=bind(_update, step_size=step_size),
        state=LEMState,
        bias_inits={gate: bind(_uniform, number=number) for number, gate in enumerate(gates)},
        kernel_init=_uniform,
        recurrent_init=_uniform,
    )


def _memory(state, output_step, memory_step, memory, *, step_size) -> Array:
    e = step_size * sigmoid(memory_step)
    return (1 - e) * state.memory + e * jnp.tanh(memory)


def _update(state, output_step, output, *, step_size, **gates) -> LEMState:
    d = step_size * sigmoid(output_step)
    hidden = (1 - d) * state.hidden + d * jnp.tanh(output)
    return LEMState(hidden, _memory(state, output_step, step_size=step_size, **gates))


def _uniform(key, shape, dtype=jnp.float32, *, number: int = 0) -> Array:
    bound = shape[-1] ** -0.5  # the last axis of kernels and biases is H
    return uniform(jax.random.fold_in(key, number), shape, dtype, low=-bound, high=bound)
