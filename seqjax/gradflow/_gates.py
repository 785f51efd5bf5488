"""Measures of the gates: activations, saturation, retention and time-scales."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from seqjax.cells._cell import Cell
from seqjax.cells._diagonals import update_diagonals
from seqjax.cells._gated import GatedCell
from seqjax.cells._linear import LinearCell, spread
from seqjax.gradflow._flat import trajectory


def gate_preactivations(
    cell: Cell, params: Any, xs: ArrayLike, *, initial_state: Any = None
) -> dict[str, Any]:
    """Returns `z = x W + b + h R` of every gate along the trajectory.

    Args:
      cell: a `GatedCell`.
      params: its parameters.
      xs: inputs, shape (T, *B, D).
      initial_state: the state before the first step; by default `cell.initial_state`.

    Returns:
      Dict from gate to an array (T, *B, H), or to a pair `(drive, recurrent)` for an unsummed gate.

    Raises:
      ValueError: if the cell is not a `GatedCell`, and in the cases of `seqjax.unroll`.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.lstm(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> z = gate_preactivations(cell, params, jnp.ones((7, 2, 3)))
      >>> list(z), z["forget"].shape
      (['input', 'forget', 'candidate', 'output'], (7, 2, 4))
    """
    if not isinstance(cell, GatedCell):
        raise ValueError(
            f"seqjax.gradflow.gate_preactivations: {cell!r} must be a GatedCell, which declares "
            f"its gates, got a {type(cell).__name__}. Write it with seqjax.gated_cell."
        )
    run = trajectory(cell, params, xs, initial_state)
    inputs = cell.by_gate(cell.gate_inputs(run.params, run.previous, run.drives))
    # Do not use one `tree.map` over the dict: it would sort the gates.
    return {gate: jax.tree.map(run.restore, value) for gate, value in inputs.items()}


def gate_activations(
    cell: Cell,
    params: Any,
    xs: ArrayLike,
    *,
    initial_state: Any = None,
    functions: Mapping[str, Callable[[Array], Array] | None] | None = None,
) -> dict[str, Array]:
    """Returns the activations of the gates along the trajectory.

    A cell does not declare the activation that `update` applies to each gate. By default this
    function applies the sigmoid to every summed gate. If a gate uses another function, such as the
    candidate of an LSTM, pass that function in `functions`, or pass None to omit the gate. Terms
    that `update` itself adds to a pre-activation, such as peepholes, are not included.

    Args:
      cell: a `GatedCell`.
      params: its parameters.
      xs: inputs, shape (T, *B, D).
      initial_state: the state before the first step; by default `cell.initial_state`.
      functions: dict from gate to its activation, or to None to omit the gate.

    Returns:
      Dict from gate to an array (T, *B, H). Unsummed gates are omitted.

    Raises:
      ValueError: in the cases of `gate_preactivations`, and if `functions` names an unknown or an
        unsummed gate.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.lstm(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> gates = gate_activations(cell, params, jnp.ones((7, 3)), functions={"candidate": None})
      >>> list(gates), gates["forget"].shape
      (['input', 'forget', 'output'], (7, 4))
    """
    values = gate_preactivations(cell, params, xs, initial_state=initial_state)
    values = {gate: value for gate, value in values.items() if not isinstance(value, tuple)}
    functions = dict(functions or {})
    if unknown := sorted(set(functions) - set(values)):
        raise ValueError(
            "seqjax.gradflow.gate_activations: `functions` must name gates among "
            f"{tuple(values)}, got {unknown}. An unsummed gate has two parts, not one "
            "pre-activation; gate_preactivations returns both."
        )
    chosen = {gate: functions.get(gate, jax.nn.sigmoid) for gate in values}
    return {gate: g(values[gate]) for gate, g in chosen.items() if g is not None}


class Saturation(NamedTuple):
    """The fractions of a gate's activations near the ends of its range.

    Attributes:
      left: fraction of activations below `low` (gate closed).
      right: fraction of activations above `high` (gate open).
    """

    left: Array
    right: Array


def saturation(
    activations: ArrayLike, *, low: float = 0.1, high: float = 0.9, axis: Any = None
) -> Saturation:
    """Returns the fractions of a gate's activations that are saturated.

    Args:
      activations: activations of one gate, any shape; see `gate_activations`.
      low: a smaller activation counts as saturated to the left; use -0.9 for tanh.
      high: a larger activation counts as saturated to the right.
      axis: the axes to average over; by default all. For (T, B, H), `axis=(0, 1)` gives one value
        per unit.

    Returns:
      The two fractions.

    Raises:
      ValueError: if `low` is not below `high`.

    Example:
      >>> [float(part) for part in saturation(jnp.array([0.05, 0.5, 0.5, 0.95]))]
      [0.25, 0.25]

    Reference: Karpathy, Johnson and Fei-Fei (2015), Visualizing and understanding recurrent
    networks.
    """
    if not low < high:
        raise ValueError(
            f"seqjax.gradflow.saturation: `low` must be below `high`, got {low} and {high}."
        )
    activations = jnp.asarray(activations)
    return Saturation((activations < low).mean(axis=axis), (activations > high).mean(axis=axis))


def retention(cell: Cell, params: Any, xs: ArrayLike, *, initial_state: Any = None) -> Any:
    """Returns the fraction of each unit's state that one step keeps, with the gates held fixed.

        r_t = d s_t / d s_{t-1}    unit by unit, at fixed pre-activations

    It is the forget gate `f_t` for the memory of an LSTM, `1 - z_t` for a GRU, `a_t` for a
    `LinearCell` and zero for an Elman network. It is computed by differentiating the cell's
    `update`, so a cell needs no extra code for it.

    Args:
      cell: a `GatedCell` or a `LinearCell`.
      params: its parameters.
      xs: inputs, shape (T, *B, D).
      initial_state: the state before the first step; by default `cell.initial_state`.

    Returns:
      A state with leaves (T, *B, H), or (T, *B, *state_shape) for a `LinearCell`. For a complex
      state the retention is complex, `a_t` itself. Boolean fields are None.

    Raises:
      ValueError: if the cell is neither a `GatedCell` nor a `LinearCell`, if `update` mixes the
        units of a row, and in the cases of `seqjax.unroll`.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.lstm(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> xs = jnp.ones((7, 3))
      >>> kept = jax.jit(retention, static_argnums=0)(cell, params, xs).cell
      >>> bool(jnp.allclose(kept, gate_activations(cell, params, xs)["forget"]))
      True
    """
    if not isinstance(cell, GatedCell | LinearCell):
        raise ValueError(
            f"seqjax.gradflow.retention: {cell!r} must be a GatedCell or a LinearCell, got a "
            f"{type(cell).__name__}. For any cell, use the diagonal of step_jacobians, which "
            "includes the contribution of the recurrent weights."
        )
    run = trajectory(cell, params, xs, initial_state)
    if isinstance(cell, LinearCell):
        kept = run.restore(jnp.broadcast_to(spread(*run.drives), run.drives[1].shape))
        return type(run.previous)(kept, *[None] * (len(run.previous) - 1))

    def of_step(state: Any, drive: Array) -> Any:
        of_fields, _ = update_diagonals(cell, run.params, state, drive)
        own = [of_fields[number, number] for number in range(of_fields.shape[1])]
        return jax.tree.unflatten(jax.tree.structure(state), own)

    return jax.tree.map(run.restore, jax.vmap(jax.vmap(of_step))(run.previous, run.drives))


def time_scale(retention: ArrayLike) -> Array:
    """Returns the steps after which a state that keeps a fraction `r` per step has decayed to 1/e.

        tau = -1 / log |r|

    Args:
      retention: any shape. For one number per unit, average it first, as in the example. If r is
        complex or changes sign, average |r|, not r.

    Returns:
      Array of the same shape, in steps: 0 where r is 0, infinite where |r| is at least 1.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.gru(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> kept = retention(cell, params, jnp.zeros((7, 2, 3))).hidden
      >>> [round(float(tau), 3) for tau in time_scale(kept.mean(axis=(0, 1)))]  # z = 1/2
      [1.443, 1.443, 1.443, 1.443]

    Reference: Tallec and Ollivier (2018), Can recurrent neural networks warp time?
    """
    size = jnp.abs(jnp.asarray(retention))
    inside = (size > 0) & (size < 1)
    scale = -1 / jnp.log(jnp.where(inside, size, 0.5))
    return jnp.where(inside, scale, jnp.where(size >= 1, jnp.inf, 0))
