"""The layer of S5: a norm, the recurrence, a gate, and a residual connection."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from seqjax.cells._s5 import s5
from seqjax.executors._executor import Executor
from seqjax.nn._block import Block
from seqjax.nn._recurrent import RNN


class S5Block(Block):
    """The layer of the S5 network, around `seqjax.s5`.

        u = gelu(S5(norm(x))),    y = x + u * sigmoid(W u + b)

    Args:
      size: features of the input and of the output.
      state_size: see `seqjax.s5`.
      blocks: see `seqjax.s5`.
      reverse: whether to run sequences from their last valid step to their first.
      executor: how to run the cell in time, see `seqjax.unroll`.
      param_dtype: dtype of the parameters.
      rngs: provides the keys of the initialisers.

    Raises:
      ValueError: in the cases of `seqjax.s5`.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> stack = seqjax.nn.Stack([seqjax.nn.S5Block(4, rngs=rngs) for _ in range(2)])
      >>> jax.jit(stack)(jnp.ones((2, 7, 4)), lengths=jnp.array([7, 3])).shape
      (2, 7, 4)

    Reference: Smith, Warrington and Linderman (2023), Simplified state space layers for sequence
    modeling.
    """

    def __init__(
        self,
        size: int,
        *,
        state_size: int | None = None,
        blocks: int = 1,
        reverse: bool = False,
        executor: Executor | str | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Initialises the parameters."""
        super().__init__(size, reverse=reverse, rngs=rngs)
        options: dict[str, Any] = {"param_dtype": param_dtype, "rngs": rngs}
        self.norm = nnx.LayerNorm(size, **options)
        cell = s5(size, state_size=state_size, blocks=blocks)
        self.recurrent = RNN(cell, size, executor=executor, **options)
        self.gate = nnx.Linear(size, size, **options)

    def initial_state(self, batch_shape: Sequence[int] = (), dtype: DTypeLike = jnp.float32) -> Any:
        """Returns the cell's initial state."""
        return self.recurrent.initial_state(batch_shape, dtype)

    def mix(self, xs, state, valid, resets):
        """Returns the outputs and the final state."""
        ys, _, state = self.recurrent.over_time(
            self.norm(xs), initial_state=state, mask=valid, resets=resets
        )
        ys = jax.nn.gelu(ys)
        return xs + ys * jax.nn.sigmoid(self.gate(ys)), state
