"""Spectral radii and largest singular values of recurrent kernels and Jacobians."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from seqjax._checks import check_choice, check_names
from seqjax._unroll import widened
from seqjax.cells._cell import Cell, check_cell
from seqjax.cells._gated import GatedCell
from seqjax.cells._product import dense_kernel

Method = Literal["eigenvalues", "powers"]
_SQUARINGS = 16


class Spectrum(NamedTuple):
    """Two measures of the growth that a square matrix causes.

    Attributes:
      radius: spectral radius, the largest |eigenvalue|: the growth per step over many steps.
      sigma: largest singular value: the largest growth in one step; never below the radius.
    """

    radius: Array
    sigma: Array


def spectral_radius(matrices: ArrayLike, *, method: Method = "eigenvalues") -> Array:
    """Returns the largest |eigenvalue| of each matrix.

    "powers" squares the matrix sixteen times and returns `|A^n|^(1/n)` with `n = 2^16`, all in
    logarithms. Apart from rounding, the result is never below the radius. It is above the radius by
    at most a factor `(c N)^(1/n)`, where c is the condition number of the eigenvectors (1.001 for
    `c N = 1e28`). It uses only matrix products, so it is fast on any device.

    Args:
      matrices: shape (..., N, N), such as the result of `step_jacobians`.
      method: "eigenvalues" or "powers".

    Returns:
      Array of shape (...).

    Raises:
      ValueError: if the matrices are not square, or `method` is unknown.

    Example:
      >>> round(float(spectral_radius(jnp.array([[0.0, 4.0], [1.0, 0.0]]))), 4)
      2.0
    """
    check_choice("seqjax.gradflow.spectral_radius", "method", method, ("eigenvalues", "powers"))
    matrices = _square(matrices, "spectral_radius")
    if method == "powers":
        return _radius_by_powers(matrices)
    return jnp.abs(jnp.linalg.eigvals(matrices)).max(axis=-1)


def largest_singular_value(matrices: ArrayLike) -> Array:
    """Returns the largest singular value of each matrix.

    Args:
      matrices: shape (..., M, N), such as the result of `step_jacobians` or a whole recurrent
        kernel.

    Returns:
      Array of shape (...).

    Raises:
      ValueError: if `matrices` has fewer than two axes.

    Example:
      >>> round(float(largest_singular_value(jnp.array([[0.0, 4.0], [1.0, 0.0]]))), 4)
      4.0
    """
    matrices = jnp.asarray(matrices)
    if matrices.ndim < 2:
        raise ValueError(
            "seqjax.gradflow.largest_singular_value: `matrices` must have shape (..., M, N), got "
            f"{matrices.shape}."
        )
    return jnp.linalg.svd(matrices, compute_uv=False)[..., 0]


def recurrent_spectra(
    cell: Cell, params: Any, gates: Sequence[str] | None = None, *, method: Method = "eigenvalues"
) -> dict[str, Spectrum]:
    """Returns the spectrum of each gate's block of the recurrent kernel, after `cell.prepare`.

    With heads, the block of a gate is itself block-diagonal. For the whole kernel, all gates at
    once, use `largest_singular_value`.

    Args:
      cell: a `GatedCell`, or any cell with a `recurrent_kernel` in its parameters, (H, G * H), or
        (n, H / n, G * H / n) with heads.
      params: its parameters.
      gates: names of the gates; by default the gates of the `GatedCell`.
      method: the method of `spectral_radius`.

    Returns:
      Dict from gate to spectrum.

    Raises:
      ValueError: if the cell declares no gates and `gates` is None, there is no recurrent kernel,
        or the number of gates does not fit the kernel.
      TypeError: if `cell` is not a cell, or `gates` is one string.

    Example:
      >>> import jax, seqjax
      >>> cell = seqjax.gru(8)  # each gate's block starts orthogonal
      >>> spectra = recurrent_spectra(cell, cell.init(jax.random.key(0), 3))
      >>> {gate: round(float(spectrum.radius), 3) for gate, spectrum in spectra.items()}
      {'update': 1.0, 'reset': 1.0, 'candidate': 1.0}
    """
    where = "seqjax.gradflow.recurrent_spectra"
    check_cell(where, cell)
    check_names(where, gates=gates)
    kernel = getattr(params, "recurrent_kernel", None)
    if kernel is not None:
        # What a step multiplies with, which may be made of the parameters: antisymmetric, low rank.
        kernel = cell.prepare(widened(params)).recurrent_kernel
    if kernel is None:
        raise ValueError(
            f"{where}: the parameters of {cell!r} have no `recurrent_kernel`. Use "
            "spectral_radius(step_jacobians(cell, params, xs)), which works for any cell."
        )
    if gates is None and not isinstance(cell, GatedCell):
        raise ValueError(f"{where}: {cell!r} declares no gates. Pass their names as `gates`.")
    gates = cell.gates if gates is None and isinstance(cell, GatedCell) else tuple(gates or ())
    if kernel.shape[-1] != len(gates) * kernel.shape[-2]:
        raise ValueError(
            f"{where}: a recurrent kernel of shape {kernel.shape} must have H columns for each of "
            f"the gates {gates}. Pass one name per block."
        )
    blocks = jnp.moveaxis(dense_kernel(kernel, len(gates)), 1, 0)
    return {
        gate: Spectrum(spectral_radius(block, method=method), largest_singular_value(block))
        for gate, block in zip(gates, blocks, strict=True)
    }


def _radius_by_powers(matrices: Array) -> Array:
    def normalised(power: Array) -> tuple[Array, Array]:
        norm = jnp.sqrt((power**2).sum(axis=(-2, -1), keepdims=True))
        return power / jnp.where(norm > 0, norm, 1), jnp.log(norm[..., 0, 0])

    def squared(_: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        power, log_norm = carry  # A^(2^s), as a normalised matrix and a log norm
        power, growth = normalised(jnp.matmul(power, power, precision="highest"))
        return power, 2 * log_norm + growth

    _, log_norm = lax.fori_loop(0, _SQUARINGS, squared, normalised(matrices))
    return jnp.exp(log_norm / 2**_SQUARINGS)


def _square(matrices: ArrayLike, where: str) -> Array:
    matrices = jnp.asarray(matrices)
    if matrices.ndim < 2 or matrices.shape[-1] != matrices.shape[-2]:
        raise ValueError(
            f"seqjax.gradflow.{where}: the matrices must have shape (..., N, N), got "
            f"{matrices.shape}. Split a recurrent kernel by gate first, as recurrent_spectra does."
        )
    return matrices
