"""Frameworks that `scripts/benchmark.py` times, one adapter a file, each in a process of its own.

An adapter is a module with `VERSIONS`, the versions it runs; `CELLS`, which of our cells its cells
are where they are not the usual ones; `start(cores)`; and `build(case, weights, xs, cotangent)`,
which returns a `Program`. Weights come in our layout, one dictionary a direction, and each adapter
says in one function, `place`, where they stand in its own.

A new linear cell is one entry of `LINEAR_CELLS`: the name of its maker in `seqjax`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

NAMES = (
    "torch",
    "flax",
    "keras",
    "haiku",
    "equinox",
    "drop_in",
    "drop_in_cores",
    "scan",
    "associative_autodiff",
    "baseline",
)
USUAL_CELLS = ("rnn", "lstm", "gru")
LINEAR_CELLS = ("min_gru", "lru", "rg_lru")
Weights = dict[str, np.ndarray]


class Case(NamedTuple):
    """What is run.

    Attributes:
      cell: a usual or a linear cell, `own`, or a variant that a peer has instead.
      bidirectional: whether a backward layer runs beside the forward one.
      steps: `T`.
      batch: `B`.
      in_size: `D`.
      hidden_size: `H`.
      cores: processor cores to use.
    """

    cell: str
    bidirectional: bool
    steps: int
    batch: int
    in_size: int
    hidden_size: int
    cores: int


class Program(NamedTuple):
    """What can be timed; every function waits for its result.

    Attributes:
      inference: outputs of all steps.
      train: gradients of all weights and of the input, of the sum of outputs times the cotangent.
      results: outputs (T, B, H) as `ys`, the gradient of the input as `xs`, and those of the
        weights in our layout as `0.bias`, `1.bias`, ... by direction.
    """

    inference: Callable[[], Any]
    train: Callable[[], Any]
    results: Callable[[], dict[str, np.ndarray]]
