"""Gated DeltaNet: DeltaNet with a decay that the input sets."""

import dataclasses

import jax
import jax.numpy as jnp

from seqjax.cells._delta_net import delta_net
from seqjax.cells._initializers import fan_in_uniform, inverse_softplus, log_uniform
from seqjax.cells._operations import add_bias, affine


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class gated_delta_net(delta_net):
    """Gated DeltaNet; the memory of each head decays before it is corrected.

        a_t = exp(-A softplus(w_a x_t + b_a))        A > 0, one number a head
        S_t = a_t (I - b_t k_t k_t^T) S_{t-1} + b_t k_t v_t^T

    Everything else is as in `delta_net`. `A` starts uniform between 0 and 16, `b_a` such that the
    softplus at zero input is log-uniform between 0.001 and 0.1. Both stay in float32 under a
    narrower `dtype`.

    Differs from `delta_net` in `a_t`, which can clear the memory at once.

    Args:
      hidden_size: features of the output, `H`; each head has `K = V = H / heads`.
      heads: heads; by default one for 32 units, or one in all if 32 does not divide `H`.
      negative_eigenvalues: whether `b` lies between 0 and 2.

    Raises:
      ValueError: if `heads` does not divide `hidden_size`.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.gated_delta_net(4, heads=2, negative_eigenvalues=True)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, state.hidden.shape
      ((7, 2, 4), (2, 2, 2, 2))

    Reference: Yang, Kautz and Hatamizadeh (2024), Gated delta networks: improving Mamba2 with delta
    rule.
    """

    full_precision = ("decay_log", "step_bias")

    def init(self, key, in_size, dtype=jnp.float32):
        heads, keys = self.head_shape[0], jax.random.split(key, 4)
        shared = super().init(keys[3], in_size, dtype)
        own = {
            "decay_kernel": fan_in_uniform(keys[0], (in_size, heads)),
            "decay_log": jnp.log(jax.random.uniform(keys[1], (heads,), minval=1e-3, maxval=16)),
            "step_bias": inverse_softplus(log_uniform(keys[2], (heads,), 0.001, 0.1)),
        }
        return shared | jax.tree.map(lambda leaf: leaf.astype(dtype), own)

    def project(self, params, xs):
        """Returns `Writes`."""
        step = jax.nn.softplus(add_bias(affine(xs, params["decay_kernel"]), params["step_bias"]))
        scale = jnp.broadcast_to(jnp.exp(params["decay_log"]), step.shape).astype(step.dtype)
        return super().project(params, xs)._replace(log_decay=-(step * scale)[..., None])
