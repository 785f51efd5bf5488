"""A residual connection around a cell."""

import dataclasses

from seqjax.cells._cell import Cell, check_cell


def residual(cell: Cell) -> Cell:
    """Adds the input to the output: `y_t = x_t + cell(x_t)`.

    Args:
      cell: any cell; its input must have `cell.out_size` features.

    Returns:
      The cell, of the same kind. Its parameters and its state are those of `cell`.

    Raises:
      TypeError: if `cell` is not a cell.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.transforms.residual(seqjax.gru(4))
      >>> params = cell.init(jax.random.key(0), 4)
      >>> xs = jnp.ones((7, 2, 4))
      >>> plain, _ = seqjax.unroll(seqjax.gru(4), params, xs)
      >>> bool(jnp.allclose(seqjax.unroll(cell, params, xs)[0], xs + plain))
      True

    Reference: Kim, El-Khamy and Lee (2017), Residual LSTM; He et al. (2016), Deep residual learning
    for image recognition.
    """
    check_cell("seqjax.transforms.residual", cell)
    return dataclasses.replace(cell, residual=True)
