"""Gated linear attention: a matrix a head, with one decay for each feature of the key."""

import dataclasses

import jax
import jax.numpy as jnp

from seqjax._checks import check_sizes
from seqjax.cells._initializers import fan_in_uniform
from seqjax.cells._linear import LinearCell
from seqjax.cells._matrix import HeadedCell, Writes
from seqjax.cells._operations import add_bias, affine, check_features, check_in_size
from seqjax.cells._product import split_heads


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class gla(HeadedCell, LinearCell):
    """Gated linear attention; a matrix is the state of each head.

        a_t = sigmoid(W_2 W_1 x_t + b)^(1 / temperature)
        q_t = W_q x_t / sqrt(K),     k_t = W_k x_t,     v_t = W_v x_t
        S_t = diag(a_t) S_{t-1} + k_t v_t^T             S of shape (K, V)
        y_t = S_t^T q_t

    The outputs of the heads are concatenated. `b` stays in float32 under a narrower `dtype`.

    Differs from `mamba2`, whose heads have one decay each. Differs from `delta_net`, which corrects
    what it has stored under a key. The norm and the gate of the paper's layer are not part of it.

    Args:
      hidden_size: features of the output, `H`; each head has `V = H / heads`.
      heads: heads; by default one for 32 units, or one in all if 32 does not divide `H`.
      key_size: features of a head's key, `K`; by default half of `V`, rounded up.
      rank: rank of `W_2 W_1`.
      temperature: the larger it is, the longer the memory at the start.

    Raises:
      ValueError: if `heads` does not divide `hidden_size`, or another argument is not positive.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.gla(4, heads=2, key_size=3)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> run = jax.jit(seqjax.unroll, static_argnums=0)
      >>> ys, state = run(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, state.hidden.shape
      ((7, 2, 4), (2, 2, 3, 2))

    Reference: Yang et al. (2024), Gated linear attention transformers with hardware-efficient
    training.
    """

    key_size: int | None = None
    rank: int = 16
    temperature: float = 16.0
    full_precision = ("decay_bias",)

    def __post_init__(self):
        super().__post_init__()
        check_sizes("seqjax.gla", key_size=self.state_shape[1], rank=self.rank)
        if not self.temperature > 0:
            raise ValueError(f"seqjax.gla: `temperature` must be above 0, got {self.temperature}.")

    @property
    def state_shape(self):
        heads, value_size = self.head_shape
        key_size = (value_size + 1) // 2 if self.key_size is None else self.key_size
        return heads, key_size, value_size

    def init(self, key, in_size, dtype=jnp.float32):
        check_in_size("gla", in_size)
        heads, size, _ = self.state_shape
        keys, size = jax.random.split(key, 4), heads * size
        params = {
            "input_kernel": fan_in_uniform(keys[0], (in_size, size + self.hidden_size)),  # k, v
            "read_kernel": fan_in_uniform(keys[1], (in_size, size)),
            "decay_in_kernel": fan_in_uniform(keys[2], (in_size, self.rank)),
            "decay_out_kernel": fan_in_uniform(keys[3], (self.rank, size)),
            "decay_bias": jnp.zeros(size),
        }
        return jax.tree.map(lambda leaf: leaf.astype(dtype), params)

    def writes(self, params, xs):
        check_features("gla", xs, params["input_kernel"])
        low = affine(affine(xs, params["decay_in_kernel"]), params["decay_out_kernel"])
        decay = jax.nn.log_sigmoid(add_bias(low, params["decay_bias"])) / self.temperature
        parts = affine(xs, params["input_kernel"])
        key, value = jnp.split(parts, [decay.shape[-1]], axis=-1)
        return Writes(*(split_heads(x, self.state_shape[0]) for x in (key, value, decay)))

    def query(self, params, xs):
        heads, size, _ = self.state_shape
        return split_heads(affine(xs, params["read_kernel"]), heads) * size**-0.5

    def coefficients(self, params, xs):  # pyright: ignore[reportIncompatibleMethodOverride]
        writes = self.writes(params, xs)
        return jnp.exp(writes.log_decay), writes.key[..., None] * writes.value[..., None, :]

    def output(self, params, states, xs):
        ys = jnp.einsum("...pkv,...pk->...pv", states.hidden, self.query(params, xs))
        return ys.reshape(*xs.shape[:-1], self.hidden_size)
