"""The base of blocks: a norm and a residual connection around layers that keep the size."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from seqjax._checks import check_sizes
from seqjax._padding import boolean_steps, valid_steps, zeros_unless
from seqjax.nn._module import check_rngs
from seqjax.nn._recurrent import Recurrent


class BlockState(NamedTuple):
    """The state of a block with a convolution.

    Attributes:
      inputs: the last inputs of the convolution, (*B, window - 1, N).
      cell: the state of the cell.
    """

    inputs: Array
    cell: Any


class Block(Recurrent):
    """A recurrent layer `x + mix(norm(x))` whose outputs have as many features as its inputs.

    A subclass defines `initial_state` and `mix`, which sees clean inputs that run forwards.
    """

    def __init__(self, size: int, *, reverse: bool, rngs: nnx.Rngs, **sizes: int):
        """Checks the sizes."""
        where = f"seqjax.nn.{type(self).__name__}"
        check_sizes(where, size=size, **sizes)
        check_rngs(where, rngs)
        self.in_size = self.out_size = size
        self.reverse = reverse

    def mix(
        self, xs: Array, state: Any, valid: Array | None, resets: Array | None
    ) -> tuple[Array, Any]:
        """Returns the outputs (T, *B, size) and the final state, for clean inputs (T, *B, size)."""
        raise TypeError(f"seqjax.nn: {type(self).__name__} must define `mix`.")

    def over_time(self, xs, *, initial_state=None, lengths=None, mask=None, resets=None, key=None):
        """Runs the block; there is no noise in it, so `key` is not used."""
        steps, batch, dtype = xs.shape[0], xs.shape[1:-1], xs.dtype
        valid = valid_steps(steps, batch, lengths, mask)
        if initial_state is None:
            initial_state = self.initial_state(batch, jnp.promote_types(dtype, jnp.float32))
        if resets is not None:
            resets = boolean_steps("resets", resets, steps, batch)
            if self.reverse:
                resets = jnp.concatenate([resets[1:], jnp.zeros_like(resets[:1])])

        def turned(tree: Any) -> Any:
            return jax.tree.map(lambda leaf: leaf[::-1], tree) if self.reverse else tree

        clean, *steps_of = turned((zeros_unless(valid, xs), valid, resets))
        ys, state = self.mix(clean, initial_state, *steps_of)
        ys = turned(zeros_unless(steps_of[0], ys.astype(dtype)))
        return ys, lambda: self.last(ys, valid), state


class ConvolvedBlock(Block):
    """A block around a `recurrent` layer, with a convolution of `inner_size` features before it."""

    inner_size: int
    window: int
    recurrent: Recurrent

    def initial_state(
        self, batch_shape: Sequence[int] = (), dtype: DTypeLike = jnp.float32
    ) -> BlockState:
        """Returns zeros, the inputs before the start, and the cell's initial state."""
        inputs = jnp.zeros((*batch_shape, self.window - 1, self.inner_size), dtype)
        return BlockState(inputs, self.recurrent.initial_state(batch_shape, dtype))
