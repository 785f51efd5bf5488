"""Runs linear cells step by step, with our own backward pass.

The forward pass keeps only the states. It computes the coefficients one chunk of steps at a time,
and the backward pass computes them again. The chain of the backward pass is the same recurrence in
the opposite direction::

    lambda_t = d_h_t + a_{t+1} * lambda_{t+1},   d_a_t = lambda_t * h_{t-1},   d_b_t = lambda_t
"""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqjax._padding import first_steps, known, select, zeros_unless
from seqjax.cells._cell import Cell, HiddenState, project
from seqjax.cells._linear import SegmentState, spread
from seqjax.executors._chunks import before_chunk, default_chunk_size, scan_in_place
from seqjax.executors._clipping import clipped
from seqjax.executors._executor import Inputs, Run
from seqjax.executors._inexact import Split
from seqjax.executors._own_backward import Operands, Results, run_with_backward
from seqjax.executors._parts import run_in_parts

ROWS, MOST_STEPS = 256, 2048
"""The target number of rows in a chunk, and about the largest number of steps in a chunk."""


class Plan(NamedTuple):
    """The static options of a run of a linear cell, see `Sequential`."""

    chunk_size: int
    state_gradient_clip: float | None


def run_linear(
    run: Run, chunk_size: int | None, state_gradient_clip: float | None
) -> tuple[Any, Any]:
    """Runs a linear cell; see the options of `Sequential`."""
    if chunk_size is None:
        steps, *batch, _ = run.inputs.xs.shape
        # A single sequence has nothing but steps to make a chunk's product large.
        rows = MOST_STEPS if known(*batch) and math.prod(batch) == 1 else ROWS
        chunk_size = default_chunk_size(steps, tuple(batch), rows=rows, most=MOST_STEPS)
    plan = Plan(chunk_size, state_gradient_clip)
    all_stages = _forward, _forward_keeping, _backward
    stages: Any = [functools.partial(stage, plan) for stage in all_stages]

    def run_part(run: Run) -> tuple[Any, Any]:
        hidden, reset = run.state.hidden, run.reset_state.hidden
        plain = dataclasses.replace(run, state=hidden, reset_state=reset)
        return with_fresh(run, *run_with_backward(plain, *stages))

    return run_in_parts(run_part, run)


def with_fresh(run: Run, final: Array, states: Array) -> tuple[Any, Any]:
    """Returns the final state and all states in the cell's state type, from their hidden fields."""
    if not run.cell.uses_starts:
        return HiddenState(final), HiddenState(states)
    start, inputs, steps = run.state.fresh, run.inputs, states.shape[0]
    _, fresh = first_steps(start, inputs.valid, inputs.resets, steps, reverse=run.reverse)
    return SegmentState(final, fresh[0 if run.reverse else -1]), SegmentState(states, fresh)


def coefficients(cell: Cell, params: Any, inputs: Inputs) -> tuple[Array, Array]:
    """Returns `(a, b)` for the steps of `inputs`, and (1, 0) at the invalid steps.

    `a` has as many axes as `b`; some may have size 1.
    """
    a, b = project(cell, params, inputs.clean_xs(), inputs.starts, inputs.noise)
    a = spread(a, b)
    if inputs.valid is not None:
        lead = inputs.valid.ndim
        a = jnp.broadcast_to(a, (*b.shape[:lead], *a.shape[lead:]))
        a = select(inputs.valid, a, jnp.ones_like(a))
        b = zeros_unless(inputs.valid, b)
    return a, b


def _forward(plan: Plan, run: Run) -> Results:
    def chunk(hidden: Array, _: Any, inputs: Inputs) -> tuple[Array, Array]:
        # The barriers keep XLA from broadcasting parameters over a chunk outside the loop.
        params, hidden = lax.optimization_barrier((run.params, hidden))
        a, b = lax.optimization_barrier(as_carry(coefficients(run.cell, params, inputs), hidden))
        per_step, constant = _by_step(a)

        def step(hidden: Array, at_step: Any) -> tuple[Array, Array]:
            a, b, reset = at_step
            if reset is not None:
                hidden = select(reset, run.reset_state, hidden)
            hidden = _chosen(a, constant) * hidden + b
            return hidden, hidden

        return lax.scan(step, hidden, (per_step, b, inputs.resets), reverse=run.reverse)

    found = scan_in_place(
        chunk, run.state, run.inputs, chunk_size=plan.chunk_size, reverse=run.reverse
    )
    return Results(*found)


def _forward_keeping(plan: Plan, run: Run) -> tuple[Results, Array]:
    results = _forward(plan, run)
    return results, results.states


def _backward(plan: Plan, run: Run, states: Array, d_results: Results) -> Operands:
    """Runs the backward pass over the chunks, from the last to the first."""
    split = Split(run.params)
    moving, still = split(run.params)
    totals = [jnp.zeros(leaf.shape, jnp.promote_types(leaf.dtype, jnp.float32)) for leaf in moving]

    def chunk(carry: Any, start: Any, chunk: Any) -> tuple[Any, Array]:
        d_hidden, totals, d_reset = carry
        inputs, chunk_states, d_states = chunk
        previous = before_chunk(states, run.state, chunk_states, start, run.reverse)
        if inputs.resets is not None:
            reset = jnp.broadcast_to(run.reset_state, previous.shape)
            previous = select(inputs.resets, reset, previous)

        def of(moving: list[Array], xs: Array) -> tuple[Array, Array]:
            params, here = split.join(moving, still), inputs._replace(xs=xs)
            return as_carry(coefficients(run.cell, params, here), previous)

        (a, _), pull = jax.vjp(of, moving, inputs.xs)
        per_step, constant = _by_step(lax.optimization_barrier(a))

        def step(carry: Array, at_step: Any) -> tuple[Array, Array]:
            a, d_state, reset = at_step
            here = carry + d_state
            carry = _chosen(a, constant) * here
            if reset is not None:
                carry = select(reset, jnp.zeros_like(carry), carry)
            return clipped(carry, plan.state_gradient_clip), here

        d_hidden, along = lax.scan(
            step, d_hidden, (per_step, d_states, inputs.resets), reverse=not run.reverse
        )
        if inputs.resets is not None:
            passed = zeros_unless(inputs.resets, a * along)
            d_reset = d_reset + passed.sum(axis=0)
        d_a = along * previous
        d_a = d_a if jnp.iscomplexobj(a) else d_a.real
        summed = tuple(
            axis for axis, size in enumerate(a.shape) if size == 1 and d_a.shape[axis] != 1
        )
        d_moving, d_xs = pull((d_a.sum(axis=summed, keepdims=True), along))
        totals = jax.tree.map(
            lambda total, leaf: total + leaf.astype(total.dtype), totals, d_moving
        )
        return (d_hidden, totals, d_reset), d_xs

    start = d_results.final, totals, jax.tree.map(jnp.zeros_like, run.reset_state)
    along = run.inputs, states, d_results.states
    (d_initial, totals, d_reset), d_xs = scan_in_place(
        chunk, start, along, chunk_size=plan.chunk_size, reverse=not run.reverse
    )
    summed = [total.astype(leaf.dtype) for total, leaf in zip(totals, moving, strict=True)]
    return Operands(split.join(summed, still), d_xs, d_initial, d_reset)


def as_carry(pair: tuple[Array, Array], hidden: Array) -> tuple[Array, Array]:
    """Returns the coefficients in the dtype of the state; a real decay stays real."""
    a, b = pair
    real = jnp.finfo(hidden.dtype).dtype
    return a.astype(hidden.dtype if jnp.iscomplexobj(a) else real), b.astype(hidden.dtype)


def _by_step(a: Array) -> tuple[Array | None, Array | None]:
    """Returns `(decays to scan over, None)`, or `(None, the one decay of all steps)`."""
    return (None, a[0]) if a.shape[0] == 1 else (a, None)


def _chosen(a: Array | None, constant: Array | None) -> Array:
    """Returns the decay of one step, see `_by_step`."""
    decay = constant if a is None else a
    assert decay is not None
    return decay
