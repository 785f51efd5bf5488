"""Recurrent dropout: drops the new candidate, never the memory."""

import inspect
from typing import Any

import jax.numpy as jnp
from jax import Array

from seqjax._checks import check_choice, check_rates
from seqjax.cells._cell import Cell, check_cell
from seqjax.cells._gated import GatedCell
from seqjax.cells._linear import LinearCell
from seqjax.cells._noise import Draw, kept
from seqjax.cells._operations import Bound, bind
from seqjax.transforms._noisy import NoisyLinear, with_update

PER = ("step", "sequence")


def recurrent_dropout(cell: Cell, rate: float, *, per: str = "step") -> Cell:
    """Drops units of the candidate, so dropout never erases the memory.

        c_t = f_t * c_{t-1} + i_t * m_t * g_t,      m_t ~ Bernoulli(1 - p) / (1 - p)

    This is the equation of an LSTM with the candidate `g_t`. In a GRU, `m_t` multiplies the
    candidate `n_t`; in a linear cell, it multiplies `b_t`. Without a key, as at test time, nothing
    is dropped.

    Args:
      cell: a `LinearCell`, or a `GatedCell` with an `update` that takes `candidate_factor`. This
        is a number or an array that multiplies the candidate, 1 by default. The LSTMs (except
        `slstm`) and the GRUs of the library take it.
      rate: `p`, the probability that a unit is dropped.
      per: "step" to draw at every step, "sequence" to draw once per sequence.

    Returns:
      The cell, of the same kind. Its parameters and its state are those of `cell`.

    Raises:
      ValueError: if `rate` is not in [0, 1), `per` is unknown, or the cell has no candidate.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.transforms.recurrent_dropout(seqjax.lstm(4), 0.25)
      >>> params, xs = cell.init(jax.random.key(0), 3), jnp.ones((7, 2, 3))
      >>> ys, state = seqjax.unroll(cell, params, xs, key=jax.random.key(1))
      >>> ys.shape
      (7, 2, 4)

    Reference: Semeniuta, Severyn and Barth (2016), Recurrent dropout without memory loss.
    """
    where = "seqjax.transforms.recurrent_dropout"
    check_cell("seqjax.transforms.recurrent_dropout", cell)
    check_rates(where, rate=rate)
    check_choice(where, "per", per, PER)
    if isinstance(cell, LinearCell):
        noise = Draw("candidate", rate, per)
        return NoisyLinear(
            cell.hidden_size, name=cell.name, inner=cell, noise=noise, change=_linear_dropped
        )
    if not isinstance(cell, GatedCell) or not _takes_factor(cell.update):
        raise ValueError(
            f"{where}: `cell` must have an `update` that takes `candidate_factor`, got {cell!r}. "
            "Use an LSTM or a GRU, or give your update that argument."
        )
    update = bind(_dropped_update, inner_update=cell.update, dropout_rate=rate)
    draws = (Draw("recurrent_dropout", rate, per),)
    return with_update("recurrent_dropout", cell, draws, update)


def _takes_factor(update: Any) -> bool:
    while isinstance(update, Bound):
        update = dict(update.keywords).get("inner_update", update.function)
    return "candidate_factor" in inspect.signature(update).parameters


def _dropped_update(
    state: Any,
    *,
    inner_update: Any,
    dropout_rate: float,
    recurrent_dropout: Array | None = None,
    **values: Any,
) -> Any:
    if recurrent_dropout is None:
        return inner_update(state, **values)
    factor = kept(recurrent_dropout > 0, dropout_rate, recurrent_dropout.dtype)
    return inner_update(state, candidate_factor=factor, **values)


def _linear_dropped(a: Array, b: Array, hit: Array | None, rate: float) -> tuple[Array, Array]:
    return a, b if hit is None else jnp.where(hit, 0, b / (1 - rate))
