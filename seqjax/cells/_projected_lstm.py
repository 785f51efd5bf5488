"""The LSTM with a projection: many numbers are remembered, few recur."""

import dataclasses

import jax
import jax.numpy as jnp

from seqjax._checks import check_sizes
from seqjax.cells._gated import GatedCell
from seqjax.cells._initializers import glorot_uniform
from seqjax.cells._lstm import lstm
from seqjax.cells._operations import affine


def projected_lstm(
    hidden_size: int,
    *,
    memory_size: int | None = None,
    forget_bias: float = 1.0,
    max_timescale: float | None = None,
    learned_initial_state: bool = False,
) -> GatedCell:
    """Makes the LSTM whose output is a projection of more numbers, and is all that recurs.

        i_t, f_t, o_t = sigmoid(W x_t + R h_{t-1} + b)      with W, R and b of their own
        c_t = f_t * c_{t-1} + i_t * tanh(W_g x_t + R_g h_{t-1} + b_g)
        m_t = o_t * tanh(c_t)
        h_t = P m_t                                         the output

    In terms of `m` this is an LSTM with the recurrent kernels `R P`. It runs as one: `P` is applied
    to the states of all steps at once, afterwards.

    Differs from `lstm` in `P`, (H, M): the memory has `M` numbers, and `R` is (M, H). Differs from
    the paper: no peepholes, and no second projection that does not recur. It is PyTorch's LSTM
    with its `hidden_size` `M` and its `proj_size` `H`.

    Args:
      hidden_size: features of the output, `H`.
      memory_size: memory cells, `M`, at least `H`; by default `4 * H`. `cell.hidden_size` is `M`,
        and `cell.out_size` is `H`.

    The other arguments are those of `lstm`.

    Returns:
      The cell. Its state is `LSTMState(hidden, cell)` with `m` as `hidden`, which is also what the
      functions of `seqjax.transforms` change; its parameters are `GatedParams`, with the transpose
      of `P` as `extra["projection"]`.

    Raises:
      ValueError: if `hidden_size` is below 1, `memory_size` is below `hidden_size`, or
        `max_timescale` is not above 2.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.projected_lstm(2, memory_size=8)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 5, 3)))
      >>> ys.shape, state.cell.shape, params.recurrent_kernel.shape
      ((7, 5, 2), (5, 8), (2, 32))

    Reference: Sak, Senior and Beaufays (2014), Long short-term memory based recurrent neural
    network architectures for large vocabulary speech recognition.
    """
    check_sizes("seqjax.projected_lstm", hidden_size=hidden_size)
    size = 4 * hidden_size if memory_size is None else memory_size
    check_sizes("seqjax.projected_lstm", at_least=hidden_size, memory_size=size)
    options = {"max_timescale": max_timescale, "learned_initial_state": learned_initial_state}
    unprojected = vars(lstm(size, forget_bias=forget_bias, **options))
    return _ProjectedLSTM(**unprojected | {"name": "projected_lstm", "features": hidden_size})


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class _ProjectedLSTM(GatedCell):
    features: int

    def __repr__(self):
        return f"{self.name}({self.features})"

    @property
    def out_size(self):
        return self.features

    def init(self, key, in_size, dtype=jnp.float32):
        params, shape = super().init(key, in_size, dtype), (self.hidden_size, self.features)
        projection = glorot_uniform(jax.random.fold_in(key, 1), shape, dtype)
        kernel = params.recurrent_kernel[: shape[1]]  # pyright: ignore[reportOptionalSubscript]
        return params._replace(recurrent_kernel=kernel, extra={"projection": projection})

    def prepare(self, params, key=None):
        kernel = affine(params.extra["projection"], params.recurrent_kernel)  # pyright: ignore[reportOptionalSubscript]
        return params._replace(recurrent_kernel=kernel)

    def output(self, params, states, xs):
        return affine(states.hidden, params.extra["projection"])
