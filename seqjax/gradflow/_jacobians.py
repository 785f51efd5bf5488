"""The dense Jacobian of one step, from the structure of the cell if it is known."""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
from jax import Array
from jax.typing import ArrayLike

from seqjax._checks import check_choice
from seqjax.cells._cell import Cell, automatic_jacobian, check_cell
from seqjax.cells._diagonals import is_pointwise
from seqjax.cells._gated import GatedCell
from seqjax.gradflow._flat import trajectory

Method = Literal["auto", "structured", "autodiff"]


def step_jacobians(
    cell: Cell, params: Any, xs: ArrayLike, *, initial_state: Any = None, method: Method = "auto"
) -> Array:
    """Returns the Jacobian of every step along the trajectory of the inputs.

        J_t[i, j] = d s_t[i] / d s_{t-1}[j],    with the fields of the state in order

    A `LinearCell` has `J_t = diag(a_t)`. A `GatedCell` with state fields `s^1 = h, s^2, ...` and
    gates `z_g = drive_g + h R_g` has the blocks

        J_t[f, f'] = diag(du_f / ds^f') + [f' = 1] sum_g diag(du_f / dz_g) R_g^T

    where `u` is the cell's pointwise `update`. One tangent per field and one per gate give all its
    diagonals. For an unsummed gate, the derivative is with respect to the recurrent part. For an
    inner gate, `z_g = drive_g + m R_g`, and its term in the sum is
    `diag(du_f / dz_g) R_g^T dm / ds_{t-1}`. The Jacobian of the inner state `m` is built from
    diagonals in the same way. If `update` mixes the units of a row, autodiff computes the Jacobian.
    A complex field contributes its real parts, then its imaginary parts.

    Args:
      cell: any cell.
      params: its parameters.
      xs: inputs, shape (T, *B, D).
      initial_state: the state before the first step; by default `cell.initial_state`.
      method: "structured" uses the formulas above, for a `LinearCell` or a pointwise `GatedCell`.
        "autodiff" uses N tangents through `cell.step`, for any cell. "auto" is structured if the
        cell allows it, and autodiff otherwise.

    Returns:
      Array of shape (T, *B, N, N), in float32 or wider: N^2 numbers per step and example.

    Raises:
      ValueError: if `method` is unknown, or is "structured" and the cell's structure is not known,
        and in the cases of `seqjax.unroll`.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.lstm(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> jax.jit(step_jacobians, static_argnums=0)(cell, params, jnp.ones((7, 2, 3))).shape
      (7, 2, 8, 8)
    """
    check_cell("seqjax.gradflow.step_jacobians", cell)
    jacobian = jacobian_function(cell, method)
    run = trajectory(cell, params, xs, initial_state)
    each = jax.vmap(jax.vmap(lambda state, drive: jacobian(run.params, state, drive)))
    return run.restore(each(run.previous, run.drives))


def jacobian_function(cell: Cell, method: Method = "auto") -> Callable[[Any, Any, Any], Array]:
    """Returns `jacobian(params, state, drive) -> (N, N)` of one step, `params` prepared.

    Args:
      cell: any cell.
      method: as in `step_jacobians`.

    Returns:
      A pure function. Use `jax.vmap` to map it over examples or steps.

    Raises:
      ValueError: if `method` is unknown or does not fit the cell.
    """
    check_choice("seqjax.gradflow", "method", method, ("auto", "structured", "autodiff"))
    if method == "autodiff":
        return functools.partial(automatic_jacobian, cell)
    known = type(cell).jacobian is not Cell.jacobian
    if isinstance(cell, GatedCell):
        known = is_pointwise(cell)
    if method == "structured" and not known:
        raise ValueError(
            "seqjax.gradflow: method='structured' needs a LinearCell, or a GatedCell with a "
            f"pointwise `update`, got {cell!r}. Use method='auto' or 'autodiff'."
        )
    return cell.jacobian
