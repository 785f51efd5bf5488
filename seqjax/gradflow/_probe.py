"""A probe: reports the gradient flow as a few numbers while a network trains."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqjax._checks import check_choice, check_function, check_optional_sizes
from seqjax._padding import last_valid, valid_steps, zeros_unless
from seqjax._unroll import widened
from seqjax.cells._cell import Cell, check_cell, check_vectors
from seqjax.cells._diagonals import is_pointwise
from seqjax.cells._gated import GatedCell
from seqjax.cells._linear import LinearCell
from seqjax.gradflow._flat import floating, trajectory
from seqjax.gradflow._gates import gate_activations, retention, saturation, time_scale
from seqjax.gradflow._groups import gradient_norms
from seqjax.gradflow._jacobians import jacobian_function
from seqjax.gradflow._norms import Loss, state_gradient_norms, summarise_norms
from seqjax.gradflow._spectra import largest_singular_value, recurrent_spectra, spectral_radius

Probe = Callable[[Any], dict[str, float]]
"""`probe(params) -> metrics`, for the argument `probe` of `seqjax.train.fit`."""


def make_probe(
    cell: Cell,
    batch: Any,
    *,
    inputs: Callable[[Any, Any], tuple[Any, ...]] = lambda params, batch: (params, batch),
    loss: Callable[[Any, Any], Array] | None = None,
    state_loss: Loss | None = None,
    functions: Mapping[str, Callable[[Array], Array] | None] | None = None,
    depth: int | None = None,
) -> Probe:
    """Makes a function of the parameters that measures the gradient flow on a fixed batch.

    The probe is compiled once and makes one transfer to the host per call. It computes spectral
    radii with `spectral_radius(..., method="powers")`. The metrics are:

    - `gradient_norm/<path>`, with `loss`: the norm of each parameter group, and
      `gradient_norm/all`;
    - `log_slope/<field>`: median over examples of the slope of `log |dL/ds_t|` against the lag, for
      every field of the state;
    - `log_ratio`: median over examples of log |dL/ds_1| - log |dL/ds_T|, over all fields together:
      the change of the gradient between the last step and the first;
    - `jacobian/spectral_radius` and `jacobian/sigma`: of the first example's last valid step;
    - `recurrent/<gate>/spectral_radius` and `.../sigma`: for a `GatedCell` with a recurrent
      product;
    - `saturation/<gate>/left` and `.../right`: for a `GatedCell`;
    - `time_scale/<field>`: median over units of `-1 / log(mean |retention|)`, for a `LinearCell` or
      a `GatedCell` with a pointwise `update`.

    For a complex field, the norm is the norm of its complex gradient. A boolean field has no
    metrics. With lengths, only valid steps count.

    Args:
      cell: the cell to measure; make one probe for each layer of interest.
      batch: the fixed batch, a pytree of arrays. A few short sequences keep the probe cheap.
      inputs: `inputs(params, batch) -> (cell_params, xs)` or `(cell_params, xs, lengths)`. It
        selects the parameters of the cell from the training parameters, and computes the cell's
        input, (T, *B, D), which may depend on the layers below. By default `params` are the cell's
        parameters and `batch` is its input.
      loss: `loss(params, batch) -> scalar`, the training loss, for the norms by parameter group.
      state_loss: `loss(ys, final_state) -> scalar`, for the slopes. By default it projects each
        last output on a fixed random direction and sums over examples. The slope then depends on
        the recurrence, not on the layers above it.
      functions: activations of the gates, as in `gate_activations`.
      depth: depth of the parameter groups, as in `gradient_norms`.

    Returns:
      `probe(params) -> dict of floats`, not differentiable.

    Raises:
      TypeError: if `cell` is not a cell, or a function cannot be called as above.
      ValueError: if `functions` is given for a cell without gates or names no summed gate, or
        `depth` is negative; when the probe is called, in the cases of the measures themselves.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.elman(4)
      >>> probe = make_probe(cell, jax.random.normal(jax.random.key(1), (6, 2, 3)))
      >>> metrics = probe(cell.init(jax.random.key(0), 3))
      >>> sorted(metrics)[:3], metrics["log_slope/hidden"] < 0
      (['jacobian/sigma', 'jacobian/spectral_radius', 'log_ratio'], True)
    """
    where = "seqjax.gradflow.make_probe"
    check_cell(where, cell)
    check_vectors(where, cell)
    check_function(where, "inputs", inputs, ["params", "batch"])
    check_function(where, "loss", loss, ["params", "batch"], optional=True)
    check_function(where, "state_loss", state_loss, ["ys", "final_state"], optional=True)
    check_optional_sizes(where, at_least=0, depth=depth)
    if functions and isinstance(cell, GatedCell):
        summed = [gate for gate in cell.gates if gate not in cell.unsummed]
        for gate in functions:
            check_choice(where, "functions", gate, summed)
    if functions and not isinstance(cell, GatedCell):
        raise ValueError(
            f"{where}: `functions` must be None for a cell without gates, got "
            f"{sorted(functions)} for {cell!r}. Omit `functions`."
        )

    def of_last_output(ys: Array, lengths: Array | None) -> Array:
        output = last_valid(ys, valid_steps(len(ys), ys.shape[1:-1], lengths))
        direction = jax.random.normal(jax.random.key(0), output.shape[-1:], output.dtype)
        return (output @ (direction / jnp.linalg.norm(direction))).sum()

    def measure(params: Any, batch: Any) -> dict[str, Array]:
        found = {}
        if loss is not None:
            gradients = jax.grad(loss)(params, batch)
            groups = gradient_norms(gradients, gates=cell, depth=depth)
            groups["all"] = gradient_norms(gradients, depth=0)["all"]
            found |= {f"gradient_norm/{name}": value for name, value in groups.items()}
        cell_params, xs, *rest = inputs(params, batch)
        lengths = rest[0] if rest else None
        own_loss = state_loss or (lambda ys, _: of_last_output(ys, lengths))
        norms = state_gradient_norms(cell, cell_params, xs, own_loss, lengths=lengths)
        for name, field in _fields(norms):
            summary = summarise_norms(field, lengths)
            found[f"log_slope/{name}"] = jnp.nanmedian(summary.log_slope)
        # Use all fields together: the default loss does not read an LSTM's last memory, so the
        # gradient of that field alone would be zero.
        logs = jnp.log(jnp.stack([field.reshape(len(xs), -1) for _, field in _fields(norms)]))
        logs = jax.nn.logsumexp(2 * logs, axis=0) / 2
        last = jnp.full(logs.shape[1:], len(xs)) if lengths is None else jnp.ravel(lengths)
        ends = jnp.take_along_axis(logs, (last[None] - 1).clip(0), axis=0)[0]
        found["log_ratio"] = jnp.nanmedian(logs[0] - ends)
        return found | _of_the_cell(cell, cell_params, floating(xs), lengths, functions)

    compiled = jax.jit(measure)

    def probe(params: Any) -> dict[str, float]:
        return {name: float(x) for name, x in jax.device_get(compiled(params, batch)).items()}

    return probe


def _of_the_cell(
    cell: Cell, params: Any, xs: Array, lengths: Array | None, functions: Any
) -> dict[str, Array]:
    """Returns the metrics that need no loss: Jacobian, recurrent spectra and gates."""
    found = {}
    params = widened(params)
    first = xs.reshape(xs.shape[0], -1, xs.shape[-1])[:, 0]
    run = trajectory(cell, params, first)
    last = jnp.asarray(len(xs)) if lengths is None else jnp.ravel(lengths)[0]
    here = jax.tree.map(lambda leaf: leaf[0, (last - 1).clip(0)], (run.previous, run.drives))
    jacobian = jacobian_function(cell)(run.params, *here)
    found["jacobian/spectral_radius"] = spectral_radius(jacobian, method="powers")
    found["jacobian/sigma"] = largest_singular_value(jacobian)
    valid = valid_steps(len(xs), xs.shape[1:-1], lengths)
    xs = zeros_unless(valid, xs)

    def mean(values: Array) -> Array:
        """Returns the mean of (T, *B, ...) over the valid steps, (...)."""
        axes = tuple(range(xs.ndim - 1))
        if valid is None:
            return values.mean(axes)
        return values.mean(
            axes, where=valid.reshape(*valid.shape, *[1] * (values.ndim - len(axes)))
        )

    if isinstance(cell, GatedCell) and cell.heads:
        for gate, spectrum in recurrent_spectra(cell, params, method="powers").items():
            found[f"recurrent/{gate}/spectral_radius"] = spectrum.radius
            found[f"recurrent/{gate}/sigma"] = spectrum.sigma
    if isinstance(cell, GatedCell):
        for gate, values in gate_activations(cell, params, xs, functions=functions).items():
            each = saturation(values, axis=())
            found[f"saturation/{gate}/left"] = mean(each.left).mean()
            found[f"saturation/{gate}/right"] = mean(each.right).mean()
    if isinstance(cell, LinearCell) or (isinstance(cell, GatedCell) and is_pointwise(cell)):
        for name, kept in _fields(retention(cell, params, xs)):
            found[f"time_scale/{name}"] = jnp.median(time_scale(mean(jnp.abs(kept))))
    return found


def _fields(state: Any) -> list[tuple[str, Array]]:
    """Returns the leaves of a state with the names of its fields."""
    flat = jax.tree_util.tree_flatten_with_path(state)[0]
    return [(jax.tree_util.keystr(p, simple=True, separator="/") or "state", x) for p, x in flat]
