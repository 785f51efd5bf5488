"""Noise of cells. It is drawn before a run, so every executor sees the same numbers."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class Noise(NamedTuple):
    """The noise of one run of a cell.

    Attributes:
      inputs: numbers that multiply the inputs, shape (T, *B, D), or None.
      params: the second argument of `prepare`, or None.
      steps: the noise of every step, a pytree with leaves (T, *B, ...), or None.
    """

    inputs: Array | None = None
    params: Any = None
    steps: Any = None


class Noisy(NamedTuple):
    """The drive of some steps, and the noise of these steps. Without a key the noise is None."""

    drive: Any
    noise: Any


class Draw(NamedTuple):
    """Booleans to draw for every unit.

    Attributes:
      name: the keyword by which `update` receives them.
      rate: the probability of True.
      per: "step" to draw at every step, "sequence" to draw once per sequence.
    """

    name: str
    rate: float
    per: str = "step"


def hits(key: Array, xs: Array, shape: tuple[int, ...], draw: Draw) -> Array:
    """Draws booleans of shape (T, *B, *shape) for inputs of shape (T, *B, D).

    Each sequence of the batch has its own key, and its steps are drawn in order. So the numbers of
    a sequence do not depend on padding, on further sequences or on the number of devices.
    """
    num_steps, *batch = xs.shape[:-1]
    steps = num_steps if draw.per == "step" else 1
    rows = jnp.arange(math.prod(batch))
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, rows)

    def of_row(key: Array) -> Array:
        return jax.random.bernoulli(key, draw.rate, (steps, *shape))

    drawn = jax.vmap(of_row, out_axes=1)(keys).reshape(steps, *batch, *shape)
    return jnp.broadcast_to(drawn, (num_steps, *batch, *shape))


def kept(hit: Array, rate: float, dtype: Any) -> Array:
    """Returns the dropout factor: 0 where `hit` is True, and 1 / (1 - rate) elsewhere."""
    return jnp.where(hit, 0, 1 / (1 - rate)).astype(dtype)
