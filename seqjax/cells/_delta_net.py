"""DeltaNet: a matrix as memory, in which a key's value is corrected rather than added."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqjax.cells._associative import AssociativeCell
from seqjax.cells._cell import HiddenState, batch_axes
from seqjax.cells._initializers import fan_in_uniform
from seqjax.cells._matrix import HeadedCell, Writes
from seqjax.cells._operations import affine, check_features, check_in_size
from seqjax.cells._product import split_heads


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class delta_net(HeadedCell, AssociativeCell):
    """DeltaNet; each head moves the value stored under a key towards a new one.

        q_t = silu(W_q x_t) / |silu(W_q x_t)|
        k_t = silu(W_k x_t) / |silu(W_k x_t)|,    v_t = silu(W_v x_t)
        b_t = sigmoid(w_b x_t)
        S_t = (I - b_t k_t k_t^T) S_{t-1} + b_t k_t v_t^T        S of shape (K, V), K = V
        y_t = S_t^T q_t / sqrt(K)

    With `negative_eigenvalues`, `b_t = 2 sigmoid(w_b x_t)`. The step's matrix then has an
    eigenvalue between -1 and 1, not between 0 and 1, and one layer can count modulo 2.

    Differs from `gla` and `mlstm`, which add to their memory whatever it holds. Of the layer of the
    paper, its convolutions and its norm are not part of the cell.

    Args:
      hidden_size: features of the output, `H`; each head has `K = V = H / heads`.
      heads: heads; by default one for 32 units, or one in all if 32 does not divide `H`.
      negative_eigenvalues: whether `b` lies between 0 and 2.

    Raises:
      ValueError: if `heads` does not divide `hidden_size`.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.delta_net(4, heads=2)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> run = jax.jit(seqjax.unroll, static_argnums=0)
      >>> ys, state = run(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, state.hidden.shape
      ((7, 2, 4), (2, 2, 2, 2))

    Reference: Yang et al. (2024), Parallelizing linear transformers with the delta rule over
    sequence length; Grazzi et al. (2024), Unlocking state-tracking in linear RNNs through negative
    eigenvalues.
    """

    negative_eigenvalues: bool = False

    def init(self, key, in_size, dtype=jnp.float32):
        check_in_size(self.name, in_size)
        keys, units = jax.random.split(key), self.hidden_size
        params = {
            "input_kernel": fan_in_uniform(keys[0], (in_size, 2 * units + self.head_shape[0])),
            "read_kernel": fan_in_uniform(keys[1], (in_size, units)),
        }
        return jax.tree.map(lambda leaf: leaf.astype(dtype), params)

    def initial_state(self, params, batch_shape=(), dtype=jnp.float32):
        heads, size = self.head_shape
        return HiddenState(
            jnp.zeros((*batch_axes(self.name, batch_shape), heads, size, size), dtype)
        )

    def project(self, params, xs):
        """Returns `Writes` with a decay of 1."""
        check_features(self.name, xs, params["input_kernel"])
        places = [self.hidden_size, 2 * self.hidden_size]
        key, value, rate = jnp.split(affine(xs, params["input_kernel"]), places, axis=-1)
        key, value = (split_heads(jax.nn.silu(x), self.head_shape[0]) for x in (key, value))
        rate = jax.nn.sigmoid(rate) * (2 if self.negative_eigenvalues else 1)
        return Writes(_unit(key), value, jnp.zeros_like(rate)[..., None], rate)

    def writes(self, params, xs):
        return self.project(params, xs)

    def query(self, params, xs):
        heads, size = self.head_shape
        query = split_heads(affine(xs, params["read_kernel"]), heads)
        return _unit(jax.nn.silu(query)) * size**-0.5

    def step(self, params, state, drive):
        key, value, log_decay, rate, *_ = drive
        memory = jnp.exp(log_decay)[..., None] * state.hidden
        found = jnp.einsum("...k,...kv->...v", key, memory, precision=lax.Precision.HIGHEST)
        change = rate[..., None] * (value - found)
        return HiddenState(memory + key[..., :, None] * change[..., None, :])

    def element(self, drive):
        """Returns `(A, B)` of `S_t = A S_{t-1} + B`."""
        key, value, log_decay, rate, *_ = drive
        scaled = rate[..., None] * key
        turned = scaled[..., :, None] * key[..., None, :]
        turned = jnp.broadcast_to(jnp.eye(key.shape[-1]), turned.shape) - turned
        return jnp.exp(log_decay)[..., None] * turned, scaled[..., :, None] * value[..., None, :]

    def combine(self, left, right):
        (a, b), (a_right, b_right) = left, right
        return _product(a_right, a), _product(a_right, b) + b_right

    def apply(self, element, state):
        a, b = element
        return HiddenState(_product(a, state.hidden) + b)

    def output(self, params, states, xs):
        ys = jnp.einsum("...pkv,...pk->...pv", states.hidden, self.query(params, xs))
        return ys.reshape(*xs.shape[:-1], self.hidden_size)


def _product(a: Array, b: Array) -> Array:
    # Long products of matrices: the default precision of accelerators is too low for them.
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _unit(x: Array) -> Array:
    """Returns `x` divided by its length along the last axis."""
    return x * lax.rsqrt((x**2).sum(axis=-1, keepdims=True) + 1e-6)
