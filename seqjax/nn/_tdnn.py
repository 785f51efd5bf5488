"""A feed-forward layer over a window of steps, the baseline for recurrent memory."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from seqjax._checks import check_sizes
from seqjax.nn._module import check_rngs
from seqjax.nn._recurrent import Recurrent


class TDNNState(NamedTuple):
    """The state of a `TDNN`: the last `inputs`, (*B, before, D), which the next step reads."""

    inputs: Array


class TDNN(Recurrent):
    """A ReLU layer over each step and its neighbours, without any other memory.

        y_t = relu(b + sum_k W_k x_{t+k}),   k = -before ... after

    with zeros beyond both ends of a sequence. Use it in place of a recurrent layer to compare the
    two: they differ only in memory. Its state holds the last `before` inputs, so it can also run
    step by step.

    Args:
      in_size: features of the input.
      out_size: units.
      before: number of steps before the current step to read.
      after: number of steps after the current step to read. If it is not 0, the layer needs whole
        sequences.
      rngs: provides the keys of the initialisers.

    Raises:
      ValueError: if a size is below 1, or `before` or `after` is negative; when called, if a
        mask or resets are given, or if `after` is not 0 and an initial state is given.

    Example:
      >>> import jax.numpy as jnp, seqjax
      >>> from flax import nnx
      >>> layer = seqjax.nn.TDNN(3, 8, before=3, rngs=nnx.Rngs(0))
      >>> ys, state = layer(jnp.ones((2, 5, 3)), return_state=True)
      >>> ys.shape, state.inputs.shape
      ((2, 5, 8), (2, 3, 3))

    Reference: Waibel et al. (1989), Phoneme recognition using time-delay neural networks.
    """

    def __init__(
        self, in_size: int, out_size: int, *, before: int = 0, after: int = 0, rngs: nnx.Rngs
    ):
        """Initialises the parameters."""
        check_sizes("seqjax.nn.TDNN", in_size=in_size, out_size=out_size)
        check_sizes("seqjax.nn.TDNN", at_least=0, before=before, after=after)
        check_rngs("seqjax.nn.TDNN", rngs)
        self.in_size, self.out_size = in_size, out_size
        self.before, self.after = before, after
        self.linear = nnx.Linear(
            (before + 1 + after) * in_size,
            out_size,
            kernel_init=jax.nn.initializers.he_normal(),
            rngs=rngs,
        )

    @property
    def looks_ahead(self) -> bool:
        """Whether the layer reads steps after the current step."""
        return self.after > 0

    def initial_state(
        self, batch_shape: Sequence[int] = (), dtype: DTypeLike = jnp.float32
    ) -> TDNNState:
        """Returns zeros, the inputs before the start of a sequence."""
        return TDNNState(jnp.zeros((*batch_shape, self.before, self.in_size), dtype))

    def over_time(self, xs, *, initial_state=None, lengths=None, mask=None, resets=None, key=None):
        """Runs the layer; outputs after the end of a sequence are zero."""
        if mask is not None or resets is not None:
            raise ValueError(
                "seqjax.nn.TDNN: a window supports neither `mask` nor `resets`, got one. Pass "
                "`lengths`, or separate sequences."
            )
        if self.after and initial_state is not None:
            raise ValueError(
                f"seqjax.nn.TDNN: with after={self.after} the layer needs whole sequences, got "
                "an initial state. Use after=0 to run step by step."
            )
        steps, batch, size = xs.shape[0], xs.shape[1:-1], xs.shape[-1]
        ends = jnp.full(batch, steps) if lengths is None else jnp.asarray(lengths)
        valid = jnp.arange(steps).reshape(-1, *[1] * len(batch)) < ends[None]
        xs = jnp.where(valid[..., None], xs, 0)
        past = jnp.zeros((self.before, *batch, size), xs.dtype)
        if initial_state is not None:
            past = jnp.moveaxis(initial_state.inputs, -2, 0).astype(xs.dtype)
        seen = jnp.concatenate([past, xs, jnp.zeros((self.after, *batch, size), xs.dtype)])
        windows = [seen[first : first + steps] for first in range(self.before + 1 + self.after)]
        ys = jax.nn.relu(self.linear(jnp.concatenate(windows, axis=-1)))
        ys = jnp.where(valid[..., None], ys, 0)
        places = ends[None] + jnp.arange(self.before).reshape(-1, *[1] * len(batch))
        inputs = jnp.moveaxis(jnp.take_along_axis(seen, places[..., None], axis=0), 0, -2)
        return ys, lambda: self.last(ys, valid), TDNNState(inputs)
