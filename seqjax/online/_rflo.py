"""RFLO: e-prop for a rate network, with random feedback."""

import dataclasses

from seqjax.cells._cell import Cell
from seqjax.cells._gated import GatedCell
from seqjax.online._eprop import EProp


@dataclasses.dataclass(frozen=True)
class RFLO(EProp):
    """Random feedback local online learning, for networks without gates.

    For `h_t = (1 - a) h_{t-1} + a phi(z_t)`, `z_t = x_t W + h_{t-1} R + b`, the trace of `R` is

        P_t[i, j] = (1 - a) P_{t-1}[i, j] + a phi'(z_t[j]) h_{t-1}[i]

    and those of `W` and `b` have `x_t` and 1 in the place of `h`. The trace is that of e-prop. In
    the paper the errors reach the units by fixed random weights: read the network out with
    `feedback_alignment`.

    Raises:
      ValueError: from `init`, `update` and `unroll`, if the cell is not a gated cell with one gate,
        one field in its state and a recurrent product, such as `leaky_rnn` and `elman`.

    Example:
      >>> import seqjax
      >>> seqjax.online.RFLO().refusal(seqjax.leaky_rnn(4)) is None
      True

    Reference: Murray (2019), Local online learning in recurrent networks with random feedback.
    """

    def refusal(self, cell: Cell) -> str | None:
        """Refuses all but rate networks."""
        if isinstance(cell, GatedCell) and cell.heads and len(cell.gates) == 1:
            fields = cell.state._fields  # pyright: ignore[reportAttributeAccessIssue]
            if len(fields) == 1:
                return super().refusal(cell)
        return (
            "it is for networks without gates, such as seqjax.leaky_rnn and seqjax.elman; EProp "
            "has the same trace for gated cells"
        )
