"""`step`: one step in time, for inputs that come one by one."""

from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from seqjax._unroll.api import unroll
from seqjax.cells._base import Cell


def step(cell: Cell, params: Any, x: ArrayLike, state: Any = None) -> tuple[Array, Any]:
    """Runs a cell one step: what `unroll` does with a sequence of one, without its time axis.

    Args:
      cell: the cell.
      params: its parameters.
      x: the input of this step, shape (*B, D).
      state: the state that the step before returned; by default `cell.initial_state`.

    Returns:
      `(y, state)`: the output of shape (*B, H) in the dtype of `x`, and the state after the step.

    Raises:
      ValueError: if a shape does not fit.
      TypeError: if `x` is not floating.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.lstm(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> xs = jax.random.normal(jax.random.key(1), (5, 2, 3))
      >>> state = None
      >>> for x in xs:
      ...     y, state = seqjax.step(cell, params, x, state)
      >>> bool(jnp.allclose(y, seqjax.unroll(cell, params, xs)[0][-1], atol=1e-6))
      True
    """
    ys, state = unroll(cell, params, jnp.asarray(x)[None], initial_state=state)
    return ys[0], state
