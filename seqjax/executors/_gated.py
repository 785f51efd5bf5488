"""Runs gated cells in time: a forward pass joined with our own backward pass."""

import functools
import math
from typing import Any

import jax.numpy as jnp
from jax import Array

from seqjax._padding import known
from seqjax.executors._chunks import default_chunk_size
from seqjax.executors._executor import Run
from seqjax.executors._gated_backward import backward
from seqjax.executors._gated_forward import Plan, forward, forward_keeping, without_start
from seqjax.executors._own_backward import Results, run_with_backward

MOST_GATES = 2**26
"""Most bytes of gate inputs that a run keeps by default for the backward pass."""


def run_gated(
    run: Run, chunk_size: int | None, residuals: str, state_gradient_clip: float | None
) -> Results:
    """Runs a gated cell; see the options of `Sequential`."""
    if residuals == "auto":
        residuals = "gates" if _gates_fit(run.inputs.xs, run.cell) else "states"
    if chunk_size is None:
        chunk_size = default_chunk_size(run.inputs.xs.shape[0], run.inputs.xs.shape[1:-1])
    plan = Plan(chunk_size, residuals, state_gradient_clip)
    stages: Any = [functools.partial(each, plan) for each in (forward, forward_keeping, backward)]
    return run_with_backward(without_start(run), *stages)


def _gates_fit(xs: Array, cell: Any) -> bool:
    """Returns whether the gate inputs of all steps fit into `MOST_GATES` bytes."""
    if not known(*xs.shape):
        return False
    columns = (len(cell.gates) + len(cell.unsummed)) * cell.hidden_size
    wide = jnp.promote_types(xs.dtype, jnp.float32)
    return math.prod(xs.shape[:-1]) * columns * wide.itemsize <= MOST_GATES
