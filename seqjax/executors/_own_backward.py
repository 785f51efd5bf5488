"""Adds our own backward pass to a run in time; JAX derives all other derivatives."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from seqjax.executors._executor import Run
from seqjax.executors._inexact import Split
from seqjax.executors._transposable import linear_map


class Operands(NamedTuple):
    """The arrays with respect to which a run is differentiated, or their cotangents.

    Attributes:
      params: parameters of the cell.
      xs: inputs, shape (T, *B, D).
      state: the state before the first step.
      reset_state: the state after a reset, or None without resets.
    """

    params: Any
    xs: Any
    state: Any
    reset_state: Any


class Results(NamedTuple):
    """The results of a run.

    Attributes:
      final: the final state.
      states: the state after every step, leaves (T, *B, ...). Unless `Run.all_states`, all fields
        but the first may be None.
    """

    final: Any
    states: Any


# Where each leaf takes the batch axis of `vmap`; -1: the batch shares the parameters.
_OPERANDS, _RESULTS = Operands(-1, 1, 0, 0), Results(0, 1)


def run_with_backward(
    run: Run,
    forward: Callable[[Run], Results],
    keep: Callable[[Run], tuple[Results, Any]],
    backward: Callable[[Run, Any, Results], Operands],
    *,
    tangents_of: Callable[[Run], Results] | None = None,
) -> Results:
    """Returns `forward(run)` and lets `backward` compute its gradient.

    Forward mode, second derivatives and `vmap` work as they do for `forward`: the tangents are the
    tangents of `forward`. Reverse mode transposes them, and `backward` replaces that transpose.

    Args:
      run: what to run. Its masks, resets and noise are not differentiated. Without resets, the
        functions get a `reset_state` of None.
      forward: runs the cell.
      keep: returns the same results, and the residuals of the backward pass, whose leaves have time
        first and then the batch.
      backward: `backward(run, kept, d_results) -> d_operands`. Cotangents of integer and boolean
        leaves may be None.
      tangents_of: a function of the same values, whose tangents forward mode uses; by default
        `forward`. An iteration needs it: the tangents of its last iterate are not exact.

    Returns:
      The results.
    """
    reset_state = None if run.inputs.resets is None else run.reset_state
    operands = Operands(run.params, run.inputs.xs, run.state, reset_state)
    constants = run.inputs._replace(xs=None)  # pyright: ignore[reportArgumentType]
    options = dataclasses.replace(run, params=None, inputs=None, state=None, reset_state=None)
    split = Split(operands)
    moving, still = split(operands)
    moving_axes, still_axes = split(jax.tree.broadcast(_OPERANDS, operands))

    def whole(moving: list[Any], still: list[Any], constants: Any) -> Run:
        params, xs, state, reset_state = split.join(moving, still)
        arrays = {"params": params, "state": state, "reset_state": reset_state}
        return dataclasses.replace(options, inputs=constants._replace(xs=xs), **arrays)

    @jax.custom_jvp
    def run_once(moving: list[Any], still: list[Any], constants: Any) -> Results:
        return forward(whole(moving, still, constants))

    @run_once.defjvp
    def _(primals, tangents):
        moving, still, constants = primals
        results, kept = keep(whole(moving, still, constants))

        def push(residuals: Any, tangents: list[Any]) -> Any:
            moving, *fixed, _ = residuals

            def again(moving: list[Any]) -> Any:
                return (tangents_of or forward)(whole(moving, *fixed))

            return jax.jvp(again, (moving,), (tangents,))[1]

        def pull(residuals: Any, d_results: Any) -> list[Any]:
            *arrays, kept = residuals
            return split(backward(whole(*arrays), kept, d_results))[0]

        residuals = moving, still, constants, kept
        axes = (moving_axes, still_axes, 1, 1), moving_axes, _RESULTS
        return results, linear_map(push, pull, residuals, tangents[0], batch_axes=axes)

    return run_once(moving, still, constants)
