"""The Jacobian of one step, dense, from the structure of the cell where it declares one."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from seqjax.cells._base import Cell, GatedCell, GatedParams, LinearCell
from seqjax.gradflow._flat import flat_state, trajectory

Method = Literal["auto", "structured", "autodiff"]


def step_jacobians(
    cell: Cell,
    params: Any,
    xs: ArrayLike,
    *,
    initial_state: Any = None,
    method: Method = "auto",
) -> Array:
    """Returns the Jacobian of every step along the trajectory that the inputs drive.

        J_t[i, j] = d s_t[i] / d s_{t-1}[j],    all fields of the state one after the other

    A `LinearCell` has `J_t = diag(a_t)`. A `GatedCell` with state fields `s^1 = h, s^2, ...` and
    gates `z_g = drive_g + h R_g` has the blocks

        J_t[f, f'] = diag(du_f / ds^f') + [f' = 1] sum_g diag(du_f / dz_g) R_g^T

    where `u` is the cell's pointwise `update`; all its diagonals are read off with one tangent a
    field and one a gate. A gate declared separate is differentiated in its recurrent part. For a
    gate of a second product, `z_g = drive_g + m R_g`, the sum has `R_g^T dm / ds_{t-1}`, and the
    Jacobian of `m`, the cell's pointwise `middle`, is made of diagonals in the same way.

    Args:
      cell: any cell.
      params: its parameters.
      xs: inputs, shape (T, *B, D).
      initial_state: the state before the first step; by default `cell.initial_state`.
      method: "structured", as above, for `GatedCell` and `LinearCell`; "autodiff", N tangents
        through `cell.step`, for any cell; "auto", structured where the cell allows it.

    Returns:
      Array of shape (T, *B, N, N), in float32 or wider. Its size is N^2 numbers a step and example.

    Raises:
      ValueError: as `seqjax.unroll`; if `method` is unknown, or "structured" for a plain `Cell`.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.lstm(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> step_jacobians(cell, params, jnp.ones((7, 2, 3))).shape
      (7, 2, 8, 8)
    """
    jacobian = jacobian_function(cell, method)
    run = trajectory(cell, params, xs, initial_state)
    each = jax.vmap(jax.vmap(lambda state, drive: jacobian(run.params, state, drive)))
    return run.restore(each(run.previous, run.drives))


def jacobian_function(cell: Cell, method: Method = "auto") -> Callable[[Any, Any, Any], Array]:
    """Returns `jacobian(params, state, drive) -> (N, N)` of one step of one example.

    Args:
      cell: any cell.
      method: as in `step_jacobians`.

    Returns:
      A pure function; `jax.vmap` it over examples or steps.

    Raises:
      ValueError: as `step_jacobians`.
    """
    if method not in ("auto", "structured", "autodiff"):
        raise ValueError(
            f"seqjax.gradflow: `method` must be 'auto', 'structured' or 'autodiff', got {method!r}."
        )
    if method != "autodiff":
        if isinstance(cell, LinearCell):
            return lambda params, state, drive: jnp.diag(drive[0])
        if isinstance(cell, GatedCell):
            return lambda params, state, drive: _gated_jacobian(cell, params, state, drive)
        if method == "structured":
            raise ValueError(
                "seqjax.gradflow: method='structured' needs a GatedCell or a LinearCell, got the "
                f"plain Cell {cell!r}. Use method='auto' or 'autodiff'."
            )

    def jacobian(params: Any, state: Any, drive: Any) -> Array:
        form = flat_state(cell, params)

        def step(vector: Array) -> Array:
            return form.flatten(cell.step(params, form.unflatten(vector), drive))

        return jax.jacfwd(step)(form.flatten(state))

    return jacobian


def update_diagonals(
    cell: GatedCell, params: GatedParams, state: Any, drive: Array
) -> tuple[Array, Array]:
    """Returns the diagonals of the pointwise functions for one example.

    Returns:
      With respect to the fields of the state, (F, F, H), and to the recurrent part of the gates'
      pre-activations, (F, G, H); the new field first. Behind the fields stands `middle`, where the
      cell has a second product: then it is F + 1 in front.
    """
    inputs = cell.by_gate(cell.gate_inputs(params, state, drive))
    drives = {gate: value[0] for gate, value in inputs.items() if gate in cell.separate}
    recurrent = [v[1] if gate in drives else v for gate, v in inputs.items()]
    structure = jax.tree.structure(state)

    def update(fields: Array, recurrent: Array) -> Array:
        gates = {
            gate: (drives[gate], part) if gate in drives else part
            for gate, part in zip(cell.gates, recurrent, strict=True)
        }
        state = jax.tree.unflatten(structure, [*fields])
        values = jax.tree.leaves(cell.update(state, **gates))
        if cell.middle is not None:
            first = {gate: value for gate, value in gates.items() if gate not in cell.second}
            values.append(cell.middle(state, **first))
        return jnp.stack(values)

    fields = jnp.stack(jax.tree.leaves(state))
    parts = jnp.stack(recurrent).astype(fields.dtype)
    _, tangent = jax.linearize(update, fields, parts)

    def along(number: Array) -> Array:
        # Pointwise: a tangent of ones in one input reads the whole diagonal at once.
        chosen = (jnp.arange(len(fields) + len(parts)) == number).astype(fields.dtype)[:, None]
        ones = jnp.broadcast_to(chosen, (len(fields) + len(parts), fields.shape[1]))
        return tangent(ones[: len(fields)], ones[len(fields) :])

    every = jax.vmap(along, out_axes=1)(jnp.arange(len(fields) + len(parts)))
    return every[:, : len(fields)], every[:, len(fields) :]


def _gated_jacobian(cell: GatedCell, params: GatedParams, state: Any, drive: Array) -> Array:
    of_fields, of_gates = update_diagonals(cell, params, state, drive)
    _, num_gates, size = of_gates.shape
    num_fields = of_fields.shape[1]
    kernels = params.recurrent_kernel.reshape(size, num_gates, size).astype(of_gates.dtype)

    def through(second: bool) -> Array:
        chosen = jnp.array([(gate in cell.second) is second for gate in cell.gates])
        return jnp.einsum(
            "fgi,jgi->fij", of_gates * chosen[None, :, None], kernels, precision="highest"
        )

    blocks = of_fields[..., None] * jnp.eye(size, dtype=of_fields.dtype)[None, None]
    blocks = blocks.at[:, 0].add(through(second=False))
    if cell.second:
        of_middle = through(second=True)[:num_fields]
        passed = jnp.einsum("fij,kjl->fkil", of_middle, blocks[-1], precision="highest")
        blocks = blocks[:num_fields] + passed
    return jnp.swapaxes(blocks, 1, 2).reshape(num_fields * size, num_fields * size)
