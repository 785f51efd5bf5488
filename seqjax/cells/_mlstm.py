"""The matrix LSTM of xLSTM: a matrix of keys and values as memory, and exponential gates."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqjax.cells._associative import AssociativeCell
from seqjax.cells._cell import batch_axes
from seqjax.cells._initializers import fan_in_uniform
from seqjax.cells._matrix import HeadedCell, Memory, Writes
from seqjax.cells._operations import affine, check_features, check_in_size
from seqjax.cells._product import split_heads


class MLSTMState(NamedTuple):
    """Memory `C` (*B, n, d, d), normaliser `n` (*B, n, d) and log scale `m` (*B, n) of `n` heads.

    `C` and `n` are `exp(m)` times smaller than in the equations without `m`.
    """

    memory: Array
    normaliser: Array
    stabiliser: Array


class MLSTMElement(NamedTuple):
    """Several steps: the sum of `log f`, and what they add to the state."""

    log_forget: Array
    added: MLSTMState


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class mlstm(HeadedCell, AssociativeCell):
    """The mLSTM cell; each head stores values under keys in a matrix.

        q_t = W_q x_t + b_q,    k_t = (W_k x_t + b_k) / sqrt(d),    v_t = W_v x_t + b_v
        m_t = max(log f_t + m_{t-1}, i~_t),    f_t = sigmoid(w_f x_t + b_f),    i~_t = w_i x_t + b_i
        C_t = exp(log f_t + m_{t-1} - m_t) C_{t-1} + exp(i~_t - m_t) k_t v_t^T
        n_t = exp(log f_t + m_{t-1} - m_t) n_{t-1} + exp(i~_t - m_t) k_t
        h_t = sigmoid(W_o x_t + b_o) * C_t^T q_t / max(|n_t^T q_t|, exp(-m_t))

    `m` keeps the exponentials in range and changes no output; it starts at minus infinity. `w_i`
    and `w_f` start at zero, `b_f` evenly from 3 to 6 over the heads, `b_i` at random near zero.
    The biases of the gates stay in float32 under a narrower `dtype`.

    Differs from `slstm`: no gate sees the state, so that steps run in parallel in time. `C` is the
    transpose of the paper's. Published kernels scale `q`, not `k`, by `1 / sqrt(d)`: the outputs
    are equal, the states are not.

    Args:
      hidden_size: features of the output, `H`; each head has `d = H / heads`.
      heads: heads; by default one for 32 units, or one in all if 32 does not divide `H`.

    Raises:
      ValueError: if `heads` does not divide `hidden_size`.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.mlstm(4, heads=2)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> run = jax.jit(seqjax.unroll, static_argnums=0)
      >>> ys, state = run(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, state.memory.shape
      ((7, 2, 4), (2, 2, 2, 2))

    Reference: Beck et al. (2024), xLSTM: extended long short-term memory.
    """

    full_precision = ("gate_bias",)

    def init(self, key, in_size, dtype=jnp.float32):
        check_in_size("mlstm", in_size)
        keys, (heads, _), units = jax.random.split(key, 3), self.head_shape, self.hidden_size
        bias = 0.1 * jax.random.normal(keys[2], (heads,)), jnp.linspace(3.0, 6.0, heads)
        params = {
            "input_kernel": fan_in_uniform(keys[0], (in_size, 2 * units)),  # k, v
            "input_bias": jnp.zeros(2 * units),
            "gate_kernel": jnp.zeros((in_size, 2 * heads)),  # i, f
            "gate_bias": jnp.concatenate(bias),
            "read_kernel": fan_in_uniform(keys[1], (in_size, 2 * units)),  # q, o
            "read_bias": jnp.zeros(2 * units),
        }
        return jax.tree.map(lambda leaf: leaf.astype(dtype), params)

    def initial_state(self, params, batch_shape=(), dtype=jnp.float32):
        heads, size = self.head_shape
        shape = *batch_axes("mlstm", batch_shape), heads
        memory, normaliser = (jnp.zeros((*shape, *rest), dtype) for rest in ((size, size), (size,)))
        return MLSTMState(memory, normaliser, jnp.full(shape, -jnp.inf, dtype))

    def project(self, params, xs):
        check_features("mlstm", xs, params["input_kernel"])
        stored = affine(xs, params["input_kernel"], params["input_bias"])
        key, value = jnp.split(stored, 2, axis=-1)
        return self.drive(key, value, affine(xs, params["gate_kernel"], params["gate_bias"]))

    def drive(self, key, value, gates):
        """Returns the drive of keys and values (..., H) and of the gates `i~, f~` (..., 2 n)."""
        (heads, size), (admit, forget) = self.head_shape, jnp.split(gates, 2, axis=-1)
        key, value = split_heads(key, heads) * size**-0.5, split_heads(value, heads)
        return key, value, admit, jax.nn.log_sigmoid(forget)

    def writes(self, params, xs):
        key, value, admit, log_forget = self.project(params, xs)
        # The normaliser is one more column of the memory.
        value = jnp.concatenate([value, jnp.ones_like(value[..., :1])], axis=-1)
        return Writes(key, value, log_forget[..., None], log_weight=admit[..., None])

    def element(self, drive):
        key, value, admit, log_forget = drive
        added = MLSTMState(key[..., :, None] * value[..., None, :], key, admit)
        return MLSTMElement(log_forget, added)

    def combine(self, left, right):
        return MLSTMElement(left.log_forget + right.log_forget, self.apply(right, left.added))

    def apply(self, element, state):
        kept, added = state.stabiliser + element.log_forget, element.added
        stabiliser = jnp.maximum(kept, added.stabiliser)
        old, new = jnp.exp(kept - stabiliser), jnp.exp(added.stabiliser - stabiliser)
        memory = old[..., None, None] * state.memory + new[..., None, None] * added.memory
        normaliser = old[..., None] * state.normaliser + new[..., None] * added.normaliser
        return MLSTMState(memory, normaliser, stabiliser)

    def query(self, params, xs):
        parts = affine(xs, params["read_kernel"], params["read_bias"])
        return split_heads(parts[..., : self.hidden_size], self.head_shape[0])

    def answer(self, params, found, xs):
        gate = affine(xs, params["read_kernel"], params["read_bias"])[..., self.hidden_size :]
        return jax.nn.sigmoid(gate) * self.normalised(found)

    def normalised(self, found):
        """Returns what the queries found, (..., H), divided by its weight."""
        matrix, scale = found
        value, weight = matrix[..., :-1], jnp.abs(matrix[..., -1:])
        # Bounded, since exp overflows before the first step, where m is minus infinity.
        least = jnp.exp(-jnp.clip(scale, -80, 80))
        value = value / jnp.maximum(weight, least)
        return value.reshape(*value.shape[:-2], self.hidden_size)

    def as_memory(self, state):
        columns = state.memory, state.normaliser[..., None]
        return Memory(jnp.concatenate(columns, axis=-1), state.stabiliser[..., None])

    def as_state(self, memory, state):
        matrix, scale = memory
        return MLSTMState(matrix[..., :-1], matrix[..., -1], scale[..., 0])  # pyright: ignore[reportOptionalSubscript]

    def output(self, params, states, xs):
        query = self.query(params, xs)
        value = jnp.einsum("...pkv,...pk->...pv", states.memory, query)
        weight = jnp.einsum("...pk,...pk->...p", states.normaliser, query)[..., None]
        found = jnp.concatenate([value, weight], axis=-1)
        return self.answer(params, Memory(found, states.stabiliser[..., None]), xs)
