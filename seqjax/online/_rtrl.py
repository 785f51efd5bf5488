"""Real-time recurrent learning: the exact gradient, forwards in time."""

import dataclasses

from jax import Array

from seqjax.online._influence import acts_by_unit, by_block
from seqjax.online._step import Step, real_parts, to_vector
from seqjax.online._traced import Traced


@dataclasses.dataclass(frozen=True)
class RTRL(Traced):
    """Real-time recurrent learning: the exact gradient of one recurrent layer.

        P_t = J_t P_{t-1} + ds_t/dparams,    J_t = ds_t/ds_{t-1}

    It applies to any cell. With `N` numbers in the state and `p` parameters, a trace has `N p`
    numbers, and a step costs `N^2 p`. If the units do not see each other's state (a linear cell, or
    a gated cell without recurrent product such as `ind_rnn`), `J_t` is diagonal. A parameter that
    acts on one unit then has one number in the trace, so trace and step cost about `p`.

    Where the parameters change during a sequence, the trace mixes their old and new values. In a
    stack, only the top layer has the exact gradient.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.lstm(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> xs = jax.random.normal(jax.random.key(1), (7, 2, 3))
      >>> def loss(params, executor):
      ...     return seqjax.unroll(cell, params, xs, executor=executor)[0].sum()
      >>> online, full = (jax.grad(loss)(params, e) for e in (seqjax.online.RTRL(), "sequential"))
      >>> bool(jnp.allclose(online.input_kernel, full.input_kernel, atol=1e-5))
      True

    Reference: Williams and Zipser (1989), A learning algorithm for continually running fully
    recurrent neural networks; Zucchet et al. (2023), Online learning of long-range dependencies.
    """

    def by_unit(self, step: Step) -> bool:
        """Returns whether the Jacobian is diagonal."""
        return acts_by_unit(step.cell)

    def kept(self, step: Step, components: int) -> Array:
        """Returns the Jacobian."""
        return exact(step, components) if self.by_unit(step) else step.jacobian()[:, :, None]


def exact(step: Step, components: int) -> Array:
    """Returns the Jacobian of a step that acts by unit, (F, F, U)."""
    parts = real_parts(step.params)
    return by_block(lambda vector: step.after(parts, vector), to_vector(step.state), components)
