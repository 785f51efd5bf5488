"""The quasi-recurrent network: gates from a window of inputs, and a pooling that is linear."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqjax._checks import check_sizes
from seqjax.cells._associative import AssociativeCell
from seqjax.cells._cell import batch_axes
from seqjax.cells._initializers import glorot_uniform
from seqjax.cells._operations import affine, check_features, check_in_size


class QRNNState(NamedTuple):
    """Output `h` and memory `c`, each (*B, H), and what past inputs add to the next gates.

    `pending` has shape (*B, window - 1, 3, H): for each of the next steps, for each gate.
    """

    hidden: Array
    cell: Array
    pending: Array


class QRNNElement(NamedTuple):
    """Several steps: the first `window - 1` wait for earlier inputs, the others are `a c + b`.

    Attributes:
      length: steps, at most `window`.
      waiting: gates of the first steps, from the inputs of these steps, (..., window - 1, 3, H).
      decay: `a` of the other steps.
      added: `b` of the other steps.
      read: the output gate of the last step, from the inputs of these steps.
      pending: what these inputs add to the gates of later steps.
    """

    length: Array
    waiting: Array
    decay: Array
    added: Array
    read: Array
    pending: Array


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class qrnn(AssociativeCell):
    """The quasi-recurrent network with fo-pooling.

        z~_t, f~_t, o~_t = sum_j W^j x_{t-j} + b        j = 0 ... window - 1, zeros before the start
        c_t = sigmoid(f~_t) * c_{t-1} + (1 - sigmoid(f~_t)) * tanh(z~_t)
        h_t = sigmoid(o~_t) * c_t

    The window holds the last valid inputs since the start or the last reset. It is part of the
    state, as the sums that past inputs add to later gates, so two calls that carry the state over
    equal one call.

    Differs from `lstm`: gates see inputs, not the state. Differs from `min_gru`, which has no
    window, no `tanh` and no output gate. Published code writes `1 - f` for `f`.

    Args:
      hidden_size: hidden units, `H`.
      window: inputs that the gates see.

    Raises:
      ValueError: if `window` is below 1.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.qrnn(4, window=3)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, state.pending.shape
      ((7, 2, 4), (2, 2, 3, 4))

    Reference: Bradbury et al. (2017), Quasi-recurrent neural networks.
    """

    window: int = 2
    full_precision = ("bias",)

    def __post_init__(self):
        super().__post_init__()
        check_sizes("seqjax.qrnn", window=self.window)

    def init(self, key, in_size, dtype=jnp.float32):
        check_in_size("qrnn", in_size)
        keys = jax.random.split(key, 3 * self.window)  # by distance, the newest first; then z, f, o
        kernels = [glorot_uniform(k, (in_size, self.hidden_size), dtype) for k in keys]
        bias = jnp.zeros(3 * self.hidden_size, dtype)
        return {"input_kernel": jnp.concatenate(kernels, axis=-1), "bias": bias}

    def initial_state(self, params, batch_shape=(), dtype=jnp.float32):
        shape, units = batch_axes("qrnn", batch_shape), self.hidden_size
        zeros = jnp.zeros((*shape, units), dtype)
        return QRNNState(zeros, zeros, jnp.zeros((*shape, self.window - 1, 3, units), dtype))

    def project(self, params, xs):
        """Returns what inputs add to the gates of their step, (..., 3, H), and of later steps."""
        check_features("qrnn", xs, params["input_kernel"])
        parts = affine(xs, params["input_kernel"])
        parts = parts.reshape(*xs.shape[:-1], self.window, 3, self.hidden_size)
        bias = params["bias"].reshape(3, -1).astype(parts.dtype)
        now = parts[..., 0, :, :]
        return now + jnp.broadcast_to(bias, now.shape), parts[..., 1:, :, :]

    def step(self, params, state, drive):
        now, later = drive
        if self.window > 1:
            now = now + state.pending[..., 0, :, :]
        decay, added = _pooling(now)
        cell = decay * state.cell + added
        hidden = jax.nn.sigmoid(now[..., 2, :]) * cell
        return QRNNState(hidden, cell, later + _after(state.pending, 1))

    def element(self, drive):
        now, later = drive
        length = jnp.ones(now.shape[:-2], jnp.int32)
        decay, added = jnp.ones_like(now[..., 0, :]), jnp.zeros_like(now[..., 0, :])
        if self.window == 1:
            decay, added = _pooling(now)
        waiting = jnp.concatenate([now[..., None, :, :], jnp.zeros_like(later)], axis=-3)
        waiting = waiting[..., : self.window - 1, :, :]
        return QRNNElement(length, waiting, decay, added, now[..., 2, :], later)

    def combine(self, left, right):
        waiting, decay, added, read = left.waiting, left.decay, left.added, right.read
        pending = right.pending
        for step in range(self.window - 1):  # of the steps on the right that wait
            gates = right.waiting[..., step, :, :] + left.pending[..., step, :, :]
            here, place = step < right.length, left.length + step
            slot = jax.nn.one_hot(jnp.where(here, place, -1), self.window - 1, dtype=bool)
            waiting = jnp.where(slot[..., None, None], gates[..., None, :, :], waiting)
            known = (here & (place >= self.window - 1))[..., None]
            a, b = _pooling(gates)
            decay, added = (
                jnp.where(known, a * decay, decay),
                jnp.where(known, a * added + b, added),
            )
            last = (step == right.length - 1)[..., None]
            read = jnp.where(last, read + left.pending[..., step, 2, :], read)
            shift = (step + 1 == right.length)[..., None, None, None]
            pending = jnp.where(shift, pending + _after(left.pending, step + 1), pending)
        decay, added = right.decay * decay, right.decay * added + right.added
        length = jnp.minimum(left.length + right.length, self.window)
        return QRNNElement(length, waiting, decay, added, read, pending)

    def apply(self, element, state):
        # The state is like many steps, of which `c` and the pending sums are all that is left.
        length = jnp.full_like(element.length, self.window)
        past = QRNNElement(length, state.pending, state.cell, state.cell, state.cell, state.pending)
        whole = self.combine(past, element)
        hidden = jax.nn.sigmoid(whole.read) * whole.added
        return QRNNState(hidden, whole.added, whole.pending)


def _pooling(gates: Array) -> tuple[Array, Array]:
    """Returns `f` and `(1 - f) * z` from gates (..., 3, H)."""
    forget = jax.nn.sigmoid(gates[..., 1, :])
    return forget, (1 - forget) * jnp.tanh(gates[..., 0, :])


def _after(pending: Array, steps: int) -> Array:
    """Returns what is pending after some steps, without what these steps add."""
    left = pending[..., steps:, :, :]
    return jnp.concatenate([left, jnp.zeros_like(pending[..., :steps, :, :])], axis=-3)
