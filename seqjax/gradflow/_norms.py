"""Measures the size of a loss's gradient at each past step."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from seqjax._checks import check_function
from seqjax._padding import checked_lengths
from seqjax._unroll import unroll
from seqjax.cells._cell import Cell, FlatState, check_cell, check_vectors, project
from seqjax.cells._wrapped import WrappedCell
from seqjax.gradflow._flat import floating

Loss = Callable[[Array, Any], Array]
"""`loss(ys, final_state) -> scalar`, of outputs (T, *B, H) and the final state."""


def state_gradients(
    cell: Cell, params: Any, xs: ArrayLike, loss: Loss, **unroll_options: Any
) -> Any:
    """Returns the gradient of a loss with respect to the state after every step.

        G_t = dL / ds_t,    s_t = step(s_{t-1}, x_t) + e_t,    at e_t = 0

    The fields of the state are treated as independent coordinates. For an LSTM, `dL/dc_t` holds
    `h_t` fixed, so it does not include the effect of `c_t` on `h_t` within step t. The gradient of
    a complex field is `dL/d(Re s_t) + i dL/d(Im s_t)`, the direction in which the loss rises.

    Args:
      cell: any cell.
      params: its parameters.
      xs: inputs, shape (T, *B, D).
      loss: `loss(ys, final_state) -> scalar`, over the whole batch, as in training. A mean over the
        batch divides every example's gradient by the batch size.
      **unroll_options: options of `seqjax.unroll`: `initial_state`, `lengths`, `mask`, `resets`,
        `reverse`. At a masked step the gradient is zero.

    Returns:
      A state with leaves (T, *B, ...). Boolean and integer fields are None.

    Raises:
      ValueError: if the loss is not a scalar, and in the cases of `seqjax.unroll`.
      TypeError: if `cell` is not a cell, or `loss` cannot be called as above.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.lstm(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> gradients = state_gradients(
      ...     cell, params, jnp.ones((7, 2, 3)), lambda ys, state: ys[-1].sum()
      ... )
      >>> gradients.cell.shape
      (7, 2, 4)

    Reference: Pascanu, Mikolov and Bengio (2013), On the difficulty of training recurrent neural
    networks.
    """
    check_measure("seqjax.gradflow.state_gradients", cell, loss)
    xs = floating(xs)
    form = FlatState(jax.eval_shape(cell.initial_state, params))

    def moved(step: Any, state: Any, extra: Array) -> Any:
        return _add(step(state), form.unflatten(extra))

    perturbed = with_extra_input(cell, moved, xs.shape[-1])

    def total(perturbation: Array) -> Array:
        inputs = jnp.concatenate([xs, perturbation], axis=-1)
        ys, final = unroll(perturbed, params, inputs, **unroll_options)
        return checked_scalar(loss(ys, final), "state_gradients")

    return form.unflatten(jax.grad(total)(jnp.zeros((*xs.shape[:-1], form.size), xs.dtype)))


def state_gradient_norms(
    cell: Cell, params: Any, xs: ArrayLike, loss: Loss, **unroll_options: Any
) -> Any:
    """Returns the Euclidean norm of `dL/ds_t` at every step, for each field of the state.

    Args:
      cell: any cell.
      params: its parameters.
      xs: inputs, shape (T, *B, D).
      loss: `loss(ys, final_state) -> scalar`.
      **unroll_options: options of `seqjax.unroll`, as in `state_gradients`.

    Returns:
      A state with leaves (T, *B), for example `norms.hidden` and `norms.cell` for an LSTM. Boolean
      and integer fields are None.

    Raises:
      ValueError: in the cases of `state_gradients`.

    Example:
      The gradient halves at each step back:

      >>> import jax.numpy as jnp, seqjax
      >>> half = seqjax.linear_cell(
      ...     "half",
      ...     1,
      ...     init=lambda key, in_size, dtype=jnp.float32: (),
      ...     coefficients=lambda params, x: (jnp.full_like(x, 0.5), x),
      ... )
      >>> norms = state_gradient_norms(
      ...     half, (), jnp.ones((4, 1)), lambda ys, state: ys[-1].sum()
      ... )
      >>> norms.hidden.tolist()
      [0.125, 0.25, 0.5, 1.0]
    """
    lead = jnp.ndim(xs) - 1

    def norm(leaf: Array) -> Array:
        # Scale by the largest entry: squares of small gradients would underflow to zero.
        flat = jnp.abs(leaf.reshape(*leaf.shape[:lead], -1))
        largest = flat.max(axis=-1, keepdims=True)
        scale = jnp.where(largest > 0, largest, 1)
        return jnp.sqrt(((flat / scale) ** 2).sum(axis=-1)) * scale[..., 0]

    return jax.tree.map(norm, state_gradients(cell, params, xs, loss, **unroll_options))


class NormSummary(NamedTuple):
    """Gradient norms as a function of the lag, over the examples of a batch.

    Attributes:
      lag: steps back from each example's last step, 0 to T - 1, shape (T,).
      median: median over examples, shape (T,); NaN at a lag that no example reaches.
      lower_quartile: first quartile over examples, shape (T,).
      upper_quartile: third quartile over examples, shape (T,).
      log_slope: least-squares slope of the natural logarithm of the norm against the lag, for each
        example, shape (*B,). It is below 0 if gradients vanish and above 0 if they explode.
    """

    lag: Array
    median: Array
    lower_quartile: Array
    upper_quartile: Array
    log_slope: Array


def summarise_norms(norms: ArrayLike, lengths: ArrayLike | None = None) -> NormSummary:
    """Summarises the gradient norms of one field of the state over a batch.

    Args:
      norms: one leaf of `state_gradient_norms`, shape (T, *B).
      lengths: valid steps of each example, shape (*B,), if they differ. Lag 0 is then each
        example's last valid step.

    Returns:
      The summary. A norm of exactly zero counts in the quartiles. The slope ignores it, and is NaN
      if fewer than two norms remain.

    Raises:
      ValueError: if `norms` has no time axis, the batch axes of `lengths` differ, or a known length
        is out of range.

    Example:
      >>> summary = summarise_norms(2.0 ** jnp.arange(6)[:, None])
      >>> summary.median[:3].tolist(), round(float(summary.log_slope[0]), 4)
      ([32.0, 16.0, 8.0], -0.6931)
    """
    norms = jnp.asarray(norms)
    if norms.ndim < 1:
        raise ValueError(
            f"seqjax.gradflow.summarise_norms: `norms` must have shape (T, *B), got {norms.shape}. "
            "Pass one leaf of state_gradient_norms, such as norms.hidden."
        )
    num_steps, batch_shape = norms.shape[0], norms.shape[1:]
    norms = norms.reshape(num_steps, -1)
    lag = jnp.arange(num_steps)
    if lengths is None:
        by_lag = norms[::-1]
    else:
        where = "seqjax.gradflow.summarise_norms"
        lengths = checked_lengths(where, lengths, batch_shape, num_steps)
        steps = lengths.reshape(1, -1) - 1 - lag[:, None]
        by_lag = jnp.take_along_axis(norms, steps.clip(0), axis=0)
        by_lag = jnp.where(steps >= 0, by_lag, jnp.nan)
    quartiles = jnp.nanquantile(by_lag, jnp.array([0.25, 0.5, 0.75]), axis=1)

    used = by_lag > 0
    logs = jnp.log(jnp.where(used, by_lag, 1))
    weight = used / used.sum(axis=0, keepdims=True).clip(1)
    lags = lag.astype(norms.dtype)[:, None]
    centred = lags - (weight * lags).sum(axis=0, keepdims=True)
    spread = (weight * centred**2).sum(axis=0)
    slope = (weight * centred * logs).sum(axis=0) / jnp.where(spread > 0, spread, jnp.nan)
    return NormSummary(lag, quartiles[1], quartiles[0], quartiles[2], slope.reshape(batch_shape))


def with_extra_input(
    cell: Cell, step: Callable[[Callable[[Any], Any], Any, Array], Any], in_size: int
) -> Cell:
    """Wraps a cell so that its step also reads extra input features.

    With this, a measure can change each step and still run in `unroll`.

    Args:
      cell: any cell.
      step: `step(cell_step, state, extra) -> state`, where `cell_step(state)` is the step of
        `cell` with its parameters and drive bound.
      in_size: how many features of the input go to `cell`; the rest are `extra`.
    """
    options = {"name": cell.name, "inner": cell, "change": step, "own_size": in_size}
    return _Extended(cell.hidden_size, **options)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class _Extended(WrappedCell):
    """A cell with extra input features, see `with_extra_input`."""

    change: Callable[..., Any]
    own_size: int

    def init(self, key, in_size, dtype=jnp.float32):
        return self.inner.init(key, self.own_size, dtype)

    def project(self, params, xs, starts=None):
        own, extra = xs[..., : self.own_size], xs[..., self.own_size :]
        return project(self.inner, params, own, None if starts is None else starts[..., 0]), extra

    def step(self, params, state, drive):
        own, extra = drive

        def step(state: Any) -> Any:
            return self.inner.step(params, state, own)

        return self.change(step, state, extra)

    def output(self, params, states, xs):
        return super().output(params, states, xs[..., : self.own_size])


def check_measure(where: str, cell: Any, loss: Any) -> None:
    """Refuses a cell or a loss that a measure of gradients cannot use."""
    check_cell(where, cell)
    check_vectors(where, cell)
    check_function(where, "loss", loss, ["ys", "final_state"])


def checked_scalar(value: Array, where: str) -> Array:
    """Returns the loss after checking that it is a scalar."""
    if jnp.shape(value) != ():
        raise ValueError(
            f"seqjax.gradflow.{where}: the loss must be a scalar, got shape {jnp.shape(value)}. "
            "Take its sum or mean over the batch."
        )
    return value


def _add(state: Any, perturbation: Any) -> Any:
    def moved(leaf: Array, extra: Array | None) -> Array:
        return leaf if extra is None else leaf + extra.astype(leaf.dtype)

    return jax.tree.map(moved, state, perturbation, is_leaf=lambda leaf: leaf is None)
