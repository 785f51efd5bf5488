"""UORO: an unbiased estimate of the influence, of rank one."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from seqjax.online._method import Method
from seqjax.online._step import Step, real_parts, to_vector

TINY = 1e-7


@dataclasses.dataclass(frozen=True)
class UORO(Method):
    """Unbiased online recurrent optimization: the influence as one random outer product.

    With random signs `v`, and numbers `a` and `b` that balance the norms,

        s~_t = a J_t s~_{t-1} + b v,    p~_t = p~_{t-1} / a + (v ds_t/dparams) / b

    The mean of `s~_t p~_t` over the signs is `P_t`. So the gradient is unbiased, and noisy. The
    trace has `N + p` numbers, and a step costs as much as a step of back-propagation. It applies to
    any cell. The learning rate must be small.

    The signs need a random key: `init(..., key=key)`, or `unroll(..., key=key)`.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.gru(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> def loss(params, key):
      ...     method, xs = seqjax.online.UORO(), jnp.ones((7, 2, 3))
      ...     return seqjax.unroll(cell, params, xs, executor=method, key=key)[0].sum()
      >>> jax.grad(loss)(params, jax.random.key(1)).bias.shape
      (12,)

    Reference: Tallec and Ollivier (2018), Unbiased online recurrent optimization.
    """

    needs_key: ClassVar[bool] = True

    def begin(self, step: Step, key: Array | None) -> Any:
        """Returns zeros for the parameters, and an estimate of the identity for the start."""
        vector = to_vector(step.state)
        signs = _signs(key, vector)
        zeros = [jnp.zeros(part.shape, vector.dtype) for part in real_parts(step.params)]
        return signs, (zeros, signs)

    def advance(self, step: Step, trace: Any, key: Array | None) -> Any:
        """Returns the estimate after a step, with new signs."""
        of_state, of_params = trace
        parts, vector = real_parts(step.params), to_vector(step.state)
        signs = _signs(key, vector)
        _, passed = jax.jvp(lambda vector: step.after(parts, vector), (vector,), (of_state,))
        _, pull = jax.vjp(lambda parts: step.after(parts, vector), parts)
        added = pull(signs)[0], jnp.zeros_like(vector)
        balance = jnp.sqrt((_norm(of_params) + TINY) / (_norm(passed) + TINY))
        own_balance = jnp.sqrt((_norm(added) + TINY) / (_norm(signs) + TINY))

        def next_part(old: Array, new: Array) -> Array:
            return old / balance + new.astype(old.dtype) / own_balance

        of_state = balance * passed + own_balance * signs
        return of_state, jax.tree.map(next_part, of_params, added)

    def pull(self, step: Step, trace: Any, d_state: Array) -> tuple[list[Array], Array]:
        """Returns the second factor times the gradient along the first."""
        of_state, of_params = trace
        along = d_state @ of_state
        return jax.tree.map(lambda part: along * part, of_params)


def _signs(key: Any, vector: Array) -> Array:
    return jax.random.rademacher(key, vector.shape, vector.dtype)


def _norm(tree: Any) -> Array:
    return jnp.sqrt(sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(tree)))
