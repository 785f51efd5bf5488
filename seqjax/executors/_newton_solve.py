"""Newton's method on all steps of a run at once, with a certificate.

A run solves `s_t - f(s_{t-1}, x_t) = 0` for every step `t`. With the residual `r` and the Jacobian
`J` of the steps at the present states, an iteration adds the correction `d`::

    r_t = f(s_{t-1}, x_t) - s_t,    d_t = J_t d_{t-1} + r_t,    s_t <- s_t + d_t

The recurrence of `d` is linear, so an associative scan solves it. To first order, `d` is the
distance to the sequential run. A small residual alone does not bound it: if the steps amplify
errors, states may satisfy every step and still be far away.
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
from seqjax.executors._executor import Inputs, Run


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


def solve(
    run: Run, blocks: Blocks, *, tolerance: float, max_iterations: int, damping: float
) -> tuple[Any, NewtonReport]:
    """Returns the states after every step, forward in time, and the report.

    Args:
      run: the run, of a cell with real or complex fields; its inputs are forward in time.
      blocks: the Jacobian to use.
      tolerance: bound on the residual and on the error.
      max_iterations: most iterations.
      damping: the Jacobian is multiplied by `1 - damping`.

    Returns:
      The states, leaves (T, *B, ...), and the report. `fallback` is True where a bound is exceeded.
    """
    lead = run.inputs.xs.shape[:-1]
    form = FlatState(run.state, lead=len(lead) - 1)
    drives = run.inputs.drives(run.cell, run.params)
    wide = jnp.promote_types(form.flatten(run.state).dtype, jnp.float32)
    start, reset = (form.flatten(each).astype(wide) for each in (run.state, run.reset_state))
    time = _Timeline(run.inputs, start, reset)

    def step(before: Array) -> Array:
        return form.flatten(run.cell.step(run.params, form.unflatten(before), drives)).astype(wide)

    def residual_of(states: Array, before: Array) -> Array:
        return zeros_unless(time.valid, step(before) - states)

    def jacobian_of(before: Array) -> Array:
        function = functools.partial(blocks.function, run.params)
        for _ in lead:
            function = jax.vmap(function)
        found = (1 - damping) * function(form.unflatten(before), drives).astype(wide)
        # The state before a sequence's first step is known. It may even be infinite.
        found = select(time.first, jnp.zeros_like(found), found)
        identity = jnp.broadcast_to(jnp.eye(found.shape[-1], dtype=wide), found.shape)
        return select(time.valid, found, identity)

    def corrected(jacobian: Array, residual: Array) -> Array:
        split = residual.reshape(*lead, blocks.fields, blocks.groups, -1)
        split = jnp.swapaxes(split, -3, -2)
        moved = _linear_solution(jacobian, split.reshape(*lead, blocks.groups, -1))
        return jnp.swapaxes(moved.reshape(split.shape), -3, -2).reshape(residual.shape)

    def largest(change: Array, states: Array) -> Array:
        scaled = jnp.where(change == 0, 0, jnp.abs(change) / (1 + jnp.abs(states)))
        # XLA on a CPU may drop a NaN from a maximum.
        return jnp.where(jnp.isnan(scaled), jnp.inf, scaled).max(axis=(0, -1))

    def iterate(loop: Any) -> Any:
        count, states, done, report = loop
        before = time.before(states)
        residual = residual_of(states, before)
        change = corrected(jacobian_of(before), residual)
        found = report._replace(residual=largest(residual, states), error=largest(change, states))
        # Where the solution overflows, the states follow the steps instead.
        change = jnp.where(jnp.isfinite(change), change, residual)
        moved = time.after(select(jnp.broadcast_to(done, lead), states, states + change))
        found = found._replace(iterations=report.iterations + 1)
        report = jax.tree.map(lambda old, new: jnp.where(done, old, new), report, found)
        good = (report.residual <= tolerance) & (report.error <= tolerance)
        return count + 1, moved, good, report

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
            count, error, _ = loop
            passed = tangent(jnp.concatenate([nothing[:1], error[:-1]]))
            gap = select(time.first, nothing, passed) + residual - error
            change = corrected(jacobian, zeros_unless(time.valid, gap))
            return count + 1, error + change, largest(change, states)

        def unsettled(loop: Any) -> Array:
            count, _, change = loop
            return (count < max_iterations) & (change > bound).any()

        start = zero, first, jnp.full(batch, jnp.inf, wide)
        start, _ = same_axes(start, run)
        _, error, change = lax.while_loop(unsettled, refine, start)
        return jnp.where(change <= bound, largest(error, states), jnp.inf)

    def goes_on(loop: Any) -> Array:
        count, _, done, _ = loop
        return (count < max_iterations) & ~done.all()

    guess = time.after(step(time.base))
    zero, batch = jnp.zeros((), jnp.int32), lead[1:]
    report = NewtonReport(
        jnp.zeros(batch, jnp.int32),
        jnp.full(batch, jnp.inf, wide),
        jnp.full(batch, jnp.inf, wide),
        jnp.zeros(batch, bool),
    )
    start, _ = same_axes((zero, guess, jnp.zeros(batch, bool), report), run)
    _, states, done, report = lax.while_loop(goes_on, iterate, start)

    before = time.before(states)
    residual = residual_of(states, before)
    report = report._replace(
        residual=largest(residual, states), error=estimated_error(states, before, residual)
    )
    good = done & (report.residual <= tolerance) & (report.error <= tolerance)
    return form.unflatten(states), report._replace(fallback=~good)


class _Timeline:
    """Masks and resets of a run, as the states before and after each step need them."""

    def __init__(self, inputs: Inputs, start: Array, reset: Array):
        """Finds the last valid step and the last reset up to each step."""
        lead = inputs.xs.shape[:-1]
        steps = jnp.broadcast_to(jnp.arange(lead[0]).reshape(-1, *(1,) * (len(lead) - 1)), lead)
        valid = jnp.ones(lead, bool) if inputs.valid is None else inputs.valid
        resets = jnp.zeros(lead, bool) if inputs.resets is None else inputs.resets
        last_valid = lax.cummax(jnp.where(valid, steps, -1))
        last_reset = lax.cummax(jnp.where(resets, steps, -1))
        moved = (last_valid >= 0) & (last_valid >= last_reset)
        self._start, self._reset, self._resets = start, reset, resets
        self._moved, self._last = moved, jnp.maximum(last_valid, 0)[..., None]
        self._masked = inputs.valid is not None
        self.valid = valid
        self.first = ~jnp.concatenate([jnp.zeros_like(moved[:1]), moved[:-1]]) | resets
        start, reset = (jnp.broadcast_to(x, (*lead, x.shape[-1])) for x in (start, reset))
        self.base = select(last_reset >= 0, reset, start)

    def after(self, states: Array) -> Array:
        """Returns the states with those of masked steps replaced by the last valid one."""
        if not self._masked:
            return states
        return select(self._moved, jnp.take_along_axis(states, self._last, axis=0), self.base)

    def before(self, states: Array) -> Array:
        """Returns the state before each step, after its reset."""
        before = jnp.concatenate([self._start[None], states[:-1]])
        return select(self._resets, jnp.broadcast_to(self._reset, before.shape), before)


def _linear_solution(a: Array, b: Array) -> Array:
    """Returns `d_t = a_t d_{t-1} + b_t` from 0, for `a` (T, ..., m, m) and `b` (T, ..., m)."""
    size = b.shape[-1]

    def product(left: Array, right: Array) -> Array:
        if size > 4:
            return jnp.matmul(left, right, precision="highest")
        # XLA multiplies tiny matrices one by one, but fuses a sum.
        return (left[..., :, :, None] * right[..., None, :, :]).sum(axis=-2)

    def combine(first: Any, second: Any) -> Any:
        (a, b), (a_next, b_next) = first, second
        return product(a_next, a), product(a_next, b[..., None])[..., 0] + b_next

    return lax.associative_scan(combine, (a, b))[1]
