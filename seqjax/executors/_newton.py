"""`Newton` runs gated and plain cells in parallel in time, and certifies the result."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from seqjax._checks import check_above_zero, check_choice, check_function, check_rates, check_sizes
from seqjax._padding import choose
from seqjax.cells._associative import AssociativeCell
from seqjax.cells._cell import Cell, FlatState
from seqjax.cells._diagonals import gated_blocks, is_pointwise
from seqjax.cells._gated import GatedCell
from seqjax.cells._linear import LinearCell
from seqjax.executors._backward_of_states import backward_of_states
from seqjax.executors._chunks import default_chunk_size
from seqjax.executors._executor import Run
from seqjax.executors._gated_backward import backward
from seqjax.executors._gated_forward import Kept, Plan, forward, without_start
from seqjax.executors._newton_solve import Blocks, NewtonReport, solve
from seqjax.executors._own_backward import Operands, Results, run_with_backward

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
      >>> params, xs = cell.init(jax.random.key(0), 3), jnp.ones((100, 2, 3))
      >>> ys, _ = seqjax.unroll(cell, params, xs, executor=seqjax.executors.Newton())
      >>> bool(jnp.allclose(ys, seqjax.unroll(cell, params, xs)[0], atol=1e-5))
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
        gated = isinstance(run.cell, GatedCell)
        plan = Plan(default_chunk_size(run.inputs.xs.shape[0], run.inputs.xs.shape[1:-1]))
        sequential = functools.partial(forward, plan)

        def certified(run: Run) -> Results:
            states, report = self.solve(run)
            if self.report is not None:
                jax.debug.callback(self.report, report)

            def replaced() -> Any:
                where = jnp.broadcast_to(report.fallback, run.inputs.xs.shape[:-1])
                return choose(where, sequential(run).states, states)

            states = lax.cond(report.fallback.any(), replaced, lambda: states)
            last = 0 if run.reverse else -1
            return Results(jax.tree.map(lambda leaf: leaf[last], states), states)

        def keep(run: Run) -> tuple[Results, Any]:
            # Derivatives of the residuals follow from the rule of the run, not from the iteration.
            results = run_once(run)
            return results, results.states

        def pull(run: Run, states: Any, d_results: Results) -> Operands:
            if gated:
                return backward(plan, run, Kept(states, None), d_results)
            return backward_of_states(run, states, d_results)

        def run_once(run: Run) -> Results:
            return run_with_backward(run, certified, keep, pull, tangents_of=sequential)

        run = dataclasses.replace(run, all_states=True)
        return run_once(without_start(run) if gated else run)

    def solve(self, run: Run) -> tuple[Any, NewtonReport]:
        """Returns the states that the iteration finds, leaves (T, *B, ...), and its report.

        Without resets, `run.reset_state` may be None.
        """
        state, inputs = run.state, run.inputs
        if run.reverse:
            inputs = jax.tree.map(lambda leaf: leaf[::-1], inputs)
        dtypes = {leaf.dtype for leaf in jax.tree.leaves(state)}
        if not all(jnp.issubdtype(dtype, jnp.inexact) for dtype in dtypes):
            raise ValueError(
                f"seqjax.unroll: the executor Newton cannot run {run.cell!r}: its state must be "
                f"real or complex, got {', '.join(sorted(map(str, dtypes)))}. Use Sequential()."
            )
        double = any(jnp.finfo(dtype).eps < 1e-10 for dtype in dtypes)
        reset_state = state if run.reset_state is None else run.reset_state
        states, report = solve(
            dataclasses.replace(run, inputs=inputs, reset_state=reset_state),
            self._blocks(run.cell, FlatState(state, lead=inputs.xs.ndim - 2).size),
            tolerance=self.tolerance or (1e-11 if double else 1e-5),
            max_iterations=self.max_iterations,
            damping=self.damping,
        )
        states = jax.tree.map(lambda leaf, old: leaf.astype(old.dtype), states, state)
        return jax.tree.map(lambda leaf: leaf[::-1], states) if run.reverse else states, report

    def _blocks(self, cell: Cell, size: int) -> Blocks:
        """Returns the Jacobian for a cell with `size` numbers of state, from its structure."""
        if isinstance(cell, GatedCell) and is_pointwise(cell):
            smallest = cell.heads or cell.hidden_size
            groups = {"auto": smallest, "dense": 1, "diagonal": cell.hidden_size}[self.jacobian]
            if self.jacobian == "auto" and size // groups > WIDEST:
                groups = cell.hidden_size
            function = functools.partial(gated_blocks, cell, groups=groups)
            return Blocks(function, groups, size // cell.hidden_size, smallest % groups == 0)
        if self.jacobian == "auto" and size > WIDEST:
            raise ValueError(
                f"seqjax.unroll: the executor Newton cannot run {cell!r}: it needs the dense "
                f"Jacobian, {size} x {size} numbers a step, and jacobian='auto' stops at "
                f"{WIDEST}. Use Sequential(), or Newton(jacobian='dense') if there is memory."
            )
        return Blocks(lambda *at: cell.jacobian(*at)[None], 1, 1, exact=True)
