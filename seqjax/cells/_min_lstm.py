"""The minimal long short-term memory (minLSTM), linear in its state."""

import dataclasses

import jax
import jax.numpy as jnp

from seqjax.cells._initializers import glorot_uniform
from seqjax.cells._linear import LinearCell
from seqjax.cells._operations import affine, check_features, check_in_size


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class min_lstm(LinearCell):
    """The minimal LSTM; its two gates depend on the input alone and add up to 1.

        f_t = sigmoid(W_f x_t + b_f),          i_t = sigmoid(W_i x_t + b_i)
        h_t = f_t / (f_t + i_t) * h_{t-1} + i_t / (f_t + i_t) * (W_n x_t + b_n)

    Computed without the division: `f / (f + i) = sigmoid(log f - log i)`.

    Differs from `min_gru`: two gates share the weight, not one gate and its complement. Differs
    from `lstm`: there is no recurrent kernel, no output gate and no `tanh`, so the cell is linear
    in its state. The form of the paper that keeps the state positive is another function.

    Args:
      hidden_size: hidden units, `H`.
      forget_bias: initial `b_f`. The larger it is, the longer the memory.

    Raises:
      ValueError: if `hidden_size` is below 1.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.min_lstm(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape
      (7, 2, 4)

    Reference: Feng et al. (2024), Were RNNs all we needed?
    """

    forget_bias: float = 0.0
    full_precision, split = ("bias",), ("input_kernel",)

    def init(self, key, in_size, dtype=jnp.float32):
        check_in_size("min_lstm", in_size)
        shape = in_size, self.hidden_size
        kernels = [glorot_uniform(k, shape, dtype) for k in jax.random.split(key, 3)]
        bias = jnp.zeros(3 * self.hidden_size, dtype).at[: self.hidden_size].set(self.forget_bias)
        return {"input_kernel": jnp.concatenate(kernels, axis=-1), "bias": bias}

    def coefficients(self, params, xs):  # pyright: ignore[reportIncompatibleMethodOverride]
        check_features("min_lstm", xs, params["input_kernel"])
        gates = affine(xs, params["input_kernel"], params["bias"])
        forget, admit, candidate = jnp.split(gates, 3, axis=-1)
        odds = jax.nn.log_sigmoid(forget) - jax.nn.log_sigmoid(admit)
        return jax.nn.sigmoid(odds), jax.nn.sigmoid(-odds) * candidate
