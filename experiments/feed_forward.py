"""Layers without memory, where a recurrent layer would stand: what memory is compared with."""

import itertools
from typing import Any

import jax
from flax import nnx

FEEDFORWARD = "feedforward"
"""Its name among the cells."""


class FeedForward(nnx.Module):
    """ReLU layers applied to each step by itself, with dropout between them."""

    def __init__(
        self, in_size: int, hidden_size: int, num_layers: int, dropout: float, rngs: nnx.Rngs
    ):
        """Makes the layers."""
        sizes = [in_size, *[hidden_size] * num_layers]
        self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in itertools.pairwise(sizes)])
        self.in_size, self.out_size = in_size, hidden_size
        self.dropout = nnx.Dropout(dropout)

    def __call__(
        self, xs: jax.Array, *, lengths: Any = None, key: jax.Array | None = None
    ) -> jax.Array:
        """Maps (..., in_size) to (..., hidden_size); no step depends on another or on `lengths`."""
        for index, layer in enumerate(self.layers):
            if index and key is not None:
                key, dropout_key = jax.random.split(key)
                xs = self.dropout(xs, deterministic=False, rngs=dropout_key)
            xs = nnx.relu(layer(xs))
        return xs
