"""The antisymmetric recurrent network: a stable differential equation, discretised."""

import dataclasses

import jax.numpy as jnp
from jax import Array
from jax.nn import sigmoid

from seqjax.cells._cell import HiddenState
from seqjax.cells._gated import GatedCell
from seqjax.cells._initializers import normal
from seqjax.cells._operations import bind


def antisymmetric_rnn(
    hidden_size: int,
    *,
    step_size: float = 0.1,
    damping: float = 0.1,
    recurrent_scale: float = 1.0,
    gated: bool = False,
) -> GatedCell:
    """Makes the antisymmetric network, one Euler step of `h' = tanh(A h + W x + b)`.

        A   = M - M^T - damping I
        h_t = h_{t-1} + step_size z_t * tanh(A h_{t-1} + W x_t + b)
        z_t = 1                                             plain
        z_t = sigmoid(A h_{t-1} + W_z x_t + b_z)            gated

    The eigenvalues of the antisymmetric `M - M^T` are imaginary: the equation neither amplifies
    nor forgets. Euler's step amplifies a little; the damping makes up for it.

    Differs from `elman`: `h` moves by small steps, and the recurrent kernel is made of `M` once per
    run. The gate uses the same `A` as the candidate, so it costs parameters for the input alone.

    Args:
      hidden_size: hidden units, `H`.
      step_size: size of the Euler step, above 0. The paper tries 0.01, 0.1 and 1.
      damping: diffusion `gamma`, at least 0. The paper tries values from 0.001 to 1.
      recurrent_scale: `s` of the initial `M ~ N(0, s^2 / H)`. The paper tries values from 0 to 16.
      gated: whether `z_t` is a gate.

    Returns:
      The cell. Its state is `HiddenState(hidden)`; its parameters are `GatedParams`, with the
      transpose of `M` as `recurrent_kernel`.

    Raises:
      ValueError: if `hidden_size` is below 1, `step_size` is not above 0, or `damping` or
        `recurrent_scale` is negative.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.antisymmetric_rnn(4, damping=0.0)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> bool((cell.prepare(params).recurrent_kernel.diagonal() == 0).all())
      True

    Reference: Chang et al. (2019), AntisymmetricRNN: a dynamical system view on recurrent neural
    networks.
    """
    if not (step_size > 0 and damping >= 0 and recurrent_scale >= 0):
        raise ValueError(
            "seqjax.antisymmetric_rnn: `step_size` must be above 0, `damping` and "
            f"`recurrent_scale` at least 0, got {step_size}, {damping} and {recurrent_scale}."
        )
    return _AntisymmetricRNN(
        hidden_size,
        name="antisymmetric_rnn",
        gates=("gate", "candidate") if gated else ("candidate",),
        update=bind(_update, step_size=step_size),
        kernel_init=bind(_by_rows, scale=1.0),
        recurrent_init=bind(_by_rows, scale=recurrent_scale),
        damping=damping,
    )


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class _AntisymmetricRNN(GatedCell):
    damping: float

    def init(self, key, in_size, dtype=jnp.float32):
        params, size = super().init(key, in_size, dtype), self.hidden_size
        kernel = params.recurrent_kernel[:, :size]  # pyright: ignore[reportOptionalSubscript]
        return params._replace(recurrent_kernel=kernel)

    def prepare(self, params, key=None):
        kernel, size = params.recurrent_kernel, self.hidden_size
        kernel = kernel - kernel.T - self.damping * jnp.eye(size, dtype=kernel.dtype)
        return params._replace(recurrent_kernel=jnp.tile(kernel, (1, len(self.gates))))


def _update(state, candidate, gate=None, *, step_size) -> HiddenState:
    z = 1 if gate is None else sigmoid(gate)
    return HiddenState(state.hidden + step_size * z * jnp.tanh(candidate))


def _by_rows(key, shape, dtype=jnp.float32, *, scale: float) -> Array:
    return normal(key, shape, dtype, scale=scale * shape[0] ** -0.5)
