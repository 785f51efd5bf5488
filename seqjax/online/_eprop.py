"""E-prop: the influence that does not pass through the recurrent product."""

import dataclasses

from jax import Array

from seqjax.cells._cell import Cell
from seqjax.cells._gated import GatedCell
from seqjax.online._influence import by_block, needs_units
from seqjax.online._rtrl import exact
from seqjax.online._step import Step, from_vector, to_vector
from seqjax.online._traced import Traced


@dataclasses.dataclass(frozen=True)
class EProp(Traced):
    """E-prop: RTRL without the gradient through the recurrent product `h R`.

        P_t = D_t P_{t-1} + ds_t/dparams,    D_t = ds_t/ds_{t-1} at fixed gate inputs

    It equals back-propagation with the gradient stopped at `h R`. A trace has as many numbers as
    there are parameters, for each field of the state, and each is local to its unit. The learning
    signal is the gradient of the output; `feedback_alignment` makes it a random one.

    Raises:
      ValueError: from `init`, `update` and `unroll`, if the cell is neither a gated cell with a
        pointwise `update` nor a linear cell, or has inner gates.

    Example:
      >>> import seqjax
      >>> seqjax.online.EProp().refusal(seqjax.gru(4, reset_after=False))
      "an inner gate's product passes a parameter's influence on to all units; use RTRL or SnAp1"

    Reference: Bellec et al. (2020), A solution to the learning dilemma for recurrent networks of
    spiking neurons.
    """

    def refusal(self, cell: Cell) -> str | None:
        """Refuses a cell without units, and one with inner gates."""
        if isinstance(cell, GatedCell) and cell.inner_gates:
            return (
                "an inner gate's product passes a parameter's influence on to all units; use RTRL "
                "or SnAp1"
            )
        return needs_units(cell)

    def kept(self, step: Step, components: int) -> Array:
        """Returns the derivative of `update` at fixed gates."""
        cell = step.cell
        if not isinstance(cell, GatedCell):
            return exact(step, components)
        inputs = cell.gate_inputs(step.params, step.state, step.drive(step.params))

        def own(vector: Array) -> Array:
            return to_vector(cell.next_state(from_vector(step.state, vector), inputs))

        return by_block(own, to_vector(step.state), components)
