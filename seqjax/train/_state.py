"""All that one training step reads and writes."""

from typing import Any, NamedTuple

import jax

PyTree = Any


class TrainState(NamedTuple):
    """The state of training, from which every later step follows.

    Attributes:
      params: what the gradient moves.
      opt_state: the optimiser's own state.
      average: moving average of `params`, or None where none is kept.
      step: number of updates done, an int32 scalar.
      key: PRNG key of the whole run; step `n` draws from `fold_in(key, n)`, so that nothing random
        depends on when the run was interrupted.
      carry: what the loss hands to itself at the next step, the states of recurrent layers for
        example; None for a loss that does not.
    """

    params: PyTree
    opt_state: PyTree
    average: PyTree | None
    step: jax.Array
    key: jax.Array
    carry: PyTree | None = None


def evaluation_params(state: TrainState) -> PyTree:
    """The parameters to validate and keep: the moving average where there is one.

    Example:
      >>> evaluation_params(TrainState(1.0, (), None, jax.numpy.int32(0), jax.random.key(0)))
      1.0
    """
    return state.params if state.average is None else state.average
