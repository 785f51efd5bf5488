"""`Associative` runs linear and associative cells in parallel in time."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqjax._axes import same_axes
from seqjax._padding import choose, known, select
from seqjax.cells._associative import AssociativeCell
from seqjax.cells._cell import Cell, project
from seqjax.cells._linear import LinearCell
from seqjax.executors._chunks import shifted
from seqjax.executors._executor import Inputs, Run
from seqjax.executors._linear import as_carry, coefficients, with_fresh
from seqjax.executors._recurrence import Decays, cuts_of, passed, scanned, with_derivative
from seqjax.executors._time_axis import (
    over_parts,
    padded_inputs,
    recurrence_over_devices,
    scan_part,
    time_parts,
)

CHUNK, FEWEST = 16, 256
"""The steps of a chunk, and the number of steps from which on a linear cell runs in chunks."""


@dataclasses.dataclass(frozen=True)
class Associative:
    """Runs a linear cell with an associative scan, in about log2(T) steps instead of T.

    From 256 steps on, a `LinearCell` runs in chunks of 16 steps, all chunks side by side, and a
    scan joins the chunks. That takes a few more steps in a row and less memory.

    The backward pass of a `LinearCell` is one scan in the opposite direction. It needs the decays
    and the states, but no intermediates of the forward scan. An `AssociativeCell` brings its own
    rule of combining steps, and JAX differentiates its scan. On a CPU, `Sequential` is faster.

    If the ambient mesh has an axis "time", its devices share the steps. They exchange the element
    of all steps of each part, once in each direction. For a `LinearCell` these are two arrays of
    the size of a state.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.min_gru(4)
      >>> params, xs = cell.init(jax.random.key(0), 3), jnp.ones((12, 2, 3))
      >>> ys, _ = seqjax.unroll(cell, params, xs, executor=seqjax.executors.Associative())
      >>> bool(jnp.allclose(ys, seqjax.unroll(cell, params, xs)[0], atol=1e-5))
      True

    Reference: Blelloch (1990), Prefix sums and their applications; Martin and Cundy (2018),
    Parallelizing linear recurrent neural nets over sequence length.
    """

    def refusal(self, cell: Cell) -> str | None:
        """Refuses a cell whose steps cannot be combined."""
        if isinstance(cell, LinearCell | AssociativeCell):
            return None
        needed = "a LinearCell or an AssociativeCell, such as lru or mlstm"
        return f"it needs {needed}, and {cell!r} is a {_kind(cell)}"

    def run(self, run: Run) -> tuple[Any, Any]:
        """Runs the cell, see `Executor.run`."""
        if isinstance(run.cell, AssociativeCell):
            return _run_combined(run, run.cell)
        inputs, initial = padded_inputs(run.inputs), run.state.hidden
        resets = inputs.resets
        a, b = as_carry(coefficients(run.cell, run.params, inputs), initial)
        a = jnp.broadcast_to(a, b.shape)
        if resets is not None:
            b = select(resets, a * run.reset_state.hidden[None] + b, b)
            # A zero decay alone is not enough: zero times a non-finite state is NaN.
            a = select(resets, jnp.zeros_like(a), a)
        recurrence = recurrence_over_devices if time_parts() > 1 else linear_recurrence
        states = recurrence(a, b, initial, resets, run.reverse)[: len(run.inputs.xs)]
        return with_fresh(run, states[0 if run.reverse else -1], states)


def _run_combined(run: Run, cell: AssociativeCell) -> tuple[Any, Any]:
    """Runs an associative cell.

    Scans triples: an element, whether it does anything, and whether the state is reset before it.
    The second is the identity that masked steps need, which a cell need not have.
    """
    inputs, reverse = padded_inputs(run.inputs), run.reverse
    drives = project(cell, run.params, inputs.clean_xs(), inputs.starts, inputs.noise)
    elements = jax.tree.map(
        # An element that is constant in time may have a time axis of size 1.
        lambda leaf: jnp.broadcast_to(leaf, (len(inputs.xs), *leaf.shape[1:])),
        cell.element(drives),
    )
    along = elements, Inputs(inputs.xs, inputs.valid, inputs.resets)
    of_sequences = run.state, run.reset_state
    if time_parts() == 1:
        states = _combined(cell, reverse, False, along, of_sequences)
    else:

        def part(_: Any, *arguments: Any) -> tuple[Any, Any, Any]:
            return (), _combined(cell, reverse, True, *arguments), ()

        _, states, _ = over_parts(part, (), along, of_sequences, inputs.xs.shape[1:-1])
        states = jax.tree.map(lambda leaf: leaf[: len(run.inputs.xs)], states)
    return jax.tree.map(lambda leaf: leaf[0 if reverse else -1], states), states


def _combined(
    cell: AssociativeCell,
    reverse: bool,
    in_parts: bool,
    along: tuple[Any, Inputs],
    of_sequences: tuple[Any, Any],
) -> Any:
    """Returns the state after every step, or after those of this device's part of time.

    Args:
      cell: the cell.
      reverse: whether time runs from the last step to the first.
      in_parts: whether these are the steps of a part.
      along: one element for each step, and the inputs, for their masks and resets.
      of_sequences: the state before the first step, and the state after a reset.
    """
    (elements, inputs), (state, reset_state) = along, of_sequences
    shape = inputs.xs.shape[:-1]
    valid = jnp.ones(shape, bool) if inputs.valid is None else inputs.valid
    resets = jnp.zeros(shape, bool) if inputs.resets is None else inputs.resets

    def combine(left: Any, right: Any) -> Any:
        (before, moves, reset), (after, moves_right, reset_right) = left, right
        seen = moves & ~reset_right
        # What a reset drops may not be finite; its product would be NaN even if it is not chosen.
        both = cell.combine(choose(seen, before, after), after)
        after = choose(seen, both, after)
        return choose(moves_right, after, before), seen | moves_right, reset | reset_right

    def started(reset: Array, state: Any) -> Any:
        if inputs.resets is None:
            return state
        again = jax.tree.map(lambda leaf, to: jnp.broadcast_to(leaf, to.shape), reset_state, state)
        return choose(reset, again, state)

    def applied(elements: Any, before: Any) -> Any:
        states = cell.apply(elements, before)
        return jax.tree.map(lambda leaf, old: leaf.astype(old.dtype), states, before)

    def after_part(end: Any, state: Any) -> Any:
        elements, moves, reset = end
        state = started(reset, state)
        return choose(moves, applied(elements, state), state)

    scanned = elements, valid, resets
    if in_parts:
        scanned, state = scan_part(combine, after_part, scanned, state, reverse)
    else:
        scanned = lax.associative_scan(combine, scanned, reverse=reverse)
    elements, moves, reset = scanned
    before = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[None], (shape[0], *leaf.shape)), state)
    before = started(reset, before)
    states = applied(elements, before)
    if inputs.valid is not None:
        # Equal to the last bit: compiled code may round one element differently at two places.
        steps = jnp.broadcast_to(jnp.arange(shape[0]).reshape(-1, *(1,) * (len(shape) - 1)), shape)
        last = jnp.where(valid, steps, shape[0] - 1 if reverse else 0)
        last = lax.cummin(last, reverse=True) if reverse else lax.cummax(last)
        states = jax.tree.map(
            lambda leaf: jnp.take_along_axis(
                leaf, last.reshape(*shape, *(1,) * (leaf.ndim - len(shape))), axis=0
            ),
            states,
        )
    return choose(moves, states, before)


def linear_recurrence(
    a: Array, b: Array, initial: Array, resets: Array | None, reverse: bool
) -> Array:
    """Returns `h_t = a_t * h_{t-1} + b_t` for every step, by an associative scan.

    Args:
      a: decays, shape (T, ...).
      b: terms to add, shape (T, ...).
      initial: the state before the first step, shape (...).
      resets: True where the step drops the previous state, even if it is not finite, booleans
        (T, *B), or None.
      reverse: whether time runs from the last step to the first.

    Returns:
      Array of shape (T, ...).
    """

    def before(states: Array, initial: Array) -> Array:
        return shifted(states, initial[None], reverse)

    solve, transposed = functools.partial(_solve, reverse), functools.partial(_transposed, reverse)
    return with_derivative(solve, before, transposed)(a, b, initial, cuts_of(resets, b))


def _solve(reverse: bool, decays: Decays, driven: tuple[Array, Array]) -> Array:
    """Returns the states after all steps.

    Many steps run in chunks: all chunks side by side, from zero, which leaves one step for each
    chunk; then the recurrence of those, by the same rule; then all chunks again, from their states.
    The second pass computes each state again. Keeping the products of decays instead would cost as
    much memory as the states.
    """
    (a, cuts), (b, initial) = decays, driven
    num_steps = len(b)
    if not known(num_steps) or num_steps < FEWEST:
        return _scanned(a, b, initial, cuts, reverse)
    num_chunks = num_steps // CHUNK
    whole = num_chunks * CHUNK
    offset = num_steps - whole if reverse else 0

    def advanced(step: Array, states: Array) -> tuple[Array, Any, Any]:
        def at(x: Array) -> Array:
            # This slice fuses into its use; a reshape of a part of `x` would copy it.
            return lax.dynamic_slice_in_dim(x, offset + step, whole - CHUNK + 1)[::CHUNK]

        decay, cut = at(a), None if cuts is None else at(cuts)
        return passed(decay, states, cut) + at(b), decay, cut

    def total(carry: Any, step: Array) -> tuple[Any, None]:
        product, states, cut = carry
        states, decay, cut_here = advanced(step, states)
        cut = None if cut_here is None else cut | cut_here
        return (product * decay, states, cut), None

    def write(carry: tuple[Array, Array], step: Array) -> tuple[tuple[Array, Array], None]:
        states, written = carry
        states, *_ = advanced(step, states)
        written = lax.dynamic_update_index_in_dim(written, states, step, axis=1)
        return (states, written), None

    shape = num_chunks, *b.shape[1:]
    no_cut = None if cuts is None else jnp.zeros((num_chunks, *cuts.shape[1:]), bool)
    steps = jnp.arange(CHUNK)
    start = jnp.ones(shape, a.dtype), jnp.zeros(shape, b.dtype), no_cut
    unwritten = jnp.zeros((num_chunks, CHUNK, *b.shape[1:]), b.dtype)
    varying: Any = same_axes(start, unwritten, a, b, cuts)
    start, unwritten, a, b, cuts = varying
    (product, states, cut), _ = lax.scan(total, start, steps, reverse=reverse)
    ends = _solve(reverse, (product, cut), (states, initial))
    first = shifted(ends, initial[None], reverse)
    (_, states), _ = lax.scan(write, (first, unwritten), steps, reverse=reverse)
    states = states.reshape(whole, *b.shape[1:])
    if whole == num_steps:
        return states
    last = slice(0, offset) if reverse else slice(whole, None)
    rest = jax.tree.map(lambda x: x[last], (a, b, cuts))
    rest = _scanned(rest[0], rest[1], ends[0 if reverse else -1], rest[2], reverse)
    return jnp.concatenate([rest, states] if reverse else [states, rest])


def _scanned(a: Array, b: Array, initial: Array, cuts: Array | None, reverse: bool) -> Array:
    edge = -1 if reverse else 0
    b = b.at[edge].add(passed(a[edge], initial, None if cuts is None else cuts[edge]))
    return scanned(a, b, cuts, reverse)[1]


def _transposed(reverse: bool, decays: Decays, d_states: Array) -> tuple[Array, Array]:
    """Returns the cotangents of `b` and of the initial state."""
    a, cuts = decays

    def after(x: Array) -> Array:
        nothing = jnp.zeros_like(x[:1])
        return jnp.concatenate([nothing, x[:-1]] if reverse else [x[1:], nothing])

    later = after(a), None if cuts is None else after(cuts)
    along = _solve(not reverse, later, (d_states, jnp.zeros_like(d_states[0])))
    edge = -1 if reverse else 0
    return along, passed(a[edge], along[edge], None if cuts is None else cuts[edge])


def _kind(cell: Cell) -> str:
    return next(
        kind.__name__ for kind in type(cell).__mro__ if kind.__module__.startswith("seqjax")
    )
