"""Runs gated cells in time: a forward pass joined with our own backward pass."""

import functools
import math

import jax.numpy as jnp
from jax import Array

from seqjax._padding import known
from seqjax.cells._cell import State
from seqjax.cells._gated import GatedCell, GatedParams
from seqjax.executors._chunks import default_chunk_size
from seqjax.executors._executor import Inputs
from seqjax.executors._gated_backward import backward
from seqjax.executors._gated_forward import Operands, Plan, Results, forward, forward_keeping
from seqjax.executors._own_backward import run_with_backward

MOST_GATES = 2**26
"""Most bytes of gate inputs that a run keeps by default for the backward pass."""


def run_gated(
    cell: GatedCell,
    params: GatedParams,
    inputs: Inputs,
    state: State,
    reset_state: State,
    *,
    reverse: bool,
    chunk_size: int | None,
    residuals: str,
    all_states: bool,
    state_gradient_clip: float | None,
) -> Results:
    """Runs a gated cell; see `Executor.run` and the options of `Sequential`."""
    if residuals == "auto":
        residuals = "gates" if _gates_fit(inputs.xs, cell) else "states"
    if chunk_size is None:
        chunk_size = default_chunk_size(inputs.xs.shape[0], inputs.xs.shape[1:-1])
    plan = Plan(cell, reverse, chunk_size, residuals, all_states, state_gradient_clip)
    operands = Operands(
        params._replace(initial_state=None, extra=None),
        inputs.xs,
        state,
        None if inputs.resets is None else reset_state,
    )
    return run_with_backward(
        functools.partial(forward, plan),
        functools.partial(forward_keeping, plan),
        functools.partial(backward, plan),
        operands,
        inputs._replace(xs=None),  # pyright: ignore[reportArgumentType]
        # -1: the batch shares the parameters.
        batch_axes=(Operands._make((-1, 1, 0, 0)), 1, 1, Results._make((0, 1))),
    )


def _gates_fit(xs: Array, cell: GatedCell) -> bool:
    """Returns whether the gate inputs of all steps fit into `MOST_GATES` bytes."""
    if not known(*xs.shape):
        return False
    columns = (len(cell.gates) + len(cell.unsummed)) * cell.hidden_size
    wide = jnp.promote_types(xs.dtype, jnp.float32)
    return math.prod(xs.shape[:-1]) * columns * wide.itemsize <= MOST_GATES
