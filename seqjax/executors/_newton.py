"""`Newton` runs gated and plain cells in parallel in time, and certifies the result."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from seqjax._checks import check_above_zero, check_choice, check_function, check_rates, check_sizes
from seqjax._padding import choose
from seqjax.cells._associative import AssociativeCell
from seqjax.cells._cell import Cell, FlatState
from seqjax.cells._diagonals import gated_blocks, is_pointwise
from seqjax.cells._gated import GatedCell
from seqjax.cells._linear import LinearCell
from seqjax.executors._backward_of_states import backward_of_states, backward_over_parts
from seqjax.executors._chunks import default_chunk_size
from seqjax.executors._executor import Inputs, Run
from seqjax.executors._gated_backward import backward
from seqjax.executors._gated_forward import Kept, Plan, forward, without_start
from seqjax.executors._newton_solve import Blocks, NewtonReport, Timeline, solve
from seqjax.executors._own_backward import Operands, Results, run_with_backward
from seqjax.executors._time_axis import (
    anywhere,
    gathered,
    over_parts,
    own_part,
    padded_inputs,
    time_parts,
    whole_in_time,
)

WIDEST = 64
"""The widest block that `jacobian="auto"` uses; a scan multiplies blocks at the cube of this."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Newton:
    """Runs a gated or a plain cell in parallel in time, by Newton's method on all steps at once.

    With the step `f`, every iteration solves a linear recurrence by an associative scan::

        d_t = J_t d_{t-1} + f(s_{t-1}, x_t) - s_t,    s_t <- s_t + d_t

    It starts from one step from the initial state, `s_t = f(s_0, x_t)`. States are computed in at
    least float32. The result is certified: if a sequence has not converged, it gets the result of
    the sequential run instead (`lax.cond`; under `jax.vmap`, both are always computed). Converged
    means that the residual of every step, and the estimated distance to the exact run, are within
    the tolerance. Where steps amplify errors, the distance grows with the length, so long
    sequences of a chaotic cell fall back. The backward pass is that of the sequential run, along
    the states found, with the whole Jacobian. Forward mode runs step by step.

    If the ambient mesh has an axis "time", its devices share the steps, forward and backward. The
    backward pass is then an associative scan, too, with the smallest blocks that are the whole
    Jacobian.

    It pays on an accelerator, for long sequences, small states and a cell that forgets.
    `seqjax.executors.advise` measures whether it does.

    Attributes:
      tolerance: largest residual and distance of a state `s`, relative to `1 + |s|`. By default
        1e-5 in float32, and 1e-11 in float64.
      max_iterations: most iterations before the sequential run takes over.
      jacobian: the Jacobian that an iteration uses. "dense" is the whole one. "diagonal" has one
        block for each unit, which joins its state fields: the iterations are cheaper, but more are
        needed if a recurrent product connects the units. It needs a `GatedCell` with a pointwise
        `update`. "auto" is exact, in the smallest blocks that the cell has (one for each unit or
        head), if a block has at most 64 numbers a side. Otherwise it is "diagonal".
      damping: the Jacobian is multiplied by `1 - damping`. More iterations are needed, but a cell
        that amplifies errors overflows less.
      report: a function of one `NewtonReport` in NumPy, called on the host after every run
        (`jax.debug.callback`), for instance to log it. `newton_report` returns the report instead.

    Raises:
      ValueError: if an option is unknown or out of range.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.gru(4)
      >>> params, xs = cell.init(jax.random.key(0), 3), jnp.ones((12, 2, 3))
      >>> run = jax.jit(seqjax.unroll, static_argnums=0, static_argnames="executor")
      >>> ys, _ = run(cell, params, xs, executor=seqjax.executors.Newton())
      >>> bool(jnp.allclose(ys, run(cell, params, xs)[0], atol=1e-5))
      True

    Reference: Lim et al. (2024), Parallelizing non-linear sequential models over the sequence
    length; Gonzalez et al. (2024), Towards scalable and stable parallelization of nonlinear RNNs.
    """

    tolerance: float | None = None
    max_iterations: int = 16
    jacobian: str = "auto"
    damping: float = 0.0
    report: Callable[[NewtonReport], Any] | None = None

    def __post_init__(self) -> None:
        """Refuses options out of range."""
        where = "seqjax.executors.Newton"
        check_above_zero(where, "None follows the precision.", tolerance=self.tolerance)
        check_sizes(where, max_iterations=self.max_iterations)
        check_choice(where, "jacobian", self.jacobian, ("auto", "dense", "diagonal"))
        check_rates(where, damping=self.damping)
        check_function(where, "report", self.report, ["report"], optional=True)

    def refusal(self, cell: Cell) -> str | None:
        """Refuses cells that are linear in their state, or have a state that is not continuous."""
        if isinstance(cell, LinearCell | AssociativeCell):
            return "the cell is linear in its state, so Associative runs it without iterations"
        if cell.uses_starts:
            return "the state has a boolean field, `fresh`, and Newton's method needs derivatives"
        pointwise = isinstance(cell, GatedCell) and is_pointwise(cell)
        if self.jacobian == "diagonal" and not pointwise:
            return "jacobian='diagonal' needs a GatedCell with a pointwise `update`; use 'auto'"
        return None

    def run(self, run: Run) -> tuple[Any, Any]:
        """Runs the cell, see `Executor.run`."""
        cell, reverse, in_parts = run.cell, run.reverse, time_parts() > 1
        num_steps, *batch = run.inputs.xs.shape[:-1]
        plan = Plan(default_chunk_size(num_steps, tuple(batch)))
        sequential = functools.partial(forward, plan)
        size = FlatState(run.state, lead=len(batch)).size
        if in_parts and (reason := self.parts_refusal(cell, size)):
            raise ValueError(
                f"seqjax.unroll: the executor Newton cannot split time over devices for {cell!r}: "
                f"{reason}. Use Newton(jacobian='dense') if there is memory, or a mesh without the "
                'axis "time".'
            )

        def part(
            params: Any, along: tuple[Inputs, Timeline], at_start: tuple[Any, Any]
        ) -> tuple[Any, Any, NewtonReport]:
            """Returns the states of these steps, certified."""
            (inputs, time), (state, reset_state) = along, at_start
            options = {"reverse": reverse, "all_states": True}
            here = Run(cell, params, inputs, state, reset_state, **options)
            states, report = self.solve(here, time=time, in_parts=in_parts)

            def replaced() -> Any:
                whole = gathered(inputs) if in_parts else inputs
                again = sequential(dataclasses.replace(here, inputs=whole)).states
                again = own_part(again) if in_parts else again
                where = jnp.broadcast_to(report.fallback, inputs.xs.shape[:-1])
                return choose(where, again, states)

            needed = anywhere(report.fallback) if in_parts else report.fallback.any()
            return (), lax.cond(needed, replaced, lambda: states), report

        def certified(run: Run) -> Results:
            inputs, at_start = padded_inputs(run.inputs), (run.state, run.reset_state)
            if in_parts:
                valid, resets = whole_in_time((inputs.valid, inputs.resets))
                inputs = inputs._replace(valid=valid, resets=resets)
                along = inputs, whole_in_time(Timeline.of(inputs, reverse))
                _, states, report = over_parts(part, run.params, along, at_start, tuple(batch))
                states = jax.tree.map(lambda leaf: leaf[:num_steps], states)
                # XLA warns if it has to find out itself how to bring the report to the host.
                report = lax.with_sharding_constraint(report, PartitionSpec())
            else:
                along = inputs, Timeline.of(inputs, reverse)
                _, states, report = part(run.params, along, at_start)
            if self.report is not None:
                jax.debug.callback(self.report, report)
            return Results(jax.tree.map(lambda leaf: leaf[0 if reverse else -1], states), states)

        def keep(run: Run) -> tuple[Results, Any]:
            # Derivatives of the residuals follow from the rule of the run, not from the iteration.
            results = run_once(run)
            return results, results.states

        def pull(run: Run, states: Any, d_results: Results) -> Operands:
            if in_parts:
                blocks = self._blocks(cell, size, backward=True)
                return backward_over_parts(run, blocks, states, d_results)
            if isinstance(cell, GatedCell):
                return backward(plan, run, Kept(states, None), d_results)
            return backward_of_states(run, states, d_results)

        def run_once(run: Run) -> Results:
            return run_with_backward(run, certified, keep, pull, tangents_of=sequential)

        run = dataclasses.replace(run, all_states=True)
        return run_once(without_start(run) if isinstance(cell, GatedCell) else run)

    def solve(
        self, run: Run, *, time: Timeline | None = None, in_parts: bool = False
    ) -> tuple[Any, NewtonReport]:
        """Returns the states that the iteration finds, leaves (T, *B, ...), and its report.

        Without resets, `run.reset_state` may be None. With `in_parts`, the steps are those of a
        device's part, and `time` is its part of the whole.
        """
        state, inputs = run.state, run.inputs
        dtypes = {leaf.dtype for leaf in jax.tree.leaves(state)}
        if not all(jnp.issubdtype(dtype, jnp.inexact) for dtype in dtypes):
            raise ValueError(
                f"seqjax.unroll: the executor Newton cannot run {run.cell!r}: its state must be "
                f"real or complex, got {', '.join(sorted(map(str, dtypes)))}. Use Sequential()."
            )
        double = any(jnp.finfo(dtype).eps < 1e-10 for dtype in dtypes)
        states, report = solve(
            dataclasses.replace(run, reset_state=state) if run.reset_state is None else run,
            self._blocks(run.cell, FlatState(state, lead=inputs.xs.ndim - 2).size),
            Timeline.of(inputs, run.reverse) if time is None else time,
            in_parts=in_parts,
            tolerance=self.tolerance or (1e-11 if double else 1e-5),
            max_iterations=self.max_iterations,
            damping=self.damping,
        )
        return jax.tree.map(lambda leaf, old: leaf.astype(old.dtype), states, state), report

    def size_refusal(self, cell: Cell, size: int) -> str | None:
        """Returns why a cell with `size` numbers of state is too large, or None if it is not."""
        if self.jacobian != "auto" or size <= WIDEST or _has_blocks(cell):
            return None
        return (
            f"it needs the dense Jacobian, {size} x {size} numbers a step, and jacobian='auto' "
            f"stops at {WIDEST}"
        )

    def parts_refusal(self, cell: Cell, size: int) -> str | None:
        """Returns why devices cannot share the steps of a cell with `size` numbers of state."""
        if reason := self.size_refusal(cell, size):
            return reason
        width = size // self._blocks(cell, size, backward=True).groups
        if width <= WIDEST or self.jacobian == "dense":
            return None
        return (
            f"its backward pass then needs the whole Jacobian, in blocks of {width} x {width} "
            f"numbers a step, and only jacobian='dense' goes beyond {WIDEST}"
        )

    def _blocks(self, cell: Cell, size: int, *, backward: bool = False) -> Blocks:
        """Returns the Jacobian for a cell with `size` numbers of state, from its structure.

        That of an iteration, or for the backward pass the smallest blocks that are the whole of it.
        """
        if _has_blocks(cell):
            smallest = cell.heads or cell.hidden_size
            groups = {"auto": smallest, "dense": 1, "diagonal": cell.hidden_size}[self.jacobian]
            if self.jacobian == "auto" and size // groups > WIDEST:
                groups = cell.hidden_size
            groups = smallest if backward else groups
            function = functools.partial(gated_blocks, cell, groups=groups)
            return Blocks(function, groups, size // cell.hidden_size, smallest % groups == 0)
        if reason := self.size_refusal(cell, size):
            raise ValueError(
                f"seqjax.unroll: the executor Newton cannot run {cell!r}: {reason}. Use "
                "Sequential(), or Newton(jacobian='dense') if there is memory."
            )
        return Blocks(lambda *at: cell.jacobian(*at)[None], 1, 1, exact=True)


def _has_blocks(cell: Cell) -> TypeGuard[GatedCell]:
    return isinstance(cell, GatedCell) and is_pointwise(cell)
