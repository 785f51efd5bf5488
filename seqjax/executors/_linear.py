"""Runs linear cells step by step, with our own backward pass.

The forward pass keeps only the states. It computes the coefficients one chunk of steps at a time,
and the backward pass computes them again. The chain of the backward pass is the same recurrence in
the opposite direction::

    lambda_t = d_h_t + a_{t+1} * lambda_{t+1},   d_a_t = lambda_t * h_{t-1},   d_b_t = lambda_t
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqjax._padding import first_steps, known, select
from seqjax.cells._cell import project
from seqjax.cells._linear import HiddenState, LinearCell, SegmentState, spread
from seqjax.executors._chunks import default_chunk_size, scan_chunks
from seqjax.executors._clipping import clipped
from seqjax.executors._executor import Inputs
from seqjax.executors._own_backward import run_with_backward
from seqjax.executors._parts import run_in_parts

ROWS, MOST_STEPS = 256, 2048
"""The target number of rows in a chunk, and about the largest number of steps in a chunk."""


class Operands(NamedTuple):
    """The arrays with respect to which a run is differentiated.

    Attributes:
      params: prepared parameters.
      xs: inputs, shape (T, *B, D).
      initial: the state before the first step, shape (*B, ...).
      reset: the state after a reset, or None without resets.
    """

    params: Any
    xs: Array
    initial: Array
    reset: Any


class Results(NamedTuple):
    """The results of a run: the final state, and the state after every step."""

    final: Array
    states: Array


class Plan(NamedTuple):
    """The static options of a run, see `run_linear`."""

    cell: LinearCell
    reverse: bool
    chunk_size: int
    state_gradient_clip: float | None


def run_linear(
    cell: LinearCell,
    params: Any,
    inputs: Inputs,
    state: Any,
    reset_state: Any,
    *,
    reverse: bool,
    chunk_size: int | None,
    state_gradient_clip: float | None,
) -> tuple[Any, Any]:
    """Runs a linear cell; see `Executor.run` and the options of `Sequential`."""
    if chunk_size is None:
        shape = inputs.xs.shape[1:-1]
        # A single sequence has nothing but steps to make a chunk's product large.
        rows = MOST_STEPS if known(*shape) and math.prod(shape) == 1 else ROWS
        chunk_size = default_chunk_size(inputs.xs.shape[0], shape, rows=rows, most=MOST_STEPS)
    plan = Plan(cell, reverse, chunk_size, state_gradient_clip)

    def run(params: Any, inputs: Inputs, state: Any, reset_state: Any) -> tuple[Any, Any]:
        reset = None if inputs.resets is None else reset_state.hidden
        results = run_with_backward(
            functools.partial(_forward, plan),
            functools.partial(_forward_keeping, plan),
            functools.partial(_backward, plan),
            Operands(params, inputs.xs, state.hidden, reset),
            inputs._replace(xs=None),  # pyright: ignore[reportArgumentType]
            batch_axes=(Operands(-1, 1, 0, 0), 1, 1, Results(0, 1)),  # pyright: ignore[reportArgumentType]
        )
        return with_fresh(cell, results, inputs, state, reverse=reverse)

    return run_in_parts(run, params, inputs, state, reset_state)


def with_fresh(
    cell: LinearCell, results: tuple[Array, Array], inputs: Inputs, state: Any, *, reverse: bool
) -> tuple[Any, Any]:
    """Returns the final state and all states in the cell's state type, from their hidden fields."""
    final, states = results
    if not cell.uses_starts:
        return HiddenState(final), HiddenState(states)
    num_steps = states.shape[0]
    _, fresh = first_steps(state.fresh, inputs.valid, inputs.resets, num_steps, reverse=reverse)
    last = fresh[0 if reverse else -1] if not known(num_steps) or num_steps else state.fresh
    return SegmentState(final, last), SegmentState(states, fresh)


def coefficients(cell: LinearCell, params: Any, inputs: Inputs) -> tuple[Array, Array]:
    """Returns `(a, b)` for the steps of `inputs`, and (1, 0) at the invalid steps.

    `a` has as many axes as `b`; some may have size 1.
    """
    a, b = project(cell, params, inputs.clean_xs(), inputs.starts, inputs.noise)
    a = spread(a, b)
    if inputs.valid is not None:
        lead = inputs.valid.ndim
        a = jnp.broadcast_to(a, (*b.shape[:lead], *a.shape[lead:]))
        a = select(inputs.valid, a, jnp.ones_like(a))
        b = select(inputs.valid, b, jnp.zeros_like(b))
    return a, b


def _forward(plan: Plan, operands: Operands, constants: Inputs) -> Results:
    def chunk(hidden: Array, _: Any, inputs: Inputs) -> tuple[Array, Array]:
        # The barriers keep XLA from broadcasting parameters over a chunk outside the loop.
        params, hidden = lax.optimization_barrier((operands.params, hidden))
        a, b = lax.optimization_barrier(as_carry(coefficients(plan.cell, params, inputs), hidden))
        per_step, constant = _by_step(a)

        def step(hidden: Array, at_step: Any) -> tuple[Array, Array]:
            a, b, reset = at_step
            if reset is not None:
                hidden = select(reset, operands.reset, hidden)
            hidden = _chosen(a, constant) * hidden + b
            return hidden, hidden

        return lax.scan(step, hidden, (per_step, b, inputs.resets), reverse=plan.reverse)

    return Results(
        *scan_chunks(
            chunk,
            operands.initial,
            constants._replace(xs=operands.xs),
            chunk_size=plan.chunk_size,
            reverse=plan.reverse,
            differentiated=False,
        )
    )


def _forward_keeping(plan: Plan, operands: Operands, constants: Inputs) -> tuple[Results, Array]:
    results = _forward(plan, operands, constants)
    return results, results.states


def _backward(
    plan: Plan, operands: Operands, constants: Inputs, states: Array, d_results: Results
) -> Operands:
    """Runs the backward pass over the chunks, from the last to the first."""
    num_steps = operands.xs.shape[0]
    leaves, structure = jax.tree.flatten(operands.params)
    inexact = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]

    def with_params(moving: list[Array]) -> Any:
        moved = iter(moving)
        return structure.unflatten(
            [next(moved) if is_in else leaf for leaf, is_in in zip(leaves, inexact, strict=True)]
        )

    moving = [leaf for leaf, is_in in zip(leaves, inexact, strict=True) if is_in]
    totals = [jnp.zeros(leaf.shape, jnp.promote_types(leaf.dtype, jnp.float32)) for leaf in moving]

    def before(start: Any, chunk: Array) -> Array:
        """Returns the state before each step of a chunk."""
        outside, first = (start + chunk.shape[0], num_steps) if plan.reverse else (start - 1, -1)
        index = jnp.clip(outside, 0, num_steps - 1)
        edge = lax.dynamic_index_in_dim(states, index, keepdims=True)
        edge = jnp.where(outside == first, operands.initial[None], edge)
        return jnp.concatenate([chunk[1:], edge] if plan.reverse else [edge, chunk[:-1]])

    def chunk(carry: Any, start: Any, chunk: Any) -> tuple[Any, Array]:
        d_hidden, totals, d_reset = carry
        inputs, chunk_states, d_states = chunk
        previous = before(start, chunk_states)
        if inputs.resets is not None:
            previous = select(
                inputs.resets, jnp.broadcast_to(operands.reset, previous.shape), previous
            )

        def of(moving: list[Array], xs: Array) -> tuple[Array, Array]:
            return as_carry(
                coefficients(plan.cell, with_params(moving), inputs._replace(xs=xs)), previous
            )

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
            step, d_hidden, (per_step, d_states, inputs.resets), reverse=not plan.reverse
        )
        if inputs.resets is not None:
            passed = select(inputs.resets, a * along, jnp.zeros_like(along))
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

    start = d_results.final, totals, jax.tree.map(jnp.zeros_like, operands.reset)
    (d_initial, totals, d_reset), d_xs = scan_chunks(
        chunk,
        start,
        (constants._replace(xs=operands.xs), states, d_results.states),
        chunk_size=plan.chunk_size,
        reverse=not plan.reverse,
        differentiated=False,
    )
    summed = iter(total.astype(leaf.dtype) for total, leaf in zip(totals, moving, strict=True))
    d_params = structure.unflatten(
        [next(summed) if is_in else leaf for leaf, is_in in zip(leaves, inexact, strict=True)]
    )
    return Operands(d_params, d_xs, d_initial, d_reset)


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
