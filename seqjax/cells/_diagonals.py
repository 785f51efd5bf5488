"""The Jacobian of a gated step, built from the diagonals of its pointwise functions."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqjax._axes import same_axes
from seqjax.cells._cell import automatic_jacobian
from seqjax.cells._noise import Noisy, kept
from seqjax.cells._product import dense_kernel

if TYPE_CHECKING:
    from seqjax.cells._gated import GatedCell, GatedParams


def is_pointwise(cell: GatedCell) -> bool:
    """Returns whether `update` and `inner_state` treat every unit separately.

    The answer is False for a cell declared `rowwise`. Any other cell is tested once, at random
    numbers: along a random direction `v`, the derivative must equal the Jacobian's row sums times
    `v`. For a random `v`, only a diagonal Jacobian passes.
    """
    return not cell.rowwise and _diagonal_by_trial(cell)


@functools.lru_cache(maxsize=256)
def _diagonal_by_trial(cell: GatedCell) -> bool:
    size = cell.hidden_size
    if size == 1:
        return True
    with jax.ensure_compile_time_eval():
        keys = iter(jax.random.split(jax.random.key(0), 8))
        fields = len(cell.state._fields)  # pyright: ignore[reportAttributeAccessIssue]
        shape = (fields + len(cell.gates) + len(cell.unsummed) + len(cell.units), size)
        point = jax.random.uniform(next(keys), shape, minval=0.1, maxval=0.9)
        _, tangent = jax.linearize(functools.partial(_stacked, cell), point)
        direction = jax.random.normal(next(keys), shape)
        # One input at a time, so that terms of opposite sign cannot cancel.
        differences = [
            tangent(jnp.zeros(shape).at[row].set(direction[row]))
            - tangent(jnp.zeros(shape).at[row].set(1.0)) * direction[row][None]
            for row in range(shape[0])
        ]
        largest = jnp.abs(jnp.stack(differences)).max()
        scale = 1 + jnp.abs(jnp.stack([tangent(direction)])).max()
        # A NaN compares False and counts as diagonal: this test does not look for NaN.
        return not bool(largest > 1e-3 * scale)


def _stacked(cell: GatedCell, rows: Array) -> Array:
    """Returns the new fields of the state, then the inner state; each input is one row."""
    rows_of = iter(rows)
    state = cell.state(*(next(rows_of) for _ in cell.state._fields))  # pyright: ignore[reportAttributeAccessIssue]
    gates: dict[str, Any] = {
        gate: (next(rows_of), next(rows_of)) if gate in cell.unsummed else next(rows_of)
        for gate in cell.gates
    }
    units = {name: next(rows_of) for name, _ in cell.units}
    values = list(cell.update(state, **gates, **units))
    if cell.inner_state is not None:
        outer = {gate: value for gate, value in gates.items() if gate not in cell.inner_gates}
        values.append(cell.inner_state(state, **outer, **units))
    return jnp.stack(values)


def update_diagonals(
    cell: GatedCell, params: GatedParams, state: Any, drive: Array
) -> tuple[Array, Array]:
    """Returns the diagonals of the pointwise functions for one example.

    Returns:
      The diagonals with respect to the `F` fields of the state, (F, F, H), and with respect to the
      recurrent part of the gates' pre-activations, (F, G, H). The first axis is the new field. If
      the cell has an inner state, the first axis has F + 1 entries, the inner state last.

    Raises:
      ValueError: if the functions are not pointwise.
    """
    if not is_pointwise(cell):
        raise ValueError(
            f"seqjax: the diagonals of {cell!r} need a pointwise `update`, got one that mixes the "
            "units of a row. Use cell.jacobian or gradflow.step_jacobians, which are dense."
        )
    inputs = cell.gate_inputs(params, state, drive)
    fields = jnp.stack(jax.tree.leaves(state))
    leaves, structure = jax.tree.flatten((inputs.total, inputs.inner, inputs.recurrent))
    recurrent = jnp.concatenate(leaves).reshape(-1, cell.hidden_size).astype(fields.dtype)
    ends = np.cumsum([leaf.size for leaf in leaves])

    def pointwise(fields: Array, recurrent: Array) -> Array:
        parts = structure.unflatten(jnp.split(recurrent.reshape(-1), ends[:-1]))
        moved = inputs._replace(**dict(zip(("total", "inner", "recurrent"), parts, strict=True)))
        before = cell.state(*fields)
        values = list(cell.next_state(before, moved))
        if cell.inner_state is not None:
            values.append(cell.middle(before, moved))
        return jnp.stack(values)

    _, tangent = jax.linearize(pointwise, fields, recurrent)
    count = len(fields) + len(recurrent)

    def along(number: Array) -> Array:
        # The functions are pointwise: a tangent of ones in one input gives its whole diagonal.
        chosen = (jnp.arange(count) == number).astype(fields.dtype)[:, None]
        ones, _ = same_axes(jnp.broadcast_to(chosen, (count, fields.shape[1])), fields)
        return tangent(ones[: len(fields)], ones[len(fields) :])

    every = jax.vmap(along, out_axes=1)(jnp.arange(count))
    return every[:, : len(fields)], every[:, len(fields) :]


def gated_jacobian(cell: GatedCell, params: GatedParams, state: Any, drive: Any) -> Array:
    """Returns the Jacobian of one step of one example, (F * H, F * H).

    With the state's fields `s^1 = h, s^2, ...` and gates `z_g = drive_g + h R_g`, its blocks are

        J[f, f'] = diag(du_f / ds^f') + [f' = 1] sum_g diag(du_f / dz_g) R_g^T

    where `u` is `update`. For an inner gate, `z_g = drive_g + m R_g`. Its term in the sum is
    `diag(du_f / dz_g) R_g^T dm / ds`, where `dm / ds` is built from diagonals in the same way.
    """
    if not is_pointwise(cell):
        return automatic_jacobian(cell, params, state, drive)
    return gated_blocks(cell, params, state, drive, groups=1)[0]


def gated_blocks(
    cell: GatedCell, params: GatedParams, state: Any, drive: Any, *, groups: int
) -> Array:
    """Returns the diagonal blocks of `gated_jacobian`, for `groups` groups of adjacent units.

    A block holds all fields of its `H / groups` units. The blocks are the whole Jacobian if no
    recurrent product connects two groups: if `groups` divides the number of heads, or there is no
    product at all.

    Returns:
      Array of shape (groups, F * H / groups, F * H / groups).

    Raises:
      ValueError: if `update` is not pointwise.
    """
    of_fields, of_gates = update_diagonals(cell, params, state, drive)
    num_fields, num_gates, size = of_fields.shape[1], of_gates.shape[1], cell.hidden_size // groups

    def by_group(x: Array) -> Array:
        return x.reshape(*x.shape[:-1], groups, size)

    of_gates = by_group(of_gates)
    eye = jnp.eye(size, dtype=of_fields.dtype)
    blocks = by_group(of_fields)[..., None] * eye[None, None, None]
    if params.recurrent_kernel is not None:
        kernels = dense_kernel(params.recurrent_kernel, num_gates).astype(of_gates.dtype)
        each = jnp.arange(groups)
        kernels = kernels.reshape(groups, size, num_gates, groups, size)[each, :, :, each]
        noise = drive.noise if isinstance(drive, Noisy) else None
        if noise and "hidden" in noise:
            factor = kept(noise["hidden"], cell.hidden_dropout, kernels.dtype)
            factor = factor.reshape(-1, groups, size)  # one for all gates, or one for each
            kernels = kernels * jnp.moveaxis(factor, 0, 2)[..., None]

        def through(inner: bool) -> Array:
            chosen = jnp.array([(gate in cell.inner_gates) is inner for gate in cell.gates])
            chosen = of_gates * chosen[None, :, None, None]
            return jnp.einsum("fgci,cjgi->fcij", chosen, kernels, precision="highest")

        blocks = blocks.at[:, 0].add(through(inner=False))
        if cell.inner_gates:
            of_middle = through(inner=True)[:num_fields]
            passed = jnp.einsum("fcij,kcjl->fkcil", of_middle, blocks[-1], precision="highest")
            blocks = blocks[:num_fields] + passed
    blocks = jnp.transpose(blocks, (2, 0, 3, 1, 4))
    return blocks.reshape(groups, num_fields * size, num_fields * size)
