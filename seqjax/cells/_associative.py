"""Associative cells: several steps in a row act on the state as one element does."""

import dataclasses
from typing import Any

from seqjax.cells._cell import Cell, Params, State


@dataclasses.dataclass(frozen=True, repr=False)
class AssociativeCell(Cell):
    """A cell whose steps can be combined before the state is known.

        element(d_1), element(d_2)                      one for each drive
        combine(e_1, e_2)                               both steps, e_1 before e_2
        apply(combine(e_1, e_2), s) = apply(e_2, apply(e_1, s))

    `combine` must be associative; then `seqjax.executors.Associative` runs the cell in parallel in
    time. It needs no identity: masked steps and resets are the executor's affair.

    Differs from `LinearCell`, whose elements are diagonal, `(a, b)`, and which has faster
    executors. Use it for a cell that is linear in its state without being diagonal, or that
    rescales its state. Define `init`, `initial_state`, `project`, the three methods below, and
    `output` unless the output is the first field of the state. `step` applies the element of its
    drive; override it if a single step needs less than that.

    Example:
      A product of matrices:

      >>> import dataclasses, jax, jax.numpy as jnp, seqjax
      >>> from seqjax.cells import AssociativeCell, HiddenState
      >>> @dataclasses.dataclass(frozen=True, repr=False)
      ... class Rotations(AssociativeCell):
      ...     def init(self, key, in_size, dtype=jnp.float32):
      ...         return ()
      ...     def initial_state(self, params, batch_shape=(), dtype=jnp.float32):
      ...         return HiddenState(jnp.ones((*batch_shape, 2), dtype) / 2**0.5)
      ...     def element(self, drive):
      ...         c, s = jnp.cos(drive[..., 0]), jnp.sin(drive[..., 0])
      ...         return jnp.stack([jnp.stack([c, -s], -1), jnp.stack([s, c], -1)], -2)
      ...     def combine(self, left, right):
      ...         return right @ left
      ...     def apply(self, element, state):
      ...         return HiddenState((element @ state.hidden[..., None])[..., 0])
      >>> turns = jnp.full((8, 1), jnp.pi / 4)
      >>> ys, _ = seqjax.unroll(Rotations(2), (), turns, executor="associative")
      >>> bool(jnp.allclose(ys[-1], 2**-0.5, atol=1e-5))
      True
    """

    def element(self, drive: Any) -> Any:
        """Returns the elements of the drives of many steps, leaves (..., *shape)."""
        raise NotImplementedError(f"{type(self).__name__} must define `element`.")

    def combine(self, left: Any, right: Any) -> Any:
        """Returns the elements of `left` followed by `right`, for any leading axes."""
        raise NotImplementedError(f"{type(self).__name__} must define `combine`.")

    def apply(self, element: Any, state: State) -> State:
        """Returns the states after `element`, for any leading axes."""
        raise NotImplementedError(f"{type(self).__name__} must define `apply`.")

    def step(self, params: Params, state: State, drive: Any) -> State:
        """Returns the state after one step."""
        return self.apply(self.element(drive), state)
