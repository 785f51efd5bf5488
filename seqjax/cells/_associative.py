"""Associative cells: one element describes several steps in a row."""

import dataclasses
from typing import Any

from seqjax.cells._cell import Cell, Params, State


@dataclasses.dataclass(frozen=True, repr=False)
class AssociativeCell(Cell):
    """A cell with steps that can be combined before the state is known.

        element(d_1), element(d_2)                      one for each drive
        combine(e_1, e_2)                               both steps, e_1 first
        apply(combine(e_1, e_2), s) = apply(e_2, apply(e_1, s))

    `combine` must be associative. `seqjax.executors.Associative` then runs the cell in parallel in
    time. You need not define an identity element: the executor handles masked steps and resets.

    Differs from `LinearCell`, which has diagonal elements `(a, b)` and runs faster. Use
    `AssociativeCell` if your cell is linear in its state but not diagonal, or if it rescales its
    state. Define `init`, `initial_state` and the three methods below. Define `project` if the drive
    is not the input itself. Define `output` if the output is not the first field of the state.
    `step` applies the element of one drive. Override it if a single step has a cheaper form.

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
        """Returns one element for each drive; the leaves have shape (..., *shape)."""
        raise NotImplementedError(f"{type(self).__name__} must define `element`.")

    def combine(self, left: Any, right: Any) -> Any:
        """Returns the element of `left` and then `right`, for any leading axes."""
        raise NotImplementedError(f"{type(self).__name__} must define `combine`.")

    def apply(self, element: Any, state: State) -> State:
        """Returns the state after `element`, for any leading axes."""
        raise NotImplementedError(f"{type(self).__name__} must define `apply`.")

    def step(self, params: Params, state: State, drive: Any) -> State:
        """Returns the state after one step."""
        return self.apply(self.element(drive), state)
