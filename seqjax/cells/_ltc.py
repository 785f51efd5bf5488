"""The liquid time-constant network: neurons with synapses of their own, and a solver."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from seqjax._checks import check_sizes
from seqjax.cells._cell import Cell, HiddenState, batch_axes
from seqjax.cells._cfc import split_time
from seqjax.cells._initializers import inverse_softplus

SYNAPSE = "weight", "slope", "centre", "reversal"
POSITIVE = "capacity", "leak", "weight", "input_weight"
# Ranges of the initial values; of a reversal potential, only the sign counts.
RANGES = {"capacity": (0.4, 0.6), "leak": (0.001, 1.0), "leak_potential": (-0.2, 0.2)}
RANGES |= {"weight": (0.001, 1.0), "slope": (3.0, 8.0), "centre": (0.3, 0.8), "reversal": (-1, 1)}


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ltc(Cell):
    """The liquid time-constant network; every neuron is connected with every other.

        c_j h'_j = g_j (l_j - h_j) + sum_i f_ij (E_ij - h_j)
        f_ij = w_ij sigmoid(s_ij (u_i - m_ij))

    The sum is over the neurons, `u = h`, and over the features of the input, `u = x`, each with
    synapses of its own. `h` are potentials, `c` capacities, `g` and `l` leaks; `E > 0` for a
    synapse that excites. A step of `dt` is `unfolds` implicit steps of `d = dt / unfolds`:

        h_j <- (c_j h_j + d (g_j l_j + sum_i f_ij E_ij)) / (c_j + d (g_j + sum_i f_ij))

    `w`, `c` and `g` are the softplus of their parameters, so that they are positive. `c` and `g`
    stay in float32 under a narrower `dtype`.

    Differs from `leaky_rnn`: the time constant of a neuron depends on input and state. Each unfold
    costs `H^2` sigmoids; `cfc` needs no solver. Published code also has sparse wirings and maps.

    Args:
      hidden_size: neurons, `H`.
      unfolds: implicit steps of a step.
      timed: whether the last feature of the input is `dt`; 1 otherwise.

    Raises:
      ValueError: if a size is below 1, or `timed` and in_size is below 2.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.ltc(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, params["weight"].shape, params["input_weight"].shape
      ((7, 2, 4), (4, 4), (3, 4))

    Reference: Hasani et al. (2021), Liquid time-constant networks; Lechner et al. (2020), Neural
    circuit policies enabling auditable autonomy.
    """

    unfolds: int = 6
    timed: bool = False
    full_precision = "capacity", "leak"

    def __post_init__(self):
        super().__post_init__()
        check_sizes("seqjax.ltc", unfolds=self.unfolds)

    def init(self, key, in_size, dtype=jnp.float32):
        check_sizes("seqjax ltc.init", at_least=1 + self.timed, in_size=in_size)
        size, params = self.hidden_size, {}
        draws = [(name, RANGES[name], (size,)) for name in ("capacity", "leak", "leak_potential")]
        for kind, rows in (("", size), ("input_", in_size - self.timed)):
            draws += [(kind + name, RANGES[name], (rows, size)) for name in SYNAPSE]
        for each, (name, (low, high), shape) in zip(jax.random.split(key, 11), draws, strict=True):
            value = jax.random.uniform(each, shape, minval=low, maxval=high)
            value = jnp.sign(value) if name.endswith("reversal") else value
            params[name] = (inverse_softplus(value) if name in POSITIVE else value).astype(dtype)
        return params

    def initial_state(self, params, batch_shape=(), dtype=jnp.float32):
        return HiddenState(jnp.zeros((*batch_axes("ltc", batch_shape), self.hidden_size), dtype))

    def prepare(self, params):
        return params | {name: jax.nn.softplus(params[name]) for name in POSITIVE}

    def project(self, params, xs):
        xs, time = split_time("ltc", xs, params["input_weight"], self.timed)
        xs = xs.astype(jnp.promote_types(xs.dtype, jnp.float32))
        return *_synapses(params, "input_", xs), time / self.unfolds

    def step(self, params, state, drive):
        (given, admitted, time), lead = drive, (None,) * (state.hidden.ndim - 1)
        capacity, leak, rest = (params[n][lead] for n in ("capacity", "leak", "leak_potential"))

        h = state.hidden
        for _ in range(self.unfolds):
            current, conductance = _synapses(params, "", h)
            above = capacity * h + time * (leak * rest + given + current)
            h = above / (capacity + time * (leak + admitted + conductance))
        return HiddenState(h)


# Computed again in the backward pass: kept, N numbers for each neuron and unfold fill the memory.
@functools.partial(jax.checkpoint, static_argnums=1)
def _synapses(params, kind, sources):
    """Returns the current that sources (..., N) send to each neuron, and their conductance."""
    lead = (None,) * (sources.ndim - 1)
    weight, slope, centre, reversal = (params[kind + name][lead] for name in SYNAPSE)
    conductance = weight * jax.nn.sigmoid(slope * (sources[..., None] - centre))
    return (conductance * reversal).sum(axis=-2), conductance.sum(axis=-2)
