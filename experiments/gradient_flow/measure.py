"""What becomes of a gradient at initialisation, for the points that share a program.

Axes of what is returned: `S` seeds, `T` steps, `B` sequences, `E` of them, `N` numbers of a state,
`H` hidden units.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from experiments.gradient_flow import grid
from experiments.gradient_flow.config import Config
from seqjax import data, gradflow
from seqjax.cells import Cell, GatedCell, LinearCell
from seqjax.cells._diagonals import is_pointwise
from seqjax.online import Method

BINS = 40
# What a cell's `update` does to a gate where it is no logistic sigmoid; None: not a gate. Of a cell
# that is not here, a user's own for one, no gate is drawn: only its author knows what squashes it.
# Peepholes start at zero, so that their gates are those of the pre-activations.
_SQUASHING: dict[str, dict[str, Any]] = {
    "rnn": {"hidden": jnp.tanh},
    "lstm": {"candidate": None},
    "gru": {},
    "peephole_lstm": {"candidate": None},
    "slstm": {"input": None, "candidate": None},
    "coupled_lstm": {"candidate": None},
    "projected_lstm": {"candidate": None},
    "mgu": {"candidate": None},
    "lem": {"memory": None, "output": None},
}
Arrays = dict[str, np.ndarray]


def truncations(length: int) -> list[int]:
    """Returns the segments of truncated back-propagation that are tried: powers of 2, and T."""
    return [2**n for n in range(length.bit_length()) if 2**n < length] + [length]


def product_lags(length: int) -> list[int]:
    """Returns the lags at which Jacobians are multiplied, three a decade, and T."""
    lags = [digit * 10**n for n in range(9) for digit in (1, 2, 5)]
    return [lag for lag in lags if lag < length] + [length]


def measure(config: Config, points: Sequence[grid.Point]) -> dict[grid.Point, Arrays]:
    """Measures every seed of points that share a program, at every length.

    The inputs are those of the adding problem; the loss is `sum_b v . h_T`, with a random unit
    vector `v` a seed, so that every curve of gradients of the hidden state begins at 1.

    Args:
      config: the settings.
      points: from `grid.shared_programs`.

    Returns:
      For each point arrays by name, seeds first: at each length `T/norm_FIELD` (S, T, B) for each
      field of the state, `T/cosine` and `T/ratio` (S, K); at the shortest one
      `online_cosine_METHOD` and `online_ratio_METHOD` (S,), for the methods that the cell takes; at
      the greatest one
      `log_singular_values` (S, L, E, N), `lyapunov` (S, E, N), `spectral_radius` (S, gates),
      `histogram_GATE` (S, bins), `saturation_GATE` (S, 2), `time_scale` (S, H), where the cell has
      them.
    """
    longest = config.measured_lengths[-1]
    cells = [grid.build_cell(point, config.hidden_size, longest) for point in points]
    members = [
        cell.init(jax.random.fold_in(jax.random.key(seed), 0), 2)
        for cell in cells
        for seed in config.all_seeds
    ]
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    found: Arrays = {}
    for length in config.measured_lengths:
        inputs, directions = _inputs(config, length, len(points))
        at_length = _at_length(cells[0])
        values = jax.jit(jax.vmap(at_length))(params, inputs, directions)
        found.update({f"{length}/{name}": np.asarray(value) for name, value in values.items()})
    if methods := config.online_methods:
        inputs, directions = _inputs(config, config.measured_lengths[0], len(points))
        keys = jnp.stack([jax.random.key(seed) for seed in config.all_seeds] * len(points))
        online = jax.jit(jax.vmap(_online(cells[0], methods)))
        values = online(params, inputs, directions, keys)
        found.update({name: np.asarray(value) for name, value in values.items()})
    inputs, _ = _inputs(config, longest, len(points))
    whole = _structure(cells[0], points[0], config.jacobian_examples)
    found.update({k: np.asarray(v) for k, v in jax.jit(jax.vmap(whole))(params, inputs).items()})
    seeds = config.seeds
    return {
        point: {name: value[n * seeds : (n + 1) * seeds] for name, value in found.items()}
        for n, point in enumerate(points)
    }


def _inputs(config: Config, length: int, copies: int) -> tuple[Array, Array]:
    """Returns inputs (P * S, T, B, 2) and unit vectors (P * S, H), the same for every point."""
    inputs, directions = [], []
    for seed in config.all_seeds:
        rng = np.random.default_rng([seed, length])
        drawn = data.adding(rng, config.batch_size, length).inputs
        inputs.append(np.swapaxes(drawn, 0, 1))
        direction = rng.standard_normal(config.hidden_size).astype(np.float32)
        directions.append(direction / np.linalg.norm(direction))
    return jnp.asarray(np.stack(inputs * copies)), jnp.asarray(np.stack(directions * copies))


def _at_length(cell: Cell):
    def measured(params: Any, xs: Array, direction: Array) -> dict[str, Array]:
        def loss(ys: Array, _: Any) -> Array:
            return (ys[-1] @ direction).sum()

        norms = gradflow.state_gradient_norms(cell, params, xs, loss)
        bias = gradflow.truncation_bias(cell, params, xs, loss, truncations(len(xs)))
        # A boolean field has no gradient.
        fields = {f"norm_{k}": value for k, value in norms._asdict().items() if value is not None}
        return {**fields, "cosine": bias.cosine, "ratio": bias.norm_ratio}

    return measured


def _online(cell: Cell, methods: Mapping[str, Method]):
    methods = {name: method for name, method in methods.items() if method.refusal(cell) is None}

    def measured(params: Any, xs: Array, direction: Array, key: Array) -> dict[str, Array]:
        if not methods:
            return {}

        def loss(ys: Array, _: Any) -> Array:
            return (ys[-1] @ direction).sum()

        bias = gradflow.online_bias(cell, params, xs, loss, list(methods.values()), key=key)
        return {
            f"online_{kind}_{name}": values[place]
            for place, name in enumerate(methods)
            for kind, values in (("cosine", bias.cosine), ("ratio", bias.norm_ratio))
        }

    return measured


def _structure(cell: Cell, point: grid.Point, examples: int):
    relu = point.init == "identity"

    def measured(params: Any, xs: Array) -> dict[str, Array]:
        few = xs[:, :examples]
        jacobians = gradflow.step_jacobians(cell, params, few)
        found = {
            "log_singular_values": gradflow.product_singular_values(
                jacobians, lags=product_lags(len(xs))
            ),
            # The first step of a sequence may keep nothing of the state, and never counts.
            "lyapunov": gradflow.lyapunov_exponents(
                cell, params, few, transient=max(1, len(xs) // 5)
            ),
        }
        gates: dict[str, Array] = {}
        if isinstance(cell, GatedCell):
            if cell.heads:
                # By powers: eigenvalues exist on a CPU only.
                spectra = gradflow.recurrent_spectra(cell, params, method="powers")
                found["spectral_radius"] = jnp.stack([each.radius for each in spectra.values()])
            if point.cell in _SQUASHING and not relu:
                functions = _SQUASHING[point.cell]
                gates = gradflow.gate_activations(cell, params, xs, functions=functions)
        if _keeps_by_unit(cell) and point.cell != "rnn":
            kept = jnp.abs(_memory(gradflow.retention(cell, params, xs)))
            found["time_scale"] = gradflow.time_scale(kept.mean(axis=(0, 1))).ravel()
            if isinstance(cell, LinearCell):
                gates = {"keep": kept}
        low = -0.9 if point.cell == "rnn" else 0.1
        ends = (-1.0, 1.0) if point.cell == "rnn" else (0.0, 1.0)
        for gate, values in gates.items():
            found[f"histogram_{gate}"], _ = activation_histogram(values, bins=BINS, range=ends)
            found[f"saturation_{gate}"] = jnp.stack(gradflow.saturation(values, low=low))
        return found

    return measured


def _keeps_by_unit(cell: Cell) -> bool:
    """Says whether there is one number for what each unit keeps of itself."""
    if isinstance(cell, GatedCell):
        return is_pointwise(cell)
    return isinstance(cell, LinearCell)


def _memory(state: Any) -> Array:
    """Returns the field that remembers: `cell` where there is one, else the last one."""
    return getattr(state, "cell", jax.tree.leaves(state)[-1])


def activation_histogram(
    activations: ArrayLike, *, bins: int = 20, range: tuple[float, float] = (0.0, 1.0)
) -> tuple[Array, Array]:
    """Returns a histogram of a gate's activations.

    Args:
      activations: activations of one gate, any shape.
      bins: number of bins, static.
      range: ends of the first and the last bin; use (-1, 1) for tanh.

    Returns:
      `(fractions, edges)`, shapes (bins,) and (bins + 1,). The fractions are relative to all
      activations, including activations outside the range.

    Example:
      >>> fractions, edges = activation_histogram(jnp.array([0.1, 0.2, 0.9, 0.8]), bins=2)
      >>> fractions.tolist(), edges.tolist()
      ([0.5, 0.5], [0.0, 0.5, 1.0])
    """
    activations = jnp.asarray(activations)
    counts, edges = jnp.histogram(activations, bins=bins, range=range)
    return counts / max(1, activations.size), edges
