"""Variational dropout: one mask for all steps of a sequence."""

import dataclasses

from seqjax._checks import check_rates
from seqjax.cells._cell import check_cell
from seqjax.cells._gated import GatedCell


def variational_dropout(
    cell: GatedCell, rate: float, *, input_rate: float = 0.0, untied: bool = False
) -> GatedCell:
    """Drops the same units at all steps of a sequence, before the recurrent product.

        z_t = W (m_x * x_t) + R (m_h * h_{t-1}) + b

    The masks `m_x` and `m_h` are drawn once per sequence. Each number of a mask is 0 with
    probability `p`, and `1 / (1 - p)` otherwise. An inner product, such as `R_n (r * h)` of a GRU,
    also uses `m_h`. Without a key, as at test time, nothing is dropped.

    Args:
      cell: a `GatedCell` with a recurrent product.
      rate: `p` of the hidden state.
      input_rate: `p` of the input.
      untied: whether each gate has its own `m_h`, as in Keras. Each gate then needs its own
        product, and the kernel must not be split into heads.

    Returns:
      The cell. Its parameters and its state are those of `cell`.

    Raises:
      TypeError: if `cell` is not a `GatedCell`.
      ValueError: if a rate is not in [0, 1), the cell has no recurrent product, or `untied` does
        not fit the kernel.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.transforms.variational_dropout(seqjax.lstm(4), 0.25, input_rate=0.1)
      >>> params, xs = cell.init(jax.random.key(0), 3), jnp.ones((7, 2, 3))
      >>> ys, state = seqjax.unroll(cell, params, xs, key=jax.random.key(1))
      >>> ys.shape
      (7, 2, 4)

    Reference: Gal and Ghahramani (2016), A theoretically grounded application of dropout in
    recurrent neural networks.
    """
    where = "seqjax.transforms.variational_dropout"
    check_gated("variational_dropout", cell)
    check_rates(where, rate=rate, input_rate=input_rate)
    if untied and cell.heads != 1:
        raise ValueError(f"{where}: `untied` needs a dense kernel, got {cell.heads} heads.")
    return dataclasses.replace(
        cell, hidden_dropout=rate, input_dropout=input_rate, untied_dropout=untied
    )


def check_gated(where: str, cell: object, *, product: bool = True) -> None:
    """Refuses a cell that is not gated, or has no recurrent product although `product` is set."""
    check_cell(f"seqjax.transforms.{where}", cell)
    if not isinstance(cell, GatedCell):
        raise TypeError(
            f"seqjax.transforms.{where}: `cell` must be a GatedCell, such as seqjax.lstm(64), got "
            f"{cell!r}."
        )
    if product and not cell.heads:
        raise ValueError(
            f"seqjax.transforms.{where}: `cell` must have a recurrent product, got {cell!r}, whose "
            "units are independent."
        )
