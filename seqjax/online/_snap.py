"""SnAp-1: only the influence of each unit on itself."""

import dataclasses

import jax.numpy as jnp
from jax import Array

from seqjax.cells._cell import Cell
from seqjax.online._influence import acts_by_unit, needs_units
from seqjax.online._rtrl import exact
from seqjax.online._step import Step
from seqjax.online._traced import Traced


@dataclasses.dataclass(frozen=True)
class SnAp1(Traced):
    """The sparse approximation of order 1: RTRL with only the diagonal of the Jacobian.

        P_t = diag(J_t) P_{t-1} + ds_t/dparams

    A trace has as many numbers as there are parameters, for each field of the state. With several
    fields, the diagonal has a block for each unit, such as 2 x 2 numbers for an LSTM. The method is
    exact if `J_t` is diagonal. The parameters of a cell with inner gates act on all units, so their
    traces are `H` times as large.

    Raises:
      ValueError: from `init`, `update` and `unroll`, if the cell is neither a gated cell with a
        pointwise `update` nor a linear cell.

    Example:
      >>> import seqjax
      >>> seqjax.online.SnAp1().refusal(seqjax.gru(4)) is None
      True

    Reference: Menick et al. (2021), Practical real time recurrent learning with a sparse
    approximation to the Jacobian.
    """

    def refusal(self, cell: Cell) -> str | None:
        """Refuses a cell without units."""
        return needs_units(cell)

    def kept(self, step: Step, components: int) -> Array:
        """Returns the diagonal of the Jacobian."""
        if acts_by_unit(step.cell):
            return exact(step, components)
        jacobian = step.jacobian()
        units = len(jacobian) // components
        by_unit = jacobian.reshape(components, units, components, units)
        return jnp.einsum("fugu->fgu", by_unit)
