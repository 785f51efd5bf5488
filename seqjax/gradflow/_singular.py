"""Log singular values of long products of Jacobians, computed without forming the product."""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from seqjax._checks import check_sizes

_MAX_SWEEPS = 30


def product_singular_values(
    jacobians: ArrayLike,
    *,
    lags: Sequence[int] | None = None,
    method: Literal["exact", "qr"] = "exact",
) -> Array:
    """Returns the log singular values of the product of the last k Jacobians, for every lag k.

        P_k = J_T J_{T-1} ... J_{T-k+1} = d s_T / d s_{T-k}

    The product is never formed, because rounding errors of the largest singular value would hide
    all the others. Instead, the function goes back in time with one QR decomposition per step,
    `J_t^T Q_{t+1} = Q_t R_t`, from a random orthogonal `Q_{T+1}`. `P_k` and the triangular product
    `R_{T-k+1} ... R_T` then have the same singular values. That product is kept as
    `diag(exp d) U`, with logarithms `d` and unit upper triangular `U`. Because `d` comes out in
    decreasing order, `U` neither overflows nor degenerates.

    - "qr" returns `d`, sorted: the running sums of `log |diag R_t|`. Their total, log |det P_k|, is
      exact, and so is each value's growth per step in the limit of large k. Single values are only
      bounded: the sum of the j largest is never above the sum of the j largest exact values. If the
      singular values separate, the error of a single value does not grow with k.
    - "exact" adds a one-sided Jacobi iteration on the rows of `diag(exp d) U`, with the scales kept
      as logarithms. It gives every singular value of the product, even values far below the largest
      and values that are equal. Only rounding remains: the absolute error of log sigma is of the
      order of k times epsilon times the condition number of a single J_t. A singular value of zero
      (dead units) comes out at about log epsilon per singular step, not as minus infinity.

    Args:
      jacobians: from `step_jacobians`, shape (T, *B, N, N).
      lags: numbers of steps k, each 1 to T, static; by default all of them. With "exact", each lag
        costs about ten times N rounds of N^2 operations, so choose a few lags for large N.
      method: "exact" or "qr".

    Returns:
      Array of shape (len(lags), *B, N): log sigma, largest first.

    Raises:
      ValueError: if the Jacobians are not square, a lag is out of range, or `method` is unknown.

    Example:
      The product of a thousand diagonal matrices, far below the smallest float:

      >>> jacobians = jnp.broadcast_to(jnp.diag(jnp.array([0.5, 0.1])), (1000, 2, 2))
      >>> logs = product_singular_values(jacobians, lags=[1000])[0]
      >>> [round(float(log) / 1000, 3) for log in logs]
      [-0.693, -2.303]

    Reference: Stewart (1997), On graded QR decompositions of products of matrices; Demmel and
    Veselic (1992), Jacobi's method is more accurate than QR.
    """
    jacobians = jnp.asarray(jacobians)
    if jacobians.ndim < 3 or jacobians.shape[-1] != jacobians.shape[-2]:
        raise ValueError(
            "seqjax.gradflow.product_singular_values: `jacobians` must have shape (T, *B, N, N), "
            f"got {jacobians.shape}. Make them with step_jacobians."
        )
    num_steps, batch_shape, size = jacobians.shape[0], jacobians.shape[1:-2], jacobians.shape[-1]
    lags = list(range(1, num_steps + 1)) if lags is None else list(lags)
    where = "seqjax.gradflow.product_singular_values"
    check_sizes(where, **{f"lags[{index}]": lag for index, lag in enumerate(lags)})
    lags = [int(lag) for lag in lags]
    if wrong := [lag for lag in lags if not 1 <= lag <= num_steps]:
        raise ValueError(f"{where}: every lag must be between 1 and T = {num_steps}, got {wrong}.")
    if method not in ("exact", "qr"):
        raise ValueError(
            "seqjax.gradflow.product_singular_values: `method` must be 'exact' or 'qr', got "
            f"{method!r}."
        )
    chosen = num_steps - jnp.asarray(lags)  # the scan runs backwards; its results are in time order

    def of_one(jacobians: Array) -> Array:
        logs, units = _graded_products(jacobians)
        logs = logs[chosen]
        if method == "exact":
            logs = jax.vmap(_jacobi)(logs, units[chosen])
        return -jnp.sort(-logs, axis=-1)

    merged = jacobians.reshape(num_steps, int(np.prod(batch_shape, dtype=int)), size, size)
    return jax.vmap(of_one, in_axes=1, out_axes=1)(merged).reshape(len(lags), *batch_shape, size)


def random_orthogonal(size: int, columns: int, dtype: jnp.dtype) -> Array:
    """Returns a fixed orthonormal frame (N, columns) in general position."""
    return jnp.linalg.qr(jax.random.normal(jax.random.key(0), (size, columns), dtype))[0]


def _graded_products(jacobians: Array) -> tuple[Array, Array]:
    """Returns `d` (T, N) and `U` (T, N, N) of the product that starts at each step."""
    num_steps, size, dtype = jacobians.shape[0], jacobians.shape[-1], jacobians.dtype
    tiny = jnp.finfo(dtype).tiny

    def back(carry, jacobian):
        frame, logs, unit = carry
        frame, factor = jnp.linalg.qr(jnp.matmul(jacobian.T, frame, precision="highest"))
        sign = jnp.where(jnp.diagonal(factor) < 0, -1, 1).astype(dtype)
        frame, factor = frame * sign[None], factor * sign[:, None]
        diagonal = jnp.diagonal(factor)
        zero = diagonal < tiny
        diagonal = jnp.where(zero, tiny, diagonal)
        # D_new^{-1} R D_old: unit diagonal, and decaying above it where `logs` falls.
        growth = jnp.exp(jnp.minimum(logs[None] - logs[:, None], -jnp.log(tiny) / 4))
        scaled = jnp.triu(factor / diagonal[:, None], 1) * growth * ~zero[:, None]
        unit = jnp.matmul(scaled + jnp.eye(size, dtype=dtype), unit, precision="highest")
        logs = logs + jnp.log(diagonal)
        return (frame, logs, unit), (logs, unit)

    start = (
        random_orthogonal(size, size, dtype),
        jnp.zeros(size, dtype),
        jnp.eye(size, dtype=dtype),
    )
    return lax.scan(back, start, jacobians, length=num_steps, reverse=True)[1]


def _jacobi(logs: Array, rows: Array) -> Array:
    """Returns the log singular values of `diag(exp logs) rows`, by one-sided Jacobi rotations.

    In each round every row is paired with one other row, as in a round-robin tournament. Take a
    pair `e^{s_i} v_i, e^{s_j} v_j` with unit rows, `s_i >= s_j` and `rho = e^{s_j - s_i}`. The
    tangent of the rotation that makes the rows orthogonal is `rho tau`, with

        tau = 2 g / ((1 - rho^2) + sqrt((1 - rho^2)^2 + 4 rho^2 g^2)),    g = <v_i, v_j>

    so only the ratio of the scales, at most 1, is ever exponentiated.
    """
    size, dtype = rows.shape[0], rows.dtype
    if size == 1:
        return logs + jnp.log(jnp.abs(rows[:, 0]))
    if size % 2:  # add a zero row as the first player; it changes no other row
        rows = jnp.concatenate([jnp.zeros((1, size), dtype), rows])
        logs = jnp.concatenate([logs.max()[None], logs])
    players = len(logs)
    half = players // 2
    # The first player stays; the others move on by one seat per round.
    seats = jnp.concatenate([jnp.zeros(1, int), jnp.roll(jnp.arange(1, players), 1)])
    tolerance = 4 * jnp.finfo(dtype).eps * size**0.5

    def normalised(logs: Array, rows: Array) -> tuple[Array, Array]:
        norm = jnp.sqrt((rows**2).sum(axis=1, keepdims=True))
        norm = jnp.where(norm > 0, norm, 1)
        return logs + jnp.log(norm[:, 0]), rows / norm

    def meet(carry, _):
        logs, rows, worst = carry
        low, high = jnp.arange(half), players - 1 - jnp.arange(half)
        swap = logs[low] < logs[high]
        i, j = jnp.where(swap, high, low), jnp.where(swap, low, high)
        ratio = jnp.exp(logs[j] - logs[i])
        cosine = (rows[i] * rows[j]).sum(axis=1)
        gap = 1 - ratio**2
        below = gap + jnp.sqrt(gap**2 + 4 * ratio**2 * cosine**2)
        tau = jnp.where(cosine == 0, 0, 2 * cosine / jnp.where(below > 0, below, 1))
        c = 1 / jnp.sqrt(1 + (ratio * tau) ** 2)
        upper = c[:, None] * (rows[i] + (ratio**2 * tau)[:, None] * rows[j])
        lower = c[:, None] * (rows[j] - tau[:, None] * rows[i])
        rows = rows.at[i].set(upper).at[j].set(lower)
        logs, rows = normalised(logs, rows)
        return (logs[seats], rows[seats], jnp.maximum(worst, jnp.abs(cosine).max())), None

    def sweep(carry):
        logs, rows, _, count = carry
        start = (logs, rows, jnp.zeros((), dtype))
        (logs, rows, worst), _ = lax.scan(meet, start, length=players - 1)
        return logs, rows, worst, count + 1

    def unfinished(carry):
        return (carry[2] > tolerance) & (carry[3] < _MAX_SWEEPS)

    start = (*normalised(logs, rows), jnp.ones((), dtype), jnp.zeros((), int))
    logs = lax.while_loop(unfinished, sweep, start)[0]
    return logs[players - size :]  # after whole sweeps every row is back at its own seat
