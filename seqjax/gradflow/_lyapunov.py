"""The Lyapunov spectrum of a cell driven by its inputs."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from seqjax.cells._cell import Cell, FlatState
from seqjax.gradflow._flat import trajectory
from seqjax.gradflow._singular import random_orthogonal


def lyapunov_exponents(
    cell: Cell,
    params: Any,
    xs: ArrayLike,
    *,
    initial_state: Any = None,
    transient: int = 0,
    every: int = 1,
    num_exponents: int | None = None,
) -> Array:
    """Returns the Lyapunov exponents: the mean log growth per step of small volumes of states.

        lambda_1 + ... + lambda_m = lim 1/n log |volume of (J_n ... J_1) Q_0|

    Tangents of the step carry an orthonormal frame along the trajectory, without forming a
    Jacobian. A QR decomposition makes the frame orthonormal again. The exponents are the means of
    `log |diag R|`. For a linear network they are log |eigenvalue| of its recurrent matrix.

    Args:
      cell: any cell.
      params: its parameters.
      xs: inputs, shape (T, *B, D). For an autonomous system, use the same input at every step.
      initial_state: the state before the first step; by default `cell.initial_state`.
      transient: number of steps at the start that align the frame but do not count. If the
        remaining steps are not a multiple of `every`, the remainder is added to the transient.
      every: steps between two QR decompositions. A larger number saves time, but the frame must
        keep its rank between decompositions.
      num_exponents: number of exponents, from the largest; by default all `N`.

    Returns:
      Array of shape (*B, num_exponents), per step, largest first.

    Raises:
      ValueError: if fewer than `every` steps follow the transient, if `num_exponents` is not
        between 1 and N, and in the cases of `seqjax.unroll`.

    Example:
      >>> import jax.numpy as jnp, seqjax
      >>> leak = seqjax.linear_cell(
      ...     "leak",
      ...     2,
      ...     init=lambda key, in_size, dtype=jnp.float32: (),
      ...     coefficients=lambda params, x: (jnp.full_like(x, 0.5), x),
      ... )
      >>> [round(float(l), 4) for l in lyapunov_exponents(leak, (), jnp.ones((50, 2)))]
      [-0.6931, -0.6931]

    Reference: Benettin et al. (1980), Lyapunov characteristic exponents for smooth dynamical
    systems; Vogt et al. (2022), On Lyapunov exponents for RNNs.
    """
    run = trajectory(cell, params, xs, initial_state)
    form = FlatState(run.previous, lead=2)
    where = "seqjax.gradflow.lyapunov_exponents"
    num_steps = jax.tree.leaves(run.previous)[0].shape[1]
    if every < 1 or transient < 0 or num_steps - transient < every:
        raise ValueError(
            f"{where}: `every` must be at least 1, `transient` at least 0, and at least `every` of "
            f"the {num_steps} steps must follow the transient, got every={every} and "
            f"transient={transient}."
        )
    columns = form.size if num_exponents is None else num_exponents
    if not 1 <= columns <= form.size:
        raise ValueError(
            f"{where}: `num_exponents` must lie between 1 and the {form.size} numbers of the state "
            f"of {cell!r}, got {num_exponents}."
        )
    num_blocks = (num_steps - transient) // every
    counted = num_blocks * every

    def push(frame: Array, at_step: Any) -> tuple[Array, None]:
        state, drive = at_step

        def step(vector: Array) -> Array:
            return form.flatten(cell.step(run.params, form.unflatten(vector, state), drive))

        _, tangent = jax.linearize(step, form.flatten(state))
        return jax.vmap(tangent, in_axes=1, out_axes=1)(frame), None

    def block(frame: Array, at_steps: Any) -> tuple[Array, Array]:
        frame, factor = jnp.linalg.qr(lax.scan(push, frame, at_steps)[0])
        return frame, jnp.log(jnp.abs(jnp.diagonal(factor)))

    def of_one(previous: Any, drives: Any) -> Array:
        at_steps = (previous, drives)
        frame = random_orthogonal(form.size, columns, form.flatten(previous).dtype)
        skipped = jax.tree.map(lambda leaf: leaf[: num_steps - counted, None], at_steps)
        frame, _ = lax.scan(block, frame, skipped)
        blocks = jax.tree.map(
            lambda leaf: leaf[num_steps - counted :].reshape(num_blocks, every, *leaf.shape[1:]),
            at_steps,
        )
        _, logs = lax.scan(block, frame, blocks)
        return -jnp.sort(-logs.sum(axis=0) / counted)

    exponents = jax.vmap(of_one)(run.previous, run.drives)
    return exponents.reshape(*run.batch_shape, columns)
