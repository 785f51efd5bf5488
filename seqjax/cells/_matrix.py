"""Cells with a matrix as memory: what they write is an outer product of a key and a value."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

from jax import Array

from seqjax.cells._cell import Cell, Params, State
from seqjax.cells._linear import LinearCell
from seqjax.cells._operations import heads_of


class Writes(NamedTuple):
    """What the steps of a `MatrixCell` write, for any leading axes.

    Attributes:
      key: shape (..., n, K), with `n` heads.
      value: shape (..., n, V).
      log_decay: logarithm of the decay, (..., n, K), or (..., n, 1) for one decay a head.
      rate: share of the correction, (..., n), or None if values are added and nothing is corrected.
      log_weight: logarithm of a factor of the key, (..., n, 1), or None for 1. The memory is then
        divided by the exponential of its largest logarithm so far.
    """

    key: Array
    value: Array
    log_decay: Array
    rate: Array | None = None
    log_weight: Array | None = None


class Memory(NamedTuple):
    """The memory `S` (*B, n, K, V), and the logarithm of its scale, (*B, n, 1), or None."""

    matrix: Array
    log_scale: Array | None = None


class MatrixCell(Cell):
    """A base class of cells that read a matrix by a query, next to `LinearCell` or another kind.

        u_t = v_t,    or with a rate    u_t = rate_t (v_t - (a_t S_{t-1})^T k_t)
        S_t = diag(a_t) S_{t-1} + exp(w_t) k_t u_t^T
        found_t = S_t^T q_t

    `S` starts at zero, and a reset empties it. `seqjax.executors.Chunked` computes `found` for many
    steps without the states between. The methods below must agree with the step of the cell, so
    derive the step from `writes`.
    """

    def writes(self, params: Params, xs: Array) -> Writes:
        """Returns what many steps write, from their inputs (..., D)."""
        raise NotImplementedError(f"{type(self).__name__} must define `writes`.")

    def query(self, params: Params, xs: Array) -> Array:
        """Returns the queries of many steps, (..., n, K)."""
        raise NotImplementedError(f"{type(self).__name__} must define `query`.")

    def answer(self, params: Params, found: Memory, xs: Array) -> Array:
        """Returns the outputs from what the queries found: `found.matrix` has shape (..., n, V)."""
        return found.matrix.reshape(*xs.shape[:-1], self.hidden_size)

    def as_memory(self, state: State) -> Memory:
        """Returns a state as a `Memory`."""
        return Memory(state[0])

    def as_state(self, memory: Memory, state: State) -> State:
        """Returns a memory in the form of `state`."""
        return state._replace(**{state._fields[0]: memory.matrix})


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class HeadedCell(MatrixCell):
    """A `MatrixCell` with a matrix for each head; by default a head has `units_per_head` units."""

    heads: int | None = None
    units_per_head: ClassVar[int] = 32

    def __post_init__(self) -> None:
        """Sets the number of heads, and checks that it divides the units."""
        super().__post_init__()
        heads = heads_of(self.name, self.hidden_size, self.heads, size=self.units_per_head)
        object.__setattr__(self, "heads", heads)

    @property
    def head_shape(self) -> tuple[int, int]:
        """Heads, and the units of each."""
        assert self.heads is not None
        return self.heads, self.hidden_size // self.heads


def reads_by_query(cell: Any) -> bool:
    """Returns whether the methods of a `MatrixCell` describe the cell.

    They do not if a subclass has a step or an output of its own.
    """
    if not isinstance(cell, MatrixCell):
        return False
    own = {"step", "element", "combine", "apply", "output"}
    if isinstance(cell, LinearCell):
        own |= {"project", "coefficients"}
    for kind in type(cell).__mro__:
        if "writes" in vars(kind):
            return True
        if not own.isdisjoint(vars(kind)):
            return False
    return False
