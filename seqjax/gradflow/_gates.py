"""What the gates do: activations, saturation, retention and time-scales."""

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
      Gate to an array (T, *B, H), or for an unsummed gate to its two parts as a pair.

    Raises:
      ValueError: if the cell is no `GatedCell`; as `seqjax.unroll`.

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
            f"seqjax.gradflow.gate_preactivations: {cell!r} must be a GatedCell, which says what "
            f"its gates are, got a {type(cell).__name__}. Write it with seqjax.gated_cell."
        )
    run = trajectory(cell, params, xs, initial_state)
    inputs = cell.by_gate(cell.gate_inputs(run.params, run.previous, run.drives))
    # Not one `tree.map` over the dict, which would sort the gates.
    return {gate: jax.tree.map(run.restore, value) for gate, value in inputs.items()}


def gate_activations(
    cell: Cell,
    params: Any,
    xs: ArrayLike,
    *,
    initial_state: Any = None,
    functions: Mapping[str, Callable[[Array], Array] | None] | None = None,
) -> dict[str, Array]:
    """Returns the squashed pre-activations of the gates along the trajectory.

    A cell does not say what its `update` does with a pre-activation. The logistic sigmoid is taken
    for every summed gate, also for one like the candidate of an LSTM that passes through another
    function: name its function, or None to leave it out. What `update` adds to a pre-activation, as
    peepholes do, is not part of it.

    Args:
      cell: a `GatedCell`.
      params: its parameters.
      xs: inputs, shape (T, *B, D).
      initial_state: the state before the first step; by default `cell.initial_state`.
      functions: gate to its squashing function, or to None.

    Returns:
      Gate to an array (T, *B, H).

    Raises:
      ValueError: as `gate_preactivations`; if `functions` names an unknown or an unsummed gate.

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
            f"{tuple(values)}, got {unknown}. An unsummed gate has two parts and no single "
            "pre-activation; take them from gate_preactivations."
        )
    chosen = {gate: functions.get(gate, jax.nn.sigmoid) for gate in values}
    return {gate: g(values[gate]) for gate, g in chosen.items() if g is not None}


class Saturation(NamedTuple):
    """How often a gate is near an end of its range.

    Attributes:
      left: fraction of activations below `low`: closed.
      right: fraction of activations above `high`: open.
    """

    left: Array
    right: Array


def saturation(
    activations: ArrayLike, *, low: float = 0.1, high: float = 0.9, axis: Any = None
) -> Saturation:
    """Returns the fractions of a gate's activations that are saturated.

    Args:
      activations: one gate's, any shape; see `gate_activations`.
      low: below it a gate is saturated to the left; take -0.9 for a tanh.
      high: above it a gate is saturated to the right.
      axis: the axes to average over; all by default. `axis=(0, 1)` of (T, B, H) is a value a unit.

    Returns:
      Both fractions.

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


def activation_histogram(
    activations: ArrayLike, *, bins: int = 20, range: tuple[float, float] = (0.0, 1.0)
) -> tuple[Array, Array]:
    """Returns a histogram of a gate's activations.

    Args:
      activations: one gate's, any shape.
      bins: number of bins, static.
      range: ends of the first and the last bin; take (-1, 1) for a tanh.

    Returns:
      `(fractions, edges)`, shapes (bins,) and (bins + 1,); fractions of all activations, those
      outside the range included.

    Example:
      >>> fractions, edges = activation_histogram(jnp.array([0.1, 0.2, 0.9, 0.8]), bins=2)
      >>> fractions.tolist(), edges.tolist()
      ([0.5, 0.5], [0.0, 0.5, 1.0])
    """
    activations = jnp.asarray(activations)
    counts, edges = jnp.histogram(activations, bins=bins, range=range)
    return counts / max(1, activations.size), edges


def retention(cell: Cell, params: Any, xs: ArrayLike, *, initial_state: Any = None) -> Any:
    """Returns how much of each unit's state one step keeps, its gates held fixed.

        r_t = d s_t / d s_{t-1}    unit by unit, at fixed pre-activations

    The forget gate `f_t` for the memory of an LSTM, `1 - z_t` of a GRU, `a_t` of a `LinearCell`,
    zero for an Elman network: the derivative of the cell's own `update`, no code of the cell's.

    Args:
      cell: a `GatedCell` or a `LinearCell`.
      params: its parameters.
      xs: inputs, shape (T, *B, D).
      initial_state: the state before the first step; by default `cell.initial_state`.

    Returns:
      A state with leaves (T, *B, H), or of the shape that a `LinearCell` declares. Of a complex
      state the retention is complex, `a_t` itself. None in the place of a boolean field.

    Raises:
      ValueError: for a plain `Cell`, which has no pre-activations, and for an `update` that mixes
        the units of a row; as `seqjax.unroll`.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.lstm(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> xs = jnp.ones((7, 3))
      >>> kept = retention(cell, params, xs).cell
      >>> bool(jnp.allclose(kept, gate_activations(cell, params, xs)["forget"]))
      True
    """
    if not isinstance(cell, GatedCell | LinearCell):
        raise ValueError(
            f"seqjax.gradflow.retention: {cell!r} must be a GatedCell or a LinearCell, whose "
            f"pointwise part is known, got a {type(cell).__name__}. For any cell, take the "
            "diagonal of step_jacobians, which includes what the recurrent weights pass on."
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
    """Returns the steps after which a state that keeps `r` of itself a step has fallen to 1/e.

        tau = -1 / log |r|

    Args:
      retention: of any shape; for one number a unit average it first, as in the example.

    Returns:
      Array of the same shape, in steps: 0 where r is 0, infinite where |r| is 1 or above. Take the
      mean of |r|, not of r, where r is complex or changes its sign.

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
