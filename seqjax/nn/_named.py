"""`LSTM`, `GRU` and `Elman`: a whole stack in one line, with the arguments of other frameworks."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from seqjax._checks import check_sizes
from seqjax.cells import Cell, elman, gru, lstm
from seqjax.executors._executor import Executor
from seqjax.nn._recurrent import RNN, Bidirectional
from seqjax.nn._stack import Stack


class _Named(Stack):
    """A stack of layers of one cell, which the subclass makes."""

    make: Callable[..., Cell]

    def __init__(
        self,
        in_features: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        time_major: bool = False,
        executor: Executor | str | None = None,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        """Makes the layers; `options` are those of the cell."""
        where = f"seqjax.nn.{type(self).__name__}"
        check_sizes(where, in_features=in_features, num_layers=num_layers)
        if dropout and num_layers == 1:
            raise ValueError(
                f"{where}: with `dropout`, which acts between layers, `num_layers` must be at "
                f"least 2, got 1. Drop the outputs with nnx.Dropout({dropout}) instead."
            )
        cell, layer = type(self).make(hidden_size, **options), RNN
        if bidirectional:
            layer = Bidirectional
        sizes = [in_features, *[hidden_size * (1 + bidirectional)] * (num_layers - 1)]
        given: dict[str, Any] = {"executor": executor, "param_dtype": param_dtype, "rngs": rngs}
        super().__init__([layer(cell, size, **given) for size in sizes], dropout=dropout)
        self.time_major = time_major
        self.dtype = dtype

    def over_time(self, xs, **options):
        """Runs the layers, in `dtype`."""
        return super().over_time(jnp.asarray(xs, self.dtype), **options)


class LSTM(_Named):
    """Layers of `seqjax.lstm`.

    Args:
      in_features: features of the input.
      hidden_size: hidden units of each layer and direction.
      num_layers: layers on top of each other.
      bidirectional: whether each layer runs in both directions; there are then 2 H outputs.
      dropout: dropout rate between two layers, where a call has a `key`.
      time_major: whether sequences, masks and resets of a call have time first.
      executor: how to run the cells in time, see `seqjax.unroll`.
      dtype: dtype of products and outputs; by default that of the inputs.
      param_dtype: dtype of the parameters.
      rngs: provides the keys of the initialisers.
      **options: options of the cell, such as `forget_bias`.

    Raises:
      TypeError: if `rngs` or an option is of another kind.
      ValueError: if a size is below 1, `dropout` is not in [0, 1), or there is nothing between
        layers that it could drop.

    Example:
      >>> import jax.numpy as jnp, seqjax
      >>> from flax import nnx
      >>> layer = seqjax.nn.LSTM(3, 8, num_layers=2, bidirectional=True, rngs=nnx.Rngs(0))
      >>> ys = layer(jnp.ones((2, 5, 3)), lengths=jnp.array([5, 2]))
      >>> ys.shape, layer.out_features
      ((2, 5, 16), 16)
    """

    make = staticmethod(lstm)


class GRU(_Named):
    """Layers of `seqjax.gru`; the arguments are those of `LSTM`.

    Example:
      >>> import jax.numpy as jnp, seqjax
      >>> from flax import nnx
      >>> layer = seqjax.nn.GRU(3, 8, time_major=True, rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((5, 2, 3))).shape
      (5, 2, 8)
    """

    make = staticmethod(gru)


class Elman(_Named):
    """Layers of `seqjax.elman`; the arguments are those of `LSTM`.

    Example:
      >>> import jax.numpy as jnp, seqjax
      >>> from flax import nnx
      >>> layer = seqjax.nn.Elman(3, 8, activation="relu", rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 5, 3))).shape
      (2, 5, 8)
    """

    make = staticmethod(elman)
