"""`Stack`: recurrent layers on top of each other."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from seqjax._checks import check_kind
from seqjax._padding import valid_steps
from seqjax.nn._module import drop, make_dropout, split_key
from seqjax.nn._recurrent import Recurrent, layer_key


class Stack(Recurrent):
    """Recurrent layers on top of each other, with dropout between them.

    Args:
      layers: layers such as `RNN`, `Bidirectional` or `MambaBlock`, from the input upwards.
      dropout: dropout rate between two layers (not before the first or after the last).
      residual: whether each layer after the first adds its input to its output.

    Raises:
      TypeError: if `layers` holds something else than layers.
      ValueError: if there is no layer, sizes do not fit, a layer returns a pair of outputs, or
        `dropout` is not in [0, 1).

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

    def __init__(
        self, layers: Sequence[Recurrent], *, dropout: float = 0.0, residual: bool = False
    ):
        """Checks and stores the layers."""
        where, required = "seqjax.nn.Stack", "a sequence of recurrent layers such as RNN"
        check_kind(where, "layers", layers, Sequence | nnx.List, required)
        if not layers:
            raise ValueError("seqjax.nn.Stack: `layers` must hold at least one layer, got none.")
        for index, layer in enumerate(layers):
            check_kind(where, f"layers[{index}]", layer, Recurrent, "a recurrent layer such as RNN")
            if getattr(layer, "merge", None) == "none":
                raise ValueError(
                    f'seqjax.nn.Stack: layer {index} must return one array, got merge="none". '
                    "Use concat, sum, mul or mean."
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
                    f"to out_size, got {above.in_size} and {above.out_size}. Choose equal hidden "
                    "sizes, or residual=False."
                )
        self.layers = nnx.List(layers)
        self.in_size = layers[0].in_size
        self.out_size = layers[-1].out_size
        self.dropout = make_dropout(where, dropout)
        self.residual = residual

    @property
    def looks_ahead(self) -> bool:
        """Whether any layer looks ahead."""
        return any(layer.looks_ahead for layer in self.layers)

    def initial_state(self, batch_shape: Sequence[int] = (), dtype: DTypeLike = jnp.float32) -> Any:
        """Returns the initial state of every layer."""
        return tuple(layer.initial_state(batch_shape, dtype) for layer in self.layers)

    def over_time(self, xs, *, initial_state=None, lengths=None, mask=None, resets=None, key=None):
        """Runs the layers, from the input upwards."""
        starts = [None] * len(self.layers) if initial_state is None else initial_state
        options = {"lengths": lengths, "mask": mask, "resets": resets}
        states, below, top = [], xs, None
        noise_key = key
        for index, (layer, start) in enumerate(zip(self.layers, starts, strict=True)):
            below = inputs = xs
            if index:
                key, subkey = split_key(key, 2)
                inputs = drop(self.dropout, xs, subkey)
            own_key = layer_key(noise_key, index)
            ys, top, state = layer.over_time(inputs, initial_state=start, key=own_key, **options)
            xs = below + ys if index and self.residual else ys
            states.append(state)

        def last() -> Array:
            assert top is not None
            if not self.residual or len(self.layers) == 1:
                return top()
            valid = valid_steps(below.shape[0], below.shape[1:-1], lengths, mask)
            return self.layers[-1].last(below, valid) + top()

        return xs, last, tuple(states)

    def last(self, ys: Array, valid: Array | None) -> Array:
        """Returns the values of `ys` at the last step that the top layer runs."""
        return self.layers[-1].last(ys, valid)
