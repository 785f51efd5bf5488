"""`Scan` runs any cell with a plain `lax.scan` over time, which JAX differentiates."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from seqjax._padding import known, select
from seqjax.cells._cell import Cell
from seqjax.executors._chunks import default_chunk_size, scan_chunks, scan_in_place
from seqjax.executors._clipping import clip_gradient
from seqjax.executors._executor import Inputs, Run
from seqjax.executors._parts import run_in_parts
from seqjax.executors._stepwise import Stepwise

INLINED = 10  # most steps to inline per loop iteration when JAX does not differentiate the loop


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scan(Stepwise):
    """Runs any cell with a `lax.scan` that JAX differentiates: the plain reference.

    Attributes:
      chunk_size: see `Sequential`. With `rematerialise`, the default is about sqrt(T) steps.
      rematerialise: whether to keep only the states between chunks for the backward pass, which
        then computes everything else again (`jax.checkpoint`).
      truncation: see `Sequential`.
      state_gradient_clip: see `Sequential`.

    Raises:
      ValueError: if an option is out of range.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.gru(4)
      >>> params, xs = cell.init(jax.random.key(0), 3), jnp.ones((7, 2, 3))
      >>> plain, _ = seqjax.unroll(cell, params, xs, executor=seqjax.executors.Scan())
      >>> bool(jnp.allclose(plain, seqjax.unroll(cell, params, xs)[0], atol=1e-6))
      True
    """

    rematerialise: bool = False

    def refusal(self, cell: Cell) -> str | None:
        """Refuses no cell."""
        return None

    def run_whole(self, run: Run) -> tuple[Any, Any]:
        """Runs the cell without truncation."""
        num_steps = run.inputs.xs.shape[0]
        chunk_size = self.chunk_size
        if chunk_size is None and self.rematerialise and known(num_steps):
            chunk_size = math.ceil(math.sqrt(num_steps))
        elif chunk_size is None:
            chunk_size = default_chunk_size(num_steps, run.inputs.xs.shape[1:-1])
        clip = self.state_gradient_clip

        def plain(run: Run) -> tuple[Any, Any]:
            return run_scan(run, chunk_size, remat=self.rematerialise, state_gradient_clip=clip)[:2]

        return run_in_parts(plain, run)


def run_scan(
    run: Run,
    chunk_size: int,
    *,
    step: Callable[[Any, Any, Any], tuple[Any, Any]] | None = None,
    remat: bool = False,
    state_gradient_clip: float | None = None,
    differentiated: bool = True,
) -> tuple[Any, Any, Any]:
    """Runs a cell step by step; see `seqjax.unroll` for the semantics.

    The input is projected `chunk_size` steps at a time, with one large product per chunk. A single
    product for all steps would need a temporary of shape (T, *B, gates * H). Its memory traffic
    costs more than the larger product saves.

    Args:
      run: what to run.
      chunk_size: steps to project together.
      step: replaces `cell.step` if given; returns the new state and a pytree to keep.
      remat: whether JAX's backward pass keeps only the states between chunks.
      state_gradient_clip: bound on each element of the gradient that JAX's backward pass passes
        from a step to the previous step, or None.
      differentiated: whether JAX differentiates the scan in reverse mode. If not, the steps of a
        chunk are inlined in the loop and results are written in place.

    Returns:
      The final state, the state after every step with time first, and the pytrees that `step` kept.
    """
    cell = run.cell

    def run_step(params, state, at_step):
        drive, valid, reset = at_step
        state = clip_gradient(state, state_gradient_clip)
        if reset is not None:
            state = jax.tree.map(lambda new, old: select(reset, new, old), run.reset_state, state)
        new, kept = step(params, state, drive) if step else (cell.step(params, state, drive), None)
        new = jax.tree.map(functools.partial(_like, cell), new, state)
        if valid is not None:
            new = jax.tree.map(lambda leaf, old: select(valid, leaf, old), new, state)
        return new, (new, kept)

    def run_chunk(state: Any, _: Any, chunk: Inputs):
        # Without the barrier, JAX hoists values that depend on parameters alone out of the loop,
        # such as the bias broadcast over a chunk. Reading them from memory at every step keeps XLA
        # on CPU from vectorising the gates, which costs a fifth of an LSTM's training step.
        here = run.params
        if not differentiated:
            here, state = lax.optimization_barrier((run.params, state))
        drives = chunk.drives(cell, here)
        steps = drives, chunk.valid, chunk.resets
        # XLA on CPU does not vectorise a pointwise function of slices whose offset changes with the
        # step. Inlining fixes the offsets, which saves a third of an LSTM's forward pass. But it
        # slows down a backward pass made by JAX, which recomputes each residual for every use.
        inlined = 1 if differentiated else min(chunk_size, INLINED)
        step_here = functools.partial(run_step, here)
        return lax.scan(step_here, state, steps, reverse=run.reverse, unroll=inlined)

    body, scan = jax.checkpoint(run_chunk) if remat else run_chunk, scan_chunks
    if not differentiated:
        scan = scan_in_place
    final, (states, kept) = scan(
        body, run.state, run.inputs, chunk_size=chunk_size, reverse=run.reverse
    )
    return final, states, kept


def _like(cell: Cell, new: Any, old: Any) -> Any:
    """Returns a field of the new state in the dtype that it had before the step."""
    if jnp.iscomplexobj(new) and not jnp.iscomplexobj(old):
        raise TypeError(
            f"seqjax {cell!r}: a step must keep the dtype of its state, got a complex field where "
            "the initial state is real. Make the initial state complex."
        )
    return new.astype(old.dtype)
