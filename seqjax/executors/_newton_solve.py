"""Newton's method on all steps of a run at once, with a certificate.

A run solves `s_t - f(s_{t-1}, x_t) = 0` for every step `t`. With the residual `r` and the Jacobian
`J` of the steps at the present states, an iteration adds the correction `d`::

    r_t = f(s_{t-1}, x_t) - s_t,    d_t = J_t d_{t-1} + r_t,    s_t <- s_t + d_t

The recurrence of `d` is linear, so an associative scan solves it. To first order, `d` is the
distance to the sequential run. A small residual alone does not bound it: if the steps amplify
errors, states may satisfy every step and still be far away.

If devices share the steps, each runs this for its part of time (`in_parts`). They exchange the
states at the ends of the parts, and the solution of each recurrence as in `_time_axis`.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqjax._axes import same_axes
from seqjax._padding import select, zeros_unless
from seqjax.cells._cell import FlatState
from seqjax.executors._chunks import shifted
from seqjax.executors._executor import Inputs, Run
from seqjax.executors._recurrence import scanned
from seqjax.executors._time_axis import AXIS, anywhere, linear_part, shifted_part


class NewtonReport(NamedTuple):
    """What Newton's method did to each sequence; every field has shape (*B,).

    Attributes:
      iterations: iterations until the sequence converged, or all of them.
      residual: largest `|s_t - f(s_{t-1}, x_t)| / (1 + |s_t|)` of the states after the loop.
      error: estimate, of first order, of the largest `|s_t - s*_t| / (1 + |s_t|)`, where `s*` is
        the sequential run. It includes what rounding each step once changes in a run.
      fallback: whether the result is that of the sequential run instead.
    """

    iterations: Array
    residual: Array
    error: Array
    fallback: Array


class Blocks(NamedTuple):
    """The Jacobian that the iteration uses.

    Attributes:
      function: `function(params, state, drive)` returns the blocks of one step of one example,
        (groups, m, m).
      groups: blocks on the diagonal. Each holds all fields of `H / groups` adjacent units.
      fields: fields of the state, which are joined in each block.
      exact: whether the blocks are the whole Jacobian.
    """

    function: Callable[[Any, Any, Any], Array]
    groups: int
    fields: int
    exact: bool

    def of_steps(self, params: Any, states: Any, drives: Any, lead: int) -> Array:
        """Returns the blocks of many steps, (..., groups, m, m), from `lead` leading axes."""
        function = functools.partial(self.function, params)
        for _ in range(lead):
            function = jax.vmap(function)
        return function(states, drives)

    def split(self, vector: Array) -> Array:
        """Returns flat states (..., N) in blocks, (..., groups, m, 1)."""
        *lead, size = vector.shape
        parts = vector.reshape(*lead, self.fields, self.groups, size // self.fields // self.groups)
        return jnp.swapaxes(parts, -3, -2).reshape(*lead, self.groups, size // self.groups, 1)

    def joined(self, parts: Array) -> Array:
        """Returns what `split` does the other way."""
        *lead, groups, size, _ = parts.shape
        parts = parts.reshape(*lead, groups, self.fields, size // self.fields)
        return jnp.swapaxes(parts, -3, -2).reshape(*lead, groups * size)


class Timeline(NamedTuple):
    """Masks and resets of a run, as the states before and after each step need them, (T, *B).

    Attributes:
      valid: whether the step is valid.
      resets: whether the state is reset before it.
      restarted: whether a reset has come, up to the step.
      moved: whether a valid step has come since the start or the last reset, up to the step.
      last: the last valid step up to it, or any step if there is none.
      first: whether the state before the step is that of the start or of a reset.
    """

    valid: Array
    resets: Array
    restarted: Array
    moved: Array
    last: Array
    first: Array

    @classmethod
    def of(cls, inputs: Inputs, reverse: bool) -> "Timeline":
        """Finds the last valid step and the last reset up to each step."""
        lead = inputs.xs.shape[:-1]
        steps = jnp.arange(lead[0]).reshape(-1, *(1,) * (len(lead) - 1))
        order = jnp.broadcast_to(steps[::-1] if reverse else steps, lead)
        valid = jnp.ones(lead, bool) if inputs.valid is None else inputs.valid
        resets = jnp.zeros(lead, bool) if inputs.resets is None else inputs.resets
        latest = functools.partial(lax.cummax, reverse=reverse)
        last_valid = latest(jnp.where(valid, order, -1))
        last_reset = latest(jnp.where(resets, order, -1))
        moved = (last_valid >= 0) & (last_valid >= last_reset)
        last = jnp.maximum(last_valid, 0)
        first = ~shifted(moved, jnp.zeros((1, *lead[1:]), bool), reverse) | resets
        last = lead[0] - 1 - last if reverse else last
        return cls(valid, resets, last_reset >= 0, moved, last, first)


def solve(
    run: Run,
    blocks: Blocks,
    time: Timeline,
    *,
    in_parts: bool,
    tolerance: float,
    max_iterations: int,
    damping: float,
) -> tuple[Any, NewtonReport]:
    """Returns the states after every step, and the report.

    Args:
      run: the run, of a cell with real or complex fields.
      blocks: the Jacobian to use.
      time: the masks and resets of these steps; `last` counts the steps of all parts.
      in_parts: whether these are the steps of a device's part of time.
      tolerance: bound on the residual and on the error.
      max_iterations: most iterations.
      damping: the Jacobian is multiplied by `1 - damping`.

    Returns:
      The states, leaves (T, *B, ...), and the report. `fallback` is True where a bound is exceeded.
    """
    inputs, state, reverse = run.inputs, run.state, run.reverse
    lead = inputs.xs.shape[:-1]
    form = FlatState(state, lead=len(lead) - 1)
    drives = inputs.drives(run.cell, run.params)
    wide = jnp.promote_types(form.flatten(state).dtype, jnp.float32)
    start, reset = (form.flatten(each).astype(wide) for each in (state, run.reset_state))
    base = select(
        time.restarted, *(jnp.broadcast_to(x, (*lead, x.shape[-1])) for x in (reset, start))
    )
    edge = 0 if reverse else -1

    def step(before: Array) -> Array:
        return form.flatten(run.cell.step(run.params, form.unflatten(before), drives)).astype(wide)

    def residual_of(states: Array, before: Array) -> Array:
        return zeros_unless(time.valid, step(before) - states)

    def jacobian_of(before: Array) -> Array:
        found = blocks.of_steps(run.params, form.unflatten(before), drives, len(lead))
        found = (1 - damping) * found.astype(wide)
        # The state before a sequence's first step is known. It may even be infinite.
        found = select(time.first, jnp.zeros_like(found), found)
        identity = jnp.broadcast_to(jnp.eye(found.shape[-1], dtype=wide), found.shape)
        return select(time.valid, found, identity)

    def corrected(jacobian: Array, residual: Array) -> Array:
        parts = blocks.split(residual)
        if in_parts:
            given = (jacobian, None), (parts, jnp.zeros_like(parts[0]))
            return blocks.joined(linear_part(reverse, *given, matrix_product)[0])
        return blocks.joined(scanned(jacobian, parts, None, reverse, matrix_product)[1])

    def moved_on(states: Array, initial: Array) -> Array:
        """Returns the state after the step before each."""
        if in_parts:
            return shifted_part(states, initial, reverse)
        return shifted(states, initial[None], reverse)

    def before_steps(states: Array) -> Array:
        """Returns the state before each step, after its reset."""
        before = moved_on(states, start)
        return select(time.resets, jnp.broadcast_to(reset, before.shape), before)

    def with_masked(states: Array) -> Array:
        """Returns the states with those of masked steps replaced by the last valid one."""
        if inputs.valid is None:
            return states
        if not in_parts:
            kept = jnp.take_along_axis(states, time.last[..., None], axis=0)
            return select(time.moved, kept, base)
        part, last = time.last // lead[0], time.last % lead[0]
        kept = jnp.take_along_axis(states, last[..., None], axis=0)
        # The end of a part has the last valid step of the part; the first step says which part.
        ends = lax.all_gather(kept[edge], AXIS)
        earlier = jnp.take_along_axis(ends, part[-1 - edge][None, ..., None], axis=0)
        own = part == lax.axis_index(AXIS)
        kept = select(own, kept, jnp.broadcast_to(earlier, kept.shape))
        return select(time.moved, kept, base)

    def largest(change: Array, states: Array) -> Array:
        scaled = jnp.where(change == 0, 0, jnp.abs(change) / (1 + jnp.abs(states)))
        # XLA on a CPU may drop a NaN from a maximum.
        found = jnp.where(jnp.isnan(scaled), jnp.inf, scaled).max(axis=(0, -1))
        return lax.pmax(found, AXIS) if in_parts else found

    def iterate(loop: Any) -> Any:
        _, count, states, done, report = loop
        before = before_steps(states)
        residual = residual_of(states, before)
        change = corrected(jacobian_of(before), residual)
        found = report._replace(residual=largest(residual, states), error=largest(change, states))
        # Where the solution overflows, the states follow the steps instead.
        change = jnp.where(jnp.isfinite(change), change, residual)
        moved = with_masked(select(jnp.broadcast_to(done, lead), states, states + change))
        found = found._replace(iterations=report.iterations + 1)
        report = jax.tree.map(lambda old, new: jnp.where(done, old, new), report, found)
        good = (report.residual <= tolerance) & (report.error <= tolerance)
        return goes_on(count + 1, ~good), count + 1, moved, good, report

    def goes_on(count: Array, unfinished: Array) -> Array:
        # An exchange in a loop waits until every device comes to it.
        found = anywhere(unfinished) if in_parts else unfinished.any()
        return (count < max_iterations) & found

    def estimated_error(states: Array, before: Array, residual: Array) -> Array:
        """Solves `e_t = J_t e_{t-1} + r_t` with the whole Jacobian `J`.

        Steps that amplify errors amplify those of rounding, too, and the sequential run rounds in
        another way. So `r` is the residual and a rounding error of random sign.
        """
        jacobian, nothing = jacobian_of(before), jnp.zeros_like(states)
        signs = jax.random.rademacher(jax.random.key(0), states.shape, wide)
        rounding = jnp.finfo(wide).eps * signs * (1 + jnp.abs(states))
        residual = zeros_unless(time.valid, residual + rounding)
        first = corrected(jacobian, residual)
        if blocks.exact and not damping:
            return largest(first, states)
        # The given Jacobian is not exact, but tangents of the step are. Each pass corrects the
        # error that the last one leaves, until the corrections have shrunk to a tenth.
        _, tangent = jax.linearize(step, before)
        bound = largest(first, states) / 10

        def refine(loop: Any) -> Any:
            _, count, error, _ = loop
            passed = tangent(moved_on(error, nothing[0]))
            gap = select(time.first, nothing, passed) + residual - error
            change = corrected(jacobian, zeros_unless(time.valid, gap))
            size = largest(change, states)
            return goes_on(count + 1, size > bound), count + 1, error + change, size

        unknown, *_ = same_axes(jnp.full(batch, jnp.inf, wide), run.params, state)
        loop = goes_on(zero, unknown > bound), zero, first, unknown
        loop = lax.while_loop(lambda loop: loop[0], refine, loop)
        return jnp.where(loop[-1] <= bound, largest(loop[-2], states), jnp.inf)

    guess = with_masked(step(base))
    zero, batch = jnp.zeros((), jnp.int32), lead[1:]
    report = NewtonReport(
        jnp.zeros(batch, jnp.int32),
        jnp.full(batch, jnp.inf, wide),
        jnp.full(batch, jnp.inf, wide),
        jnp.zeros(batch, bool),
    )
    guess, _ = same_axes(guess, run)
    # Unlike the states, these do not differ between parts of time.
    (done, report), _ = same_axes((jnp.zeros(batch, bool), report), (run.params, state))
    loop = goes_on(zero, ~done), zero, guess, done, report
    *_, states, done, report = lax.while_loop(lambda loop: loop[0], iterate, loop)

    before = before_steps(states)
    residual = residual_of(states, before)
    report = report._replace(
        residual=largest(residual, states), error=estimated_error(states, before, residual)
    )
    good = done & (report.residual <= tolerance) & (report.error <= tolerance)
    return form.unflatten(states), report._replace(fallback=~good)


def matrix_product(left: Array, right: Array) -> Array:
    """Returns the products of many small matrices."""
    if left.shape[-1] > 4:
        return jnp.matmul(left, right, precision="highest")
    # XLA multiplies tiny matrices one by one, but fuses a sum.
    return (left[..., :, :, None] * right[..., None, :, :]).sum(axis=-2)
