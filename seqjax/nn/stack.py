"""Layers on top of each other."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from seqjax.nn.recurrent import RNN, Bidirectional

Layer = RNN | Bidirectional


class Stack(nnx.Module):
    """Recurrent layers on top of each other, with dropout between them.

    Args:
      layers: `RNN` or `Bidirectional` layers, from the input upwards.
      dropout: rate of the dropout between two layers (not before the first or after the last).
      residual: whether each layer after the first adds its input to its output.

    Raises:
      ValueError: if there is no layer, sizes do not fit, or a layer gives a pair of outputs.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> sizes = [3, 8, 8]
      >>> layers = [seqjax.nn.RNN(seqjax.gru(8), size, rngs=rngs) for size in sizes]
      >>> stack = seqjax.nn.Stack(layers, dropout=0.2, residual=True)
      >>> stack(jnp.ones((2, 5, 3)), key=jax.random.key(1)).shape
      (2, 5, 8)
    """

    def __init__(self, layers: Sequence[Layer], *, dropout: float = 0.0, residual: bool = False):
        """Takes the layers over."""
        if not layers:
            raise ValueError("seqjax.nn.Stack: `layers` must hold at least one layer, got none.")
        for index, layer in enumerate(layers):
            if getattr(layer, "merge", None) == "none":
                raise ValueError(
                    f'seqjax.nn.Stack: layer {index} must give one array, got merge="none". '
                    "Use concat, sum, mul or ave."
                )
        for index, (below, above) in enumerate(itertools.pairwise(layers)):
            if below.out_size != above.in_size:
                raise ValueError(
                    f"seqjax.nn.Stack: layer {index + 1} must have in_size = {below.out_size}, "
                    f"the out_size of the layer below, got {above.in_size}."
                )
            if residual and above.in_size != above.out_size:
                raise ValueError(
                    f"seqjax.nn.Stack: with `residual` layer {index + 1} must have in_size equal "
                    f"to out_size, got {above.in_size} and {above.out_size}. Choose hidden sizes "
                    "that agree, or residual=False."
                )
        self.layers = nnx.List(layers)
        self.in_size = layers[0].in_size
        self.out_size = layers[-1].out_size
        self.dropout = nnx.Dropout(dropout)
        self.residual = residual

    def __call__(
        self,
        xs: Array,
        *,
        initial_state: Any = None,
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        resets: ArrayLike | None = None,
        return_state: bool = False,
        key: Array | None = None,
    ) -> Any:
        """Runs the layers; arguments as in `RNN`, states as a tuple with one of each layer.

        Args:
          xs: shape (*B, T, D).
          initial_state: a tuple with one state a layer.
          lengths: valid steps of each sequence, shape (*B,).
          mask: True at the valid steps, shape (*B, T).
          resets: True where a new sequence starts, shape (*B, T).
          return_state: whether the final states are returned too.
          key: key of the dropout; none is applied without it.

        Returns:
          Outputs (*B, T, out_size), or with `return_state` `(outputs, states)`.
        """
        starts = [None] * len(self.layers) if initial_state is None else initial_state
        states = []
        for index, (layer, start) in enumerate(zip(self.layers, starts, strict=True)):
            inputs = xs
            if index and key is not None:
                key, subkey = jax.random.split(key)
                inputs = self.dropout(xs, deterministic=False, rngs=subkey)
            ys, state = layer(
                inputs,
                initial_state=start,
                lengths=lengths,
                mask=mask,
                resets=resets,
                return_state=True,
            )
            xs = xs + ys if index and self.residual else ys
            states.append(state)
        return (xs, tuple(states)) if return_state else xs

    def last_output(self, state: Any) -> Any:
        """Returns the top layer's output at the last step it ran."""
        return self.layers[-1].last_output(state[-1])
