"""The block of Mamba: a convolution and a selective state space between two projections."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from seqjax.cells._s6 import s6
from seqjax.executors._executor import Executor
from seqjax.nn._block import BlockState, ConvolvedBlock
from seqjax.nn._causal_conv import CausalConv
from seqjax.nn._recurrent import RNN


class MambaBlock(ConvolvedBlock):
    """The block of the Mamba network, around `seqjax.s6`.

        u, z = W norm(x)
        y = x + V (S6(silu(conv(u))) * silu(z))

    `norm` is an RMS norm. `conv` sees the last `window` valid inputs, one filter a feature. The
    norm and the residual connection, which the paper has between its blocks, are part of the block.

    Args:
      size: features of the input and of the output.
      expand: `u` and `z` have `expand * size` features.
      window: steps that the convolution sees.
      state_size: states of a feature, see `seqjax.s6`.
      rank: see `seqjax.s6`.
      reverse: whether to run sequences from their last valid step to their first.
      executor: how to run the cell in time, see `seqjax.unroll`.
      param_dtype: dtype of the parameters.
      rngs: provides the keys of the initialisers.

    The state is a tuple `(inputs, cell)`: the last inputs of the convolution, and the cell's state.

    Raises:
      ValueError: if a size is below 1.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> stack = seqjax.nn.Stack([seqjax.nn.MambaBlock(4, rngs=rngs) for _ in range(2)])
      >>> jax.jit(stack)(jnp.ones((2, 7, 4)), lengths=jnp.array([7, 3])).shape
      (2, 7, 4)

    Reference: Gu and Dao (2023), Mamba: linear-time sequence modeling with selective state spaces.
    """

    def __init__(
        self,
        size: int,
        *,
        expand: int = 2,
        window: int = 4,
        state_size: int = 16,
        rank: int | None = None,
        reverse: bool = False,
        executor: Executor | str | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Initialises the parameters."""
        super().__init__(size, reverse=reverse, rngs=rngs, expand=expand, window=window)
        self.inner_size, self.window = expand * size, window
        options: dict[str, Any] = {"param_dtype": param_dtype, "rngs": rngs}
        linear: dict[str, Any] = {"use_bias": False, "kernel_init": fan_in_uniform, **options}
        self.norm = nnx.RMSNorm(size, epsilon=1e-5, **options)
        self.expansion = nnx.Linear(size, 2 * self.inner_size, **linear)
        self.convolution = CausalConv(self.inner_size, window, **options)
        cell = s6(self.inner_size, state_size=state_size, rank=rank)
        self.recurrent = RNN(cell, self.inner_size, executor=executor, **options)
        self.contraction = nnx.Linear(self.inner_size, size, **linear)

    def mix(self, xs, state, valid, resets):
        """Returns the outputs and the final state."""
        seen, gate = jnp.split(self.expansion(self.norm(xs)), 2, axis=-1)
        seen, inputs = self.convolution(seen, state.inputs, valid, resets)
        ys, _, cell = self.recurrent.over_time(
            jax.nn.silu(seen), initial_state=state.cell, mask=valid, resets=resets
        )
        return xs + self.contraction(ys * jax.nn.silu(gate)), BlockState(inputs, cell)


fan_in_uniform = jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
