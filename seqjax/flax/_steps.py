"""`from_step`: a cell from any function of one time step, such as another framework's cell."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from seqjax._checks import check_function, check_sizes
from seqjax.cells import Cell


class CarriedState(NamedTuple):
    """The state of a cell that `from_step` returns; see `StepCell.carry_of`.

    Attributes:
      output: the output of the last step, zeros before the first.
      carry: the carry. Where one of its arrays is the output, None stands in its place.
    """

    output: Array
    carry: Any


@dataclasses.dataclass(frozen=True, repr=False)
class StepCell(Cell):
    """The cell that `from_step` returns.

    Attributes:
      call: `call(params, carry, x) -> (carry, y)`.
      first: `first(params, batch_shape) -> carry`, the carry before the first step.
      draw_params: `draw_params(key, in_size, dtype) -> params`, or None.
      batched: whether `call` takes a batch axis.
      structure: the structure of the carry.
      shared: which array of the carry is the output, or None.
    """

    call: Callable[..., Any] = dataclasses.field(kw_only=True)
    first: Callable[..., Any] = dataclasses.field(kw_only=True)
    draw_params: Callable[..., Any] | None = dataclasses.field(kw_only=True)
    batched: bool = dataclasses.field(kw_only=True)
    structure: Any = dataclasses.field(kw_only=True)
    shared: int | None = dataclasses.field(kw_only=True)

    def init(self, key: Array, in_size: int, dtype: DTypeLike = jnp.float32) -> Any:
        """Draws the parameters by `draw_params`."""
        if self.draw_params is None:
            raise TypeError(
                f"seqjax {self.name}.init: a cell of `from_step` must be given `init` to draw "
                "parameters, got none. Use the parameters of the framework that the cell is from."
            )
        return self.draw_params(key, in_size, dtype)

    def initial_state(
        self, params: Any, batch_shape: Sequence[int] = (), dtype: DTypeLike = jnp.float32
    ) -> CarriedState:
        """Returns the state of the first carry; its real arrays have the given dtype."""
        carry = self.first(params, (math.prod(batch_shape),))
        carry = jax.tree.map(lambda leaf: cast(jnp.asarray(leaf), dtype), carry)
        carry = _with_batch(carry, 1, batch_shape)
        return self.state_of(carry, jnp.zeros((*batch_shape, self.hidden_size), dtype))

    def step(self, params: Any, state: CarriedState, drive: Array) -> CarriedState:
        """Calls the function with one batch axis, whatever the batch axes of the run are."""
        batch = drive.shape[:-1]
        call = self.call if self.batched else jax.vmap(self.call, (None, 0, 0))
        given = _with_batch((self.carry_of(state), drive), len(batch), (math.prod(batch),))
        carry, y = _with_batch(call(params, *given), 1, batch)
        after = self.state_of(carry, y)
        return jax.tree.map(lambda new, old: new.astype(old.dtype), after, state)

    def state_of(self, carry: Any, output: Array) -> CarriedState:
        """Returns the state that holds a carry, and the output of the step before it."""
        if self.shared is None:
            return CarriedState(output, carry)
        leaves: list[Any] = self.structure.flatten_up_to(carry)
        output, leaves[self.shared] = leaves[self.shared], None
        return CarriedState(output, self.structure.unflatten(leaves))

    def carry_of(self, state: CarriedState) -> Any:
        """Returns the carry as `call` takes it."""
        if self.shared is None:
            return state.carry
        leaves = jax.tree.leaves(state.carry)
        leaves.insert(self.shared, state.output)
        return self.structure.unflatten(leaves)


def from_step(
    call: Callable[..., Any],
    carry: Callable[..., Any],
    params: Any,
    in_size: int,
    *,
    batched: bool = True,
    init: Callable[..., Any] | None = None,
    name: str = "step",
) -> StepCell:
    """Makes a cell from a function of one time step.

    `seqjax.unroll`, layers, truncation and `seqjax.gradflow` run it as any other cell: lengths,
    masks, resets, both directions. JAX differentiates its step.

    Args:
      call: `call(params, carry, x) -> (carry, y)`, a pure function.
      carry: `carry(params, batch_shape)`, the carry before the first step, arrays (*B, ...).
      params: parameters, of which only the shapes matter here.
      in_size: features of the input.
      batched: whether `call` takes arrays with one batch axis. If not, it takes one example, and
        the cell maps it over the batch.
      init: `init(key, in_size, dtype) -> params`, for layers and `cell.init`.
      name: the cell's name in messages.

    Returns:
      The cell. If `y` is one of the arrays of the carry, the state holds it only once.

    Raises:
      ValueError: if `call` returns no output (B, H), or a carry of other shapes than it was given.
      TypeError: if a function cannot be called as it must be.

    Example:
      A running mean:

      >>> import jax.numpy as jnp, seqjax
      >>> def call(decay, carry, x):
      ...     mean = decay * carry + (1 - decay) * x
      ...     return mean, mean
      >>> def carry(decay, batch_shape):
      ...     return jnp.zeros((*batch_shape, 3))
      >>> cell = seqjax.flax.from_step(call, carry, jnp.float32(0.5), in_size=3)
      >>> ys, _ = seqjax.unroll(cell, jnp.float32(0.5), jnp.ones((3, 2, 3)))
      >>> ys[:, 0, 0].tolist()
      [0.5, 0.75, 0.875]
    """
    where = "seqjax.flax.from_step"
    check_function(where, "call", call, ["params", "carry", "x"])
    check_function(where, "carry", carry, ["params", "batch_shape"])
    check_function(where, "init", init, ["key", "in_size", "dtype"], optional=True)
    check_sizes(where, in_size=in_size)
    params, x = jax.eval_shape(lambda params: (params, jnp.zeros((1, in_size))), params)
    first = jax.eval_shape(lambda params: carry(params, (1,)), params)
    over_batch = call if batched else jax.vmap(call, (None, 0, 0))
    program, made = jax.make_jaxpr(over_batch, return_shape=True)(params, first, x)
    shapes = jax.tree.map(jnp.shape, made)
    if not isinstance(made, tuple) or len(made) != 2 or len(getattr(made[1], "shape", ())) != 2:
        raise ValueError(
            f"{where}: `call` must return (carry, y) with y of shape (B, H) for a batch of 1, got "
            f"shapes {shapes}."
        )
    if shapes[0] != jax.tree.map(jnp.shape, first):
        raise ValueError(
            f"{where}: `call` must return a carry of the structure and shapes of `carry`, "
            f"{jax.tree.map(jnp.shape, first)} for a batch of 1, got {shapes[0]}."
        )
    *carried, output = program.jaxpr.outvars
    places = [index for index, variable in enumerate(carried) if variable is output]
    return StepCell(
        made[1].shape[-1],
        name=name,
        call=call,
        first=carry,
        draw_params=init,
        batched=batched,
        structure=jax.tree.structure(first),
        shared=places[0] if places else None,
    )


def cast(leaf: Array, dtype: DTypeLike) -> Array:
    """Returns a real array in a dtype, a complex one in that precision, and others as they are."""
    if jnp.iscomplexobj(leaf):
        return leaf.astype(jnp.promote_types(dtype, jnp.complex64))
    return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def _with_batch(tree: Any, axes: int, batch_shape: Sequence[int]) -> Any:
    """Returns arrays whose first `axes` axes have become those of `batch_shape`."""
    if axes == len(batch_shape):
        return tree
    return jax.tree.map(lambda leaf: leaf.reshape(*batch_shape, *leaf.shape[axes:]), tree)
