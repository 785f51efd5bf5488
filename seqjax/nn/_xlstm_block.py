"""The two blocks of xLSTM: around the mLSTM, and around the sLSTM."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.sharding import PartitionSpec
from jax.typing import DTypeLike

from seqjax._checks import check_choice
from seqjax.cells._gated import GatedCell
from seqjax.cells._mlstm import mlstm
from seqjax.cells._operations import affine, normalised
from seqjax.cells._product import dense_kernel, split_heads
from seqjax.cells._slstm import slstm
from seqjax.executors._executor import Executor
from seqjax.nn._block import BlockState, ConvolvedBlock
from seqjax.nn._causal_conv import CausalConv
from seqjax.nn._recurrent import RNN

PROJECTION = 4  # features of a block of the projections to queries, keys and values


class XLSTMBlock(ConvolvedBlock):
    """A block of the xLSTM network, around `seqjax.mlstm` or `seqjax.slstm`.

    `kind="mlstm"` projects up before the recurrence, to `2 * size` features:

        u, z = W norm(x),    c = silu(conv(u)),    q = Q c,    k = K c,    v = V u
        y = x + D ((head_norm(mLSTM(q, k, v)) + s * c) * silu(z))

    `kind="slstm"` projects up after it, to `4/3 size` features:

        u = norm(x),    c = silu(conv(u)),    r = x + head_norm(sLSTM(c, u))
        a, b = W norm(r),    y = r + D (gelu(a) * b)

    Input and forget gate of the sLSTM see `c`, the two others `u`, by block-diagonal kernels.
    `conv` sees the last `window` valid inputs, one filter a feature. `head_norm` normalises each
    head. `Q`, `K` and `V` have blocks of 4 features; the gates of the mLSTM see `q`, `k` and `v`.

    Args:
      size: features of the input and of the output.
      kind: "mlstm" or "slstm".
      heads: heads of the cell.
      window: steps that the convolution sees.
      block_ratio: depth of the block in its network, from 0 to 1, see `seqjax.slstm`.
      depth: blocks of the network; `D` starts with standard deviation `2 / (depth sqrt(size))`.
      reverse: whether to run sequences from their last valid step to their first.
      executor: how to run the cell in time, see `seqjax.unroll`.
      param_dtype: dtype of the parameters.
      rngs: provides the keys of the initialisers.

    The state is a tuple `(inputs, cell)`: the last inputs of the convolution, and the cell's state.

    Raises:
      ValueError: if `kind` is unknown, a size is below 1, `heads` does not divide the features of
        the cell, or `size` is odd although `kind` is "mlstm".

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> kinds = ("mlstm", "slstm")
      >>> stack = seqjax.nn.Stack([seqjax.nn.XLSTMBlock(8, kind=k, rngs=rngs) for k in kinds])
      >>> jax.jit(stack)(jnp.ones((2, 7, 8)), lengths=jnp.array([7, 3])).shape
      (2, 7, 8)

    Reference: Beck et al. (2024), xLSTM: extended long short-term memory.
    """

    def __init__(
        self,
        size: int,
        *,
        kind: str = "mlstm",
        heads: int = 4,
        window: int = 4,
        block_ratio: float = 0.0,
        depth: int = 1,
        reverse: bool = False,
        executor: Executor | str | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Initialises the parameters."""
        where = "seqjax.nn.XLSTMBlock"
        super().__init__(size, reverse=reverse, rngs=rngs, heads=heads, window=window, depth=depth)
        check_choice(where, "kind", kind, ("mlstm", "slstm"))
        if kind == "mlstm" and 2 * size % PROJECTION:
            raise ValueError(f'{where}: with kind="mlstm", `size` must be even, got {size}.')
        self.kind, self.heads, self.window = kind, heads, window
        self.inner_size = inner = 2 * size if kind == "mlstm" else size
        options: dict[str, Any] = {"param_dtype": param_dtype, "rngs": rngs}
        small = jax.nn.initializers.normal((2 / (5 * size)) ** 0.5)
        wide = inner if kind == "mlstm" else -(-4 * size // 3)

        def norm() -> nnx.LayerNorm:
            return nnx.LayerNorm(size, use_bias=False, epsilon=1e-5, **options)

        def linear(rows: int, columns: int, init: Any) -> nnx.Linear:
            return nnx.Linear(rows, columns, use_bias=False, kernel_init=init, **options)

        self.norm = norm()
        self.convolution = CausalConv(inner, window, **options)
        self.head_gain = nnx.Param(jnp.ones(inner, param_dtype))
        self.expansion = linear(size, 2 * wide, small)
        self.contraction = linear(wide, size, jax.nn.initializers.normal(2 / (depth * size**0.5)))
        if kind == "mlstm":
            blocks = (3, inner // PROJECTION, PROJECTION, PROJECTION)
            self.projections = nnx.Param(small(rngs.params(), blocks, param_dtype))
            self.skip = nnx.Param(jnp.ones(inner, param_dtype))
            cell, seen = _Projected(inner, name="mlstm", heads=heads), 3 * inner
        else:
            self.second_norm = norm()
            published = vars(slstm(size, heads=heads, block_ratio=block_ratio, kernel_init=small))
            cell, seen = _TwoInputs(**published), 2 * size
        self.recurrent = RNN(cell, seen, executor=executor, **options)

    def mix(self, xs, state, valid, resets):
        """Returns the outputs and the final state."""
        seen, gate = self.norm(xs), None
        if self.kind == "mlstm":
            seen, gate = jnp.split(self.expansion(seen), 2, axis=-1)
        convolved, inputs = self.convolution(seen, state.inputs, valid, resets)
        convolved = jax.nn.silu(convolved)
        of_cell = convolved, seen
        if gate is not None:
            of_cell = map(_by_block, (convolved, *of_cell), self.projections[...])
        ys, _, cell = self.recurrent.over_time(
            jnp.concatenate([*of_cell], axis=-1),
            initial_state=state.cell,
            mask=valid,
            resets=resets,
        )
        lead = (None,) * (xs.ndim - 1)
        ys = normalised(split_heads(ys, self.heads), 1e-5).reshape(ys.shape)
        ys = ys * self.head_gain[...][lead]
        if gate is not None:
            ys = (ys + self.skip[...][lead] * convolved) * jax.nn.silu(gate)
            return xs + self.contraction(ys), BlockState(inputs, cell)
        xs = xs + ys
        gate, wide = jnp.split(self.expansion(self.second_norm(xs)), 2, axis=-1)
        wide = jax.nn.gelu(gate, approximate=False) * wide
        return xs + self.contraction(wide), BlockState(inputs, cell)


def _by_block(x: Array, kernel: Array) -> Array:
    """Returns the product of (..., N) and `n` blocks along a diagonal, (n, N / n, N / n)."""
    return jnp.einsum("...nd,nde->...ne", split_heads(x, len(kernel)), kernel).reshape(x.shape)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class _Projected(mlstm):
    """The mLSTM of queries, keys and values, (..., 3 H), which the block has projected."""

    def init(self, key, in_size, dtype=jnp.float32):
        gates = super().init(key, in_size, dtype)
        return {name: gates[name] for name in ("gate_kernel", "gate_bias")}

    def project(self, params, xs):
        _, key, value = jnp.split(xs, 3, axis=-1)
        return self.drive(key, value, affine(xs, params["gate_kernel"], params["gate_bias"]))

    def query(self, params, xs):
        return split_heads(jnp.split(xs, 3, axis=-1)[0], self.head_shape[0])

    def answer(self, params, found, xs):
        return self.normalised(found)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class _TwoInputs(GatedCell):
    """The sLSTM of two inputs, (..., 2 H): the first is for the first two gates.

    The input kernel has the blocks of the recurrent kernel, (n, H / n, 4 H / n).
    """

    def init(self, key, in_size, dtype=jnp.float32):
        params = super().init(key, in_size, dtype)
        shape = self.heads, self.hidden_size // self.heads, 4 * self.hidden_size // self.heads
        return params._replace(input_kernel=self.kernel_init(key, shape, dtype))

    def prepare(self, params, key=None):
        kernel = dense_kernel(params.input_kernel, 4)
        first = jnp.arange(4)[None, :, None] < 2
        kernels = [jnp.where(first, kernel, 0), jnp.where(first, 0, kernel)]
        return params._replace(input_kernel=jnp.concatenate(kernels).reshape(len(kernel) * 2, -1))

    def partition(self, params):
        return jax.tree.map(lambda _: PartitionSpec(), params)
