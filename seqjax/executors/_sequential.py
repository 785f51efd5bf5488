"""`Sequential`: one step after the other, with the fastest backward pass that a cell has."""

import dataclasses
from typing import Any

from seqjax.cells._cell import Cell
from seqjax.cells._gated import GatedCell
from seqjax.cells._linear import LinearCell
from seqjax.executors._gated import run_gated
from seqjax.executors._linear import run_linear
from seqjax.executors._scan import Scan
from seqjax.executors._stepwise import Stepwise

RESIDUALS = ("auto", "gates", "states", "boundaries")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sequential(Stepwise):
    """Runs any cell one step after the other.

    A `GatedCell` and a `LinearCell` have a backward pass of their own. For any other cell this is
    `Scan`.

    Attributes:
      residuals: what is kept for the backward pass beside the input. Of a `GatedCell`: the inputs
        of the "gates" and the states, which takes the least time; the "states" alone; or only the
        states at the "boundaries" of segments of about sqrt(T) steps, which takes the least
        memory. The last two compute the rest again, with the same operations in the same order.
        "auto" keeps the gates up to 64 MiB, and the states beyond that. A `LinearCell` keeps its
        "states", or those at the "boundaries"; any other cell takes "auto" or "boundaries".
      chunk_size: steps whose input is projected together. By default a number for which the
        projection of a chunk has about 512 rows on each device, at most 10 (2,048 rows and 2,048
        steps for a linear cell).
      truncation: truncated back-propagation through time: `(k1, k2)` lets the gradient of each
        block of k1 steps flow back to at most k2 steps before the block's end, k1 <= k2; `k` is
        `(k, k)`. The values stay those of the full run.
      state_gradient_clip: every element of the gradient that a step hands back to the step before
        it is clipped to at most this magnitude.

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
        if self.residuals not in RESIDUALS:
            raise ValueError(
                f"seqjax.executors.Sequential: `residuals` must be one of {', '.join(RESIDUALS)}, "
                f"got {self.residuals!r}."
            )

    def refusal(self, cell: Cell) -> str | None:
        """Refuses residuals that a cell does not have."""
        kept = ["auto", "boundaries"]
        if isinstance(cell, GatedCell):
            return None
        if isinstance(cell, LinearCell):
            kept.append("states")
        if self.residuals in kept:
            return None
        return f"residuals={self.residuals!r} needs a cell of another kind; use one of {kept}"

    def run_whole(
        self, cell, params, inputs, state, reset_state, *, reverse, all_states
    ) -> tuple[Any, Any]:
        """Runs the cell without truncation."""
        options = {"reverse": reverse, "chunk_size": self.chunk_size}
        clip = self.state_gradient_clip
        if isinstance(cell, GatedCell) and inputs.xs.shape[0]:
            return run_gated(
                cell,
                params,
                inputs,
                state,
                reset_state,
                residuals=self.residuals,
                all_states=all_states,
                state_gradient_clip=clip,
                **options,
            )
        boundaries = self.residuals == "boundaries"
        if isinstance(cell, LinearCell) and inputs.xs.shape[0] and not boundaries:
            return run_linear(
                cell, params, inputs, state, reset_state, state_gradient_clip=clip, **options
            )
        plain = Scan(rematerialise=boundaries, chunk_size=self.chunk_size, state_gradient_clip=clip)
        return plain.run_whole(
            cell, params, inputs, state, reset_state, reverse=reverse, all_states=all_states
        )
