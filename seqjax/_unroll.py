"""`unroll` runs any cell over sequences; `step` runs it for one time step."""

from functools import partial
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from seqjax._axes import automatic, same_axes
from seqjax._checks import check_state
from seqjax._padding import (
    UNROLL,
    as_array,
    boolean_steps,
    first_steps,
    hint,
    valid_steps,
    zeros_unless,
)
from seqjax.cells._cell import Cell, flat_inputs, read_out, with_input
from seqjax.cells._noise import Noise
from seqjax.cells._params import check_params
from seqjax.executors._choice import needs_key, resolve
from seqjax.executors._chunked import Chunked
from seqjax.executors._executor import Executor, Inputs, Run


@overload
def unroll(
    cell: Cell,
    params: Any,
    xs: ArrayLike,
    *,
    initial_state: Any = None,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reverse: bool = False,
    return_states: Literal[False] = False,
    dtype: DTypeLike | None = None,
    carry_dtype: DTypeLike | None = None,
    executor: Executor | str | None = None,
    key: Array | None = None,
) -> tuple[Array, Any]: ...


@overload
def unroll(
    cell: Cell,
    params: Any,
    xs: ArrayLike,
    *,
    initial_state: Any = None,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reverse: bool = False,
    return_states: Literal[True],
    dtype: DTypeLike | None = None,
    carry_dtype: DTypeLike | None = None,
    executor: Executor | str | None = None,
    key: Array | None = None,
) -> tuple[Array, Any, Any]: ...


def unroll(
    cell: Cell,
    params: Any,
    xs: ArrayLike,
    *,
    initial_state: Any = None,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reverse: bool = False,
    return_states: bool = False,
    dtype: DTypeLike | None = None,
    carry_dtype: DTypeLike | None = None,
    executor: Executor | str | None = None,
    key: Array | None = None,
) -> tuple[Array, Any] | tuple[Array, Any, Any]:
    """Runs a cell over sequences, time first.

    A step is invalid if it is masked out or lies at or after its sequence's length. An invalid
    step leaves the state unchanged and outputs zero. Its input, even NaN, affects no output, state
    or gradient. The final state is the state after the last valid step. A sequence of length 0
    returns the initial state. Two calls that carry the state over equal one call.

    Args:
      cell: the cell.
      params: the parameters that `cell.init` returns, before `cell.prepare`.
      xs: inputs, shape (T, *B, D), with zero or more batch axes.
      initial_state: the state before the first step; by default `cell.initial_state`.
      lengths: valid steps of each sequence, integers of shape (*B,), 0 <= length <= T.
      mask: True at the valid steps, booleans of shape (T, *B). Valid steps need not be adjacent.
        If `lengths` is also given, a step is valid only where both say so.
      resets: True where the state becomes `cell.initial_state` before the step, booleans of shape
        (T, *B), for packed sequences and episodes. A reset at a masked step takes effect too. With
        `reverse`, time runs backwards, so a packed sequence needs its reset at its last step.
      reverse: whether to run each sequence from its last valid step to its first. Outputs stay at
        their own time index.
      return_states: whether to return the state after every step too.
      dtype: the dtype of the products; by default the dtype of `xs`. Prepared parameters are cast
        to it. Complex parameters are cast to the complex dtype of that precision, at least
        complex64. Parameters in `cell.full_precision` are kept in at least float32, and integers
        keep their dtype.
      carry_dtype: the dtype of the state's real fields; by default `dtype` promoted with float32,
        so that low precision accumulates in float32. Complex fields use the complex dtype of that
        precision; integers and booleans keep their own dtype.
      executor: how to run the cell in time: an executor such as
        `seqjax.executors.Sequential(residuals="states")`, or a short name ("auto",
        "sequential", "associative", "chunked", "newton", "scan"). By default, and for "auto",
        `seqjax.executors.choose` picks one. All executors give the same results, up to rounding.
      key: random key of the noise, for a cell that a function of `seqjax.transforms` has returned.
        Without a key, the cell runs as at test time. `seqjax.online.UORO` needs a key too.

    Returns:
      `(ys, state)`: outputs of shape (T, *B, out_size) in `dtype`, and the final state in
      `carry_dtype`. With `return_states`, `(ys, state, states)`, where the leaves of `states` are
      (T, *B, ...).

    Raises:
      ValueError: if a shape does not fit, the parameters are those of another cell or size, lengths
        known while tracing are out of range, or the executor is unknown or cannot run the cell.
      TypeError: if `cell` is not a cell, `xs` is not floating, `lengths` is not integer, or `mask`
        or `resets` is not boolean.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.lstm(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> xs = jnp.ones((5, 2, 3))
      >>> ys, state = seqjax.unroll(cell, params, xs, lengths=jnp.array([5, 2]))
      >>> ys.shape, bool((ys[2:, 1] == 0).all()), bool((state.hidden[1] == ys[1, 1]).all())
      ((5, 2, 4), True, True)
    """
    if not isinstance(cell, Cell):
        raise TypeError(
            f"seqjax.unroll: the first argument must be a cell, got {type(cell).__name__}. Call "
            "unroll(cell, params, xs)."
        )
    chosen = resolve("seqjax.unroll", executor, cell)
    if key is not None and not (cell.draws_noise or needs_key(chosen)):
        raise ValueError(
            f"seqjax.unroll: `key` is for cells that draw noise, and {cell!r} draws none. Leave it "
            "out, or add noise by seqjax.transforms."
        )
    xs = as_array("xs", xs)
    own_axes = cell.input_shape
    if xs.ndim < 2 + len(own_axes) or xs.shape[xs.ndim - 1 - len(own_axes) : -1] != own_axes:
        axes = ", ".join(["T", "*B", *map(str, own_axes), "D"])
        advice = "" if own_axes else " A sequence of numbers needs xs[:, None]."
        raise ValueError(f"seqjax.unroll: `xs` must have shape ({axes}), got {xs.shape}.{advice}")
    dtype = xs.dtype if dtype is None else _dtype("dtype", dtype)
    if not jnp.issubdtype(dtype, jnp.floating) or jnp.iscomplexobj(xs):
        got = xs.dtype if jnp.iscomplexobj(xs) else dtype
        raise TypeError(
            f"seqjax.unroll: `xs` must be floating, got {got}. Embed token ids first, or pass "
            "xs.astype(float)."
        )
    if carry_dtype is None:
        carry_dtype = jnp.promote_types(dtype, jnp.float32)
    carry_dtype = _dtype("carry_dtype", carry_dtype)
    if not jnp.issubdtype(carry_dtype, jnp.floating):
        raise TypeError(f"seqjax.unroll: `carry_dtype` must be floating, got {carry_dtype}.")
    in_size, xs = xs.shape[-1], flat_inputs(cell, xs)
    num_steps, batch_shape = xs.shape[0], xs.shape[1:-1]
    valid = valid_steps(num_steps, batch_shape, lengths, mask)
    if resets is not None:
        resets = boolean_steps("resets", resets, num_steps, batch_shape)

    params = jax.tree.map(jnp.asarray, params)
    check_params(UNROLL, cell, params, in_size)
    reset_state = cell.initial_state(params, batch_shape, carry_dtype)
    state = reset_state
    if initial_state is not None:
        start = "cell.initial_state(params, batch)"
        check_state(UNROLL, initial_state, reset_state, batch_shape, start, hint(UNROLL))
        state = jax.tree.map(_in_dtype_of, initial_state, reset_state)
    own_output = type(cell).output is not Cell.output

    def run(
        params: Any, inputs: Inputs, state: Any, reset_state: Any, key: Array | None
    ) -> tuple[Any, Any, Any]:
        noise = Noise() if key is None else cell.draw(key, inputs.xs)
        inputs = inputs._replace(noise=noise.steps)
        if key is not None and needs_key(chosen):
            # Not a number that a cell folds in.
            inputs = inputs._replace(key=jax.random.fold_in(key, 2**32 - 1))
        if noise.inputs is not None:
            inputs = inputs._replace(xs=inputs.xs * noise.inputs)
        extra = () if noise.params is None else (noise.params,)
        prepared = cast_params(cell, cell.prepare(widened(params), *extra), dtype)
        prepared, inputs, state, reset_state = same_axes(prepared, inputs, state, reset_state)
        if cell.uses_starts:
            starts, _ = first_steps(
                state[-1], inputs.valid, inputs.resets, num_steps, reverse=reverse
            )
            inputs = inputs._replace(starts=starts)
        all_states = return_states or own_output
        given = Run(cell, prepared, inputs, state, reset_state, reverse, all_states)
        if isinstance(chosen, Chunked) and num_steps and not return_states:
            final, ys = chosen.run_outputs(given)
            ys = with_input(cell, ys, inputs.clean_xs())
            return finished(ys, inputs), final, None
        final, states = chosen.run(given) if num_steps else (state, _no_states(state))
        # Rematerialise: the intermediates of a read-out are as large as the states themselves.
        output = partial(read_out, cell)
        output = jax.checkpoint(output) if own_output else output
        ys = output(prepared, states, inputs.clean_xs())
        return finished(ys, inputs), final, states if return_states else None

    def finished(ys: Array, inputs: Inputs) -> Array:
        """Returns outputs in `dtype`, zero at the invalid steps."""
        if jnp.iscomplexobj(ys):
            raise TypeError(f"seqjax.unroll: the output of {cell!r} must be real, got {ys.dtype}.")
        return zeros_unless(inputs.valid, ys.astype(dtype))

    inputs = Inputs(xs.astype(dtype), valid, resets)
    ys, final, states = automatic(run, xs)(params, inputs, state, reset_state, key)
    return (ys, final, states) if return_states else (ys, final)


def step(
    cell: Cell, params: Any, x: ArrayLike, state: Any = None, *, key: Array | None = None
) -> tuple[Array, Any]:
    """Runs a cell for one step: `unroll` on a sequence of length 1, without the time axis.

    Args:
      cell: the cell.
      params: the parameters that `cell.init` returns.
      x: the input of this step, shape (*B, D).
      state: the state that the previous step returned; by default `cell.initial_state`.
      key: random key of the noise of this step, see `unroll`.

    Returns:
      `(y, state)`: the output of shape (*B, out_size) in the dtype of `x`, and the state after the
      step.

    Raises:
      ValueError: if a shape does not fit.
      TypeError: if `x` is not floating.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.lstm(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> xs = jax.random.normal(jax.random.key(1), (5, 2, 3))
      >>> state = None
      >>> for x in xs:
      ...     y, state = seqjax.step(cell, params, x, state)
      >>> bool(jnp.allclose(y, seqjax.unroll(cell, params, xs)[0][-1], atol=1e-6))
      True
    """
    ys, state = unroll(cell, params, jnp.asarray(x)[None], initial_state=state, key=key)
    return ys[0], state


def widened(params: Any) -> Any:
    """Returns the parameters with floating leaves in at least float32, for `Cell.prepare`."""

    def widen(leaf: Array) -> Array:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))

    return jax.tree.map(widen, params)


def cast_params(cell: Cell, params: Any, dtype: DTypeLike) -> Any:
    """Returns prepared parameters in the dtype of the products.

    Complex leaves are cast to the complex dtype of that precision, at least complex64. Leaves
    named in `cell.full_precision` are cast to at least float32. Integers and booleans stay as they
    are.
    """

    def cast(path: tuple[Any, ...], leaf: Array) -> Array:
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return leaf
        names = {getattr(part, "name", getattr(part, "key", None)) for part in path}
        wide = not names.isdisjoint(cell.full_precision)
        target = jnp.promote_types(dtype, jnp.float32) if wide else jnp.dtype(dtype)
        if jnp.iscomplexobj(leaf):
            target = jnp.promote_types(target, jnp.complex64)
        return leaf.astype(target)

    return jax.tree_util.tree_map_with_path(cast, params)


def _no_states(state: Any) -> Any:
    """Returns the states of a run without steps, leaves (0, *B, ...)."""
    return jax.tree.map(lambda leaf: jnp.zeros((0, *leaf.shape), leaf.dtype), state)


def _in_dtype_of(leaf: ArrayLike, expected: Array) -> Array:
    """Returns a field of a given state in the dtype of the same field in the cell's state."""
    if jnp.iscomplexobj(leaf) and not jnp.iscomplexobj(expected):
        raise TypeError(
            "seqjax.unroll: `initial_state` has a complex field where the cell's state is real. "
            "Start from cell.initial_state(params, batch)."
        )
    return jnp.asarray(leaf, expected.dtype)


def _dtype(name: str, value: Any) -> jnp.dtype:
    try:
        return jnp.dtype(value)
    except TypeError:
        raise TypeError(f"seqjax.unroll: `{name}` must be a dtype, got {value!r}.") from None
