"""What all online methods share: a stream of steps, and a run over whole sequences."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from seqjax._checks import check_kind, check_shape, check_state
from seqjax._padding import choose, zeros_unless
from seqjax._unroll import cast_params, widened
from seqjax.cells._cell import Cell, check_cell, read_out
from seqjax.cells._params import check_params
from seqjax.executors._choice import resolve
from seqjax.executors._executor import Run
from seqjax.online import _batch as batched
from seqjax.online._sequence import run_with_method
from seqjax.online._step import Step, as_cotangents, gradient_leaves


class OnlineState(NamedTuple):
    """What a stream carries from step to step.

    Attributes:
      cell: the state of the cell, leaves (*B, ...).
      trace: how the parameters have influenced that state, as far as the method remembers it. Its
        size does not depend on the number of steps.
      key: random key of the steps to come, or None if the method draws nothing.
    """

    cell: Any
    trace: Any
    key: Array | None = None


@dataclasses.dataclass(frozen=True)
class Method:
    """The base class of methods that compute gradients forwards in time.

    For states `s_t` and a loss `L = sum_t l_t(s_t)`, they use

        dL/dparams = sum_t dl_t/ds_t P_t,    P_t = ds_t/dparams

    and carry `P_t`, or an approximation of it, from step to step. They keep no past state.

    A method runs a stream with `init` and `update`. It is also an executor:
    `seqjax.unroll(cell, params, xs, executor=method)` returns the usual outputs, and `jax.grad` of
    a loss of them is the gradient of the method. There is no forward mode. To write a method,
    subclass this and define `begin`, `advance` and `pull`, each for one example.

    Attributes:
      needs_key: whether the method draws random numbers.
    """

    needs_key: ClassVar[bool] = False

    def refusal(self, cell: Cell) -> str | None:
        """Returns why the method does not apply to a cell, one line, or None if it does."""
        return None

    def begin(self, step: Step, key: Array | None) -> Any:
        """Returns the trace at the start of a sequence; `step` is any step of the cell."""
        raise NotImplementedError(f"{type(self).__name__} must define `begin`.")

    def advance(self, step: Step, trace: Any, key: Array | None) -> Any:
        """Returns the trace after a step."""
        raise NotImplementedError(f"{type(self).__name__} must define `advance`.")

    def pull(self, step: Step, trace: Any, d_state: Array) -> tuple[list[Array], Array]:
        """Returns the gradients of the parameters and the start from that of the state, (N,)."""
        raise NotImplementedError(f"{type(self).__name__} must define `pull`.")

    def init(
        self,
        cell: Cell,
        params: Any,
        x: ArrayLike,
        *,
        initial_state: Any = None,
        key: Array | None = None,
    ) -> OnlineState:
        """Returns what a stream carries before its first step.

        Args:
          cell: the cell.
          params: the parameters that `cell.init` returns.
          x: an input of a step, shape (*B, D); its values do not matter.
          initial_state: the state before the first step; by default `cell.initial_state`.
          key: random key, if the method needs one.

        Raises:
          ValueError: if the method does not apply to the cell, a shape does not fit, or the key is
            missing or given in vain.
          TypeError: if `cell` is not a cell, or `x` is not floating.

        Example:
          >>> import jax, jax.numpy as jnp, seqjax
          >>> cell = seqjax.gru(4)
          >>> params = cell.init(jax.random.key(0), 3)
          >>> state = seqjax.online.SnAp1().init(cell, params, jnp.ones((2, 3)))
          >>> state.cell.hidden.shape
          (2, 4)
        """
        where, xs = self._checked("init", cell, params, x)
        if self.needs_key != (key is not None):
            wanted = "`key` must be a random key, got None" if key is None else "takes no `key`"
            raise ValueError(f"{where}: {wanted}.")
        batch = xs.shape[:-1]
        start = cell.initial_state(params, batch, jnp.promote_types(xs.dtype, jnp.float32))
        state = start if initial_state is None else initial_state
        check_state(where, state, start, batch, "cell.initial_state(params, batch)")
        state = jax.tree.map(lambda leaf, like: jnp.asarray(leaf, like.dtype), state, start)
        prepared = cast_params(cell, cell.prepare(widened(params)), xs.dtype)
        own, key = batched.two_keys(key)
        trace = batched.begin(self, cell, prepared, state, xs, own)
        return lax.stop_gradient(OnlineState(state, trace, key))

    def update(
        self,
        cell: Cell,
        params: Any,
        x: ArrayLike,
        state: OnlineState,
        *,
        valid: Array | None = None,
        reset: Array | None = None,
    ) -> tuple[Array, OnlineState]:
        """Runs one step, as `seqjax.step` does; the gradient of the output is that of the method.

        The gradient with respect to `params` reaches through all past steps. The gradient with
        respect to `x` is the one within this step, so a layer below learns from the errors of its
        own step. The state that is returned has no gradient.

        Args:
          cell: the cell.
          params: the parameters that `cell.init` returns. They may change from step to step.
          x: the input of this step, shape (*B, D).
          state: from `init` or from the previous step.
          valid: False where the step is left out, booleans (*B,). By default all are valid.
          reset: True where the state becomes `cell.initial_state` before the step, booleans (*B,).

        Returns:
          `(y, state)`: the output, (*B, out_size), zero where the step is not valid, and what the
          stream carries on.

        Raises:
          ValueError: if the method does not apply to the cell, or a shape does not fit.
          TypeError: if `cell` is not a cell, `state` not an `OnlineState`, or `x` not floating.

        Example:
          >>> import jax, jax.numpy as jnp, seqjax
          >>> cell, method = seqjax.min_gru(4), seqjax.online.RTRL()
          >>> params = cell.init(jax.random.key(0), 3)
          >>> xs = jax.random.normal(jax.random.key(1), (5, 3))
          >>> def loss(params, x, state):
          ...     y, after = method.update(cell, params, x, state)
          ...     return y.sum(), after
          >>> gradient_of = jax.jit(jax.grad(loss, has_aux=True))
          >>> state = method.init(cell, params, xs[0])
          >>> for x in xs:
          ...     gradient, state = gradient_of(params, x, state)
          >>> last = jax.jit(jax.grad(lambda params: seqjax.unroll(cell, params, xs)[0][-1].sum()))
          >>> bool(jnp.allclose(gradient.bias, last(params).bias, atol=1e-6))
          True
        """
        where, xs = self._checked("update", cell, params, x)
        check_kind(where, "state", state, OnlineState, f"what {type(self).__name__}.init returns")
        batch = xs.shape[:-1]
        for name, flags in (("valid", valid), ("reset", reset)):
            if flags is not None:
                check_shape(where, name, flags, "(*B,)", batch)
        start = cell.initial_state(params, batch, jnp.promote_types(xs.dtype, jnp.float32))
        got, wanted = (jax.tree.map(jnp.shape, tree) for tree in (state.cell, start))
        if got != wanted:
            raise ValueError(
                f"{where}: `state` must be that of {cell!r} for inputs of shape {xs.shape}, with "
                f"leaves {tuple(wanted)}, got {tuple(got)}. Start from init(cell, params, x)."
            )
        xs = zeros_unless(valid, xs)
        prepared = cast_params(cell, cell.prepare(widened(params)), xs.dtype)
        fixed, x_fixed = lax.stop_gradient((prepared, xs))
        before, trace, key = lax.stop_gradient(state)
        own, key = batched.two_keys(key)
        own, begin_key = batched.two_keys(own)
        if reset is not None:
            started = batched.begin(self, cell, fixed, before, x_fixed, begin_key)
            trace = choose(reset, started, trace)
            before = choose(reset, lax.stop_gradient(start), before)

        def of_example(x: Array, x_fixed: Array, state: Any, trace: Any, key: Any) -> Any:
            step = Step(cell, fixed, state, x, batched.first(cell, state))
            new = step.new_state()
            return new, self.advance(step._replace(x=x_fixed), trace, key)

        own = batched.keys(own, xs)
        new, advanced = batched.over_batch(of_example, xs, x_fixed, before, trace, own)
        new = choose(valid, new, before)
        trace = choose(valid, advanced, trace)
        new = _attached(self, cell, prepared, start, new, trace, x_fixed)
        y = read_out(cell, prepared, new, xs).astype(xs.dtype)
        return zeros_unless(valid, y), lax.stop_gradient(OnlineState(new, trace, key))

    def run(self, run: Run) -> tuple[Any, Any]:
        """Runs a cell over sequences as an executor, see `seqjax.executors.Executor.run`."""
        return run_with_method(self, run)

    def _checked(self, name: str, cell: Cell, params: Any, x: ArrayLike) -> tuple[str, Array]:
        where = f"seqjax.online.{type(self).__name__}.{name}"
        check_cell(where, cell)
        resolve(where, self, cell)
        x = jnp.asarray(x)
        if not jnp.issubdtype(x.dtype, jnp.floating) or not x.ndim:
            raise TypeError(
                f"{where}: `x` must be floating and of shape (*B, D), got {x.dtype} {x.shape}."
            )
        check_params(where, cell, params, x.shape[-1])
        return where, x


def _plain(method, cell, params, start, state, trace, x):
    """Returns `state`; its gradient also reaches the parameters and the start, by the trace."""
    return state


def _attached_forwards(method, cell, params, start, state, trace, x):
    return state, (params, state, trace, x)


def _attached_backwards(method, cell, residuals, cotangents):
    params, state, trace, x = residuals
    d_state = gradient_leaves(state, cotangents)
    d_params, d_start = batched.pull(method, cell, params, x, state, trace, d_state)
    return as_cotangents(params, d_params), as_cotangents(state, d_start), cotangents, None, None


_attached = jax.custom_vjp(_plain, nondiff_argnums=(0, 1))
_attached.defvjp(_attached_forwards, _attached_backwards)
