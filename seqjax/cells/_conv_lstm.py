"""The convolutional LSTM: a state with height, width and channels."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax import lax

from seqjax._checks import check_sizes
from seqjax.cells._cell import Cell, batch_axes
from seqjax.cells._initializers import glorot_uniform
from seqjax.cells._lstm import LSTMState
from seqjax.cells._operations import add_bias, check_in_size


def conv_lstm(
    hidden_size: tuple[int, int, int], *, kernel_size: int = 3, peepholes: bool = True
) -> Cell:
    """Makes the long short-term memory cell with convolutions in place of products.

        i_t = sigmoid(W_i ** x_t + R_i ** h_{t-1} + p_i * c_{t-1} + b_i)      input gate
        f_t = sigmoid(W_f ** x_t + R_f ** h_{t-1} + p_f * c_{t-1} + b_f)      forget gate
        c_t = f_t * c_{t-1} + i_t * tanh(W_g ** x_t + R_g ** h_{t-1} + b_g)
        o_t = sigmoid(W_o ** x_t + R_o ** h_{t-1} + p_o * c_t + b_o)          output gate
        h_t = o_t * tanh(c_t)

    `**` is a convolution over height and width, with zeros around the edges. `x`, `h` and `c` have
    height, width and channels; the peepholes `p` have a weight for each place and channel. They
    start at 0, `b_f` at 1.

    Differs from `peephole_lstm`: the input of `seqjax.unroll` is (T, *B, height, width, D), and
    `init` takes the channels `D`. Layers of `seqjax.nn` and experiments take vectors, so they
    refuse the cell. Keras and Flax have no peepholes.

    Args:
      hidden_size: height, width and channels of the state, `(height, width, H)`.
      kernel_size: height and width of the kernels.
      peepholes: whether the gates see the memory.

    Returns:
      The cell. Its state is `LSTMState(hidden, cell)`, each (*B, height, width, H); its parameters
      are a dict.

    Raises:
      ValueError: if `hidden_size` is not three sizes, or a size is below 1.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.conv_lstm((5, 6, 4))
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 5, 6, 3)))
      >>> ys.shape, params["input_kernel"].shape
      ((7, 2, 5, 6, 4), (3, 3, 3, 16))

    Reference: Shi et al. (2015), Convolutional LSTM network: a machine learning approach for
    precipitation nowcasting.
    """
    where = "seqjax.conv_lstm"
    if not isinstance(hidden_size, tuple | list) or len(hidden_size) != 3:
        raise ValueError(
            f"{where}: `hidden_size` must be (height, width, channels), got {hidden_size!r}."
        )
    height, width, channels = hidden_size
    sizes = {"height": height, "width": width, "channels": channels, "kernel_size": kernel_size}
    check_sizes(where, **sizes)
    space = (height, width)
    return _ConvLSTM(channels, name="conv_lstm", space=space, window=kernel_size, peeps=peepholes)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class _ConvLSTM(Cell):
    space: tuple[int, int]
    window: int
    peeps: bool

    def __repr__(self):
        return f"conv_lstm({(*self.space, self.hidden_size)})"

    @property
    def input_shape(self):
        return self.space

    def init(self, key, in_size, dtype=jnp.float32):
        check_in_size("conv_lstm", in_size)
        size, keys = self.hidden_size, jax.random.split(key, 8)

        def blocks(keys, channels):
            shape = (self.window, self.window, channels, size)
            return jnp.concatenate([glorot_uniform(each, shape, dtype) for each in keys], axis=-1)

        params = {"input_kernel": blocks(keys[:4], in_size)}
        params["recurrent_kernel"] = blocks(keys[4:], size)
        params["bias"] = jnp.zeros(4 * size, dtype).at[size : 2 * size].set(1)  # i, f, g, o
        if self.peeps:
            params["peepholes"] = jnp.zeros((3, *self.space, size), dtype)  # i, f, o
        return params

    def initial_state(self, params, batch_shape=(), dtype=jnp.float32):
        shape = (*batch_axes("conv_lstm", batch_shape), *self.space, self.hidden_size)
        return LSTMState(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))

    def project(self, params, xs):
        gates = _convolved(xs, params["input_kernel"])
        return add_bias(gates, params["bias"])

    def step(self, params, state, drive):
        gates, c = drive + _convolved(state.hidden, params["recurrent_kernel"]), state.cell
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        p_i = p_f = p_o = 0.0
        if self.peeps:
            lead = (None,) * (c.ndim - 3)
            p_i, p_f, p_o = (each[lead] for each in params["peepholes"])
        c = jax.nn.sigmoid(f + p_f * c) * c + jax.nn.sigmoid(i + p_i * c) * jnp.tanh(g)
        return LSTMState(jax.nn.sigmoid(o + p_o * c) * jnp.tanh(c), c)


def _convolved(x, kernel):
    """Returns the convolution of (..., height, width, D) and (k, k, D, N), in float32 or wider."""
    images = x.reshape(math.prod(x.shape[:-3]), *x.shape[-3:]).astype(kernel.dtype)
    layout = ("NHWC", "HWIO", "NHWC")
    ys = lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=layout)
    ys = ys.reshape(*x.shape[:-1], kernel.shape[-1])
    return ys.astype(jnp.promote_types(kernel.dtype, jnp.float32))
