"""A convolution over the last valid steps, one filter a feature, that can be carried over."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from seqjax._padding import zeros_unless


class CausalConv(nnx.Module):
    """Convolves each feature with the last `window` valid inputs of its sequence.

        y_t = b + sum_k w_k * x_{t-k},   k = 0 ... window - 1

    Masked steps do not count, and nothing from before a reset does. `w` and `b` start uniform
    between `-1 / sqrt(window)` and `1 / sqrt(window)`.
    """

    def __init__(self, size: int, window: int, *, param_dtype: DTypeLike, rngs: nnx.Rngs):
        """Initialises the parameters."""
        bound = window**-0.5

        def uniform(*shape: int) -> nnx.Param:
            return nnx.Param(
                jax.random.uniform(rngs.params(), shape, param_dtype, minval=-bound, maxval=bound)
            )

        self.kernel, self.bias = uniform(window, size), uniform(size)

    def __call__(
        self, xs: Array, past: Array, valid: Array | None, resets: Array | None
    ) -> tuple[Array, Array]:
        """Returns the outputs, zero at no step, and the inputs to carry over.

        Args:
          xs: inputs, shape (T, *B, D), finite at every step.
          past: the last `window - 1` inputs before them, the oldest first, (*B, window - 1, D).
          valid: which steps are valid, booleans (T, *B), or None.
          resets: True where the past is forgotten before the step, booleans (T, *B), or None.
        """
        kernel, bias = self.kernel[...], self.bias[...]
        window, (steps, *batch) = len(kernel), xs.shape[:-1]
        nothing = jnp.zeros((steps, *batch), int)
        segments = nothing if resets is None else jnp.cumsum(resets, axis=0)
        count, last = jnp.full(batch, steps), nothing.sum(axis=0)
        if resets is not None:
            last = resets.sum(axis=0)
        inputs = xs
        if valid is not None:  # moves the valid steps to the front, in their order
            order, count = jnp.argsort(~valid, axis=0, stable=True), valid.sum(axis=0)
            inputs = jnp.take_along_axis(xs, order[..., None], axis=0)
            segments = jnp.take_along_axis(segments, order, axis=0)
        seen = jnp.concatenate([jnp.moveaxis(past, -2, 0).astype(xs.dtype), inputs])
        of = jnp.concatenate([jnp.zeros((window - 1, *batch), segments.dtype), segments])
        lead = (None,) * (xs.ndim - 1)
        ys = bias[lead] + sum(
            zeros_unless(of[k : k + steps] == segments, seen[k : k + steps]) * kernel[k][lead]
            for k in range(window)
        )
        if valid is not None:
            place = jnp.clip(jnp.cumsum(valid, axis=0) - 1, 0)
            ys = jnp.take_along_axis(ys, place[..., None], axis=0)
        place = count[None] + jnp.arange(window - 1).reshape(-1, *(1,) * len(batch))
        kept = jnp.take_along_axis(seen, place[..., None], axis=0)
        same = jnp.take_along_axis(of, place, axis=0) == last[None]
        kept = zeros_unless(same, kept)
        return ys, jnp.moveaxis(kept, 0, -2).astype(past.dtype)
