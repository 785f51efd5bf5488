"""`Sequential` runs a cell step by step, with the fastest backward pass for its kind."""

import dataclasses
from typing import Any

from seqjax._checks import check_choice
from seqjax.cells._cell import Cell
from seqjax.cells._gated import GatedCell
from seqjax.cells._linear import LinearCell
from seqjax.executors._executor import Run
from seqjax.executors._gated import run_gated
from seqjax.executors._linear import run_linear
from seqjax.executors._scan import Scan
from seqjax.executors._stepwise import Stepwise

RESIDUALS = ("auto", "gates", "states", "boundaries")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sequential(Stepwise):
    """Runs any cell step by step.

    A `GatedCell` or a `LinearCell` uses our own backward pass. Any other cell runs as in `Scan`,
    and so does a `LinearCell` with `residuals="boundaries"`.

    Attributes:
      residuals: the values to keep for the backward pass, in addition to the input. For a
        `GatedCell`, "gates" keeps the gate inputs and the states and is fastest. "states" keeps the
        states. "boundaries" keeps only the states between segments of about sqrt(T) steps and
        needs the least memory. "states" and "boundaries" compute the rest again, with the same
        operations in the same order. "auto" is "gates" up to 64 MiB of gate inputs, and "states"
        beyond. A `LinearCell` accepts "auto", "states" and "boundaries"; "auto" is "states". Any
        other cell accepts "auto" and "boundaries".
      chunk_size: steps to project together. By default, the projection of a chunk has about 512
        rows on each device and at most 10 steps. For a linear cell, it has about 256 rows, or 2,048
        steps of a single sequence.
      truncation: truncated back-propagation through time, `(k1, k2)` with k1 <= k2. The gradient
        of each block of k1 steps flows back to at most k2 steps before the end of the block. `k`
        means `(k, k)`. Outputs and states are the same as in the full run.
      state_gradient_clip: largest magnitude of each element of the gradient that a step passes to
        the previous step; larger elements are clipped. None clips nothing.

    Raises:
      ValueError: if an option is unknown or out of range.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.lstm(4)
      >>> params, xs = cell.init(jax.random.key(0), 3), jnp.ones((400, 2, 3))
      >>> frugal = seqjax.executors.Sequential(residuals="boundaries")
      >>> ys, _ = seqjax.unroll(cell, params, xs, executor=frugal)
      >>> ys.shape
      (400, 2, 4)
    """

    residuals: str = "auto"

    def __post_init__(self) -> None:
        """Refuses options out of range."""
        super().__post_init__()
        check_choice("seqjax.executors.Sequential", "residuals", self.residuals, RESIDUALS)

    def refusal(self, cell: Cell) -> str | None:
        """Refuses residuals that the kind of the cell does not support."""
        kept = ["auto", "boundaries"]
        if isinstance(cell, GatedCell):
            return None
        if isinstance(cell, LinearCell):
            kept.append("states")
        if self.residuals in kept:
            return None
        return f"residuals={self.residuals!r} needs a cell of another kind; use one of {kept}"

    def run_whole(self, run: Run) -> tuple[Any, Any]:
        """Runs the cell without truncation."""
        chunk_size, clip = self.chunk_size, self.state_gradient_clip
        if isinstance(run.cell, GatedCell):
            return run_gated(run, chunk_size, self.residuals, clip)
        boundaries = self.residuals == "boundaries"
        if isinstance(run.cell, LinearCell) and not boundaries:
            return run_linear(run, chunk_size, clip)
        plain = Scan(rematerialise=boundaries, chunk_size=chunk_size, state_gradient_clip=clip)
        return plain.run_whole(run)
