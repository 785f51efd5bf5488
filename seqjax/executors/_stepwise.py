"""The options that step-by-step executors share: chunks, truncation and clipping."""

import dataclasses
from typing import Any

import numpy as np

from seqjax._checks import check_above_zero, check_optional_sizes
from seqjax.executors._executor import Run
from seqjax.executors._truncation import run_truncated


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stepwise:
    """The base class of step-by-step executors, with their options; see `Sequential`."""

    chunk_size: int | None = None
    truncation: int | tuple[int, int] | None = None
    state_gradient_clip: float | None = None

    def __post_init__(self) -> None:
        """Refuses options out of range."""
        where = f"seqjax.executors.{type(self).__name__}"
        check_optional_sizes(where, chunk_size=self.chunk_size)
        clip = self.state_gradient_clip
        check_above_zero(where, "None clips nothing.", state_gradient_clip=clip)
        blocks = (1, 1) if self.blocks is None else self.blocks
        sound = len(blocks) == 2 and all(_is_count(block) for block in blocks)
        if not (sound and blocks[0] <= blocks[1]):
            raise ValueError(
                f"{where}: `truncation` must be integers (k1, k2) with 1 <= k1 <= k2, or one "
                f"integer for both, got {self.truncation!r}."
            )

    @property
    def blocks(self) -> tuple[int, int] | None:
        """Returns the truncation as `(k1, k2)`, or None for the full gradient."""
        if self.truncation is None or isinstance(self.truncation, tuple | list):
            return self.truncation
        return self.truncation, self.truncation

    def run(self, run: Run) -> tuple[Any, Any]:
        """Runs the cell, see `Executor.run`."""
        blocks = self.blocks
        if blocks is None or max(blocks) >= run.inputs.xs.shape[0]:
            return self.run_whole(run)
        return run_truncated(self.run_whole, run, blocks)

    def run_whole(self, run: Run) -> tuple[Any, Any]:
        """Runs the cell without truncation."""
        raise NotImplementedError


def _is_count(value: Any) -> bool:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and bool(value >= 1)
