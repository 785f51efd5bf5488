"""The feed-forward contrast: the last few steps through one hidden layer."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from seqjax.nn.recurrent import Recurrent


class Window(Recurrent):
    """A ReLU layer that sees the last `width` inputs: `y_t = relu(b + sum_k W_k x_{t-k})`.

    Its state is the inputs before, (*B, width - 1, D), zeros at first, so that it can be fed in
    segments or step by step like a recurrent layer.

    Args:
      in_size: features of the input.
      width: steps that are seen.
      out_size: units.
      rngs: gives the key of the initialiser.

    Example:
      >>> layer = Window(3, 4, 8, rngs=nnx.Rngs(0))
      >>> ys, state = layer(jnp.ones((2, 5, 3)), return_state=True)
      >>> ys.shape, state.shape
      ((2, 5, 8), (2, 3, 3))

    Reference: Bengio et al. (2003), A neural probabilistic language model.
    """

    def __init__(self, in_size: int, width: int, out_size: int, *, rngs: nnx.Rngs):
        """Initialises the layer."""
        self.in_size, self.width, self.out_size = in_size, width, out_size
        self.linear = nnx.Linear(
            width * in_size, out_size, kernel_init=jax.nn.initializers.he_normal(), rngs=rngs
        )

    def over_time(self, xs, *, initial_state, lengths, mask, resets, key) -> tuple[Any, Any]:
        """Runs the layer; sequences must be whole, without padding or resets inside."""
        if not (lengths is None and mask is None and resets is None):
            raise ValueError("Window: neither lengths, mask nor resets are understood.")
        steps, (*batch, size) = xs.shape[0], xs.shape[1:]
        if initial_state is None:
            initial_state = jnp.zeros((*batch, self.width - 1, size), xs.dtype)
        seen = jnp.concatenate([jnp.moveaxis(initial_state, -2, 0), xs])
        windows = [seen[first : first + steps] for first in range(self.width)]
        ys = jax.nn.relu(self.linear(jnp.concatenate(windows, axis=-1)))
        return ys, jnp.moveaxis(seen[steps:], 0, -2)
