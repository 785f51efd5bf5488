"""`RNN` and `Bidirectional`: cells with their parameters, batch first."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from seqjax._unroll import unroll
from seqjax.cells._base import Cell

MERGE_MODES = ("concat", "sum", "mul", "ave", "none")


class Recurrent(nnx.Module):
    """What every recurrent layer shares: batch first outside, time first inside.

    A layer says in `over_time` what it does; one on top of another is called there, so that a stack
    turns its sequences once and not for every layer.
    """

    def __call__(
        self,
        xs: Array,
        *,
        initial_state: Any = None,
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        resets: ArrayLike | None = None,
        return_state: bool = False,
        key: Array | None = None,
    ) -> Any:
        """Runs the layer; the semantics are those of `seqjax.unroll`.

        Args:
          xs: shape (*B, T, D).
          initial_state: the state before the first step: of `RNN` the cell's, of `Bidirectional`
            a pair (forward, backward), of `Stack` a tuple with one of each layer.
          lengths: valid steps of each sequence, shape (*B,).
          mask: True at the valid steps, shape (*B, T).
          resets: True where a new sequence starts, shape (*B, T). Unlike in `unroll` this holds
            for both directions: a reverse layer starts anew below each of these steps.
          return_state: whether the final state is returned too.
          key: key of the dropout between the layers of a `Stack`; none is applied without it.

        Returns:
          Outputs (*B, T, out_size), of `Bidirectional` with `merge="none"` the pair of them; or
          with `return_state` `(outputs, state)`, the state in the form of `initial_state`.
        """
        ys, state = self.over_time(
            time_first(xs, -2),
            initial_state=initial_state,
            lengths=lengths,
            mask=None if mask is None else time_first(jnp.asarray(mask), -1),
            resets=None if resets is None else time_first(jnp.asarray(resets), -1),
            key=key,
        )
        ys = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -2), ys)
        return (ys, state) if return_state else ys

    @property
    def looks_ahead(self) -> bool:
        """Whether an output depends on later inputs, so that sequences must come whole."""
        return False

    def initial_state(self, batch_shape: Sequence[int] = (), dtype: DTypeLike = jnp.float32) -> Any:
        """Returns the state before the first step, in the form that `return_state` has."""
        raise TypeError(f"seqjax.nn: {type(self).__name__} must define `initial_state`.")

    def step(self, x: Array, state: Any = None) -> tuple[Array, Any]:
        """Runs one step: what a call does with a sequence of one, without its time axis.

        Args:
          x: the input of this step, shape (*B, D).
          state: the state that the step before returned; by default the initial state.

        Returns:
          `(y, state)`: the output (*B, out_size), and the state after the step.

        Raises:
          ValueError: if the layer looks ahead.

        Example:
          See `seqjax.nn.make_step`, which compiles it.
        """
        if self.looks_ahead:
            raise ValueError(
                f"seqjax.nn.{type(self).__name__}.step: a layer must look at no later input to be "
                "run step by step, got one that runs backwards or sees steps ahead. Give it whole "
                "sequences, or train a layer that runs forwards only."
            )
        ys, state = self.over_time(
            jnp.asarray(x)[None],
            initial_state=state,
            lengths=None,
            mask=None,
            resets=None,
            key=None,
        )
        return ys[0], state

    def over_time(
        self,
        xs: Array,
        *,
        initial_state: Any,
        lengths: ArrayLike | None,
        mask: Array | None,
        resets: Array | None,
        key: Array | None,
    ) -> tuple[Any, Any]:
        """Does the same time first: xs (T, *B, D), mask and resets (T, *B), outputs (T, *B, N)."""
        raise TypeError(f"seqjax.nn: {type(self).__name__} must define `over_time`.")


class RNN(Recurrent):
    """A cell and its parameters, run over batch-first sequences.

    Args:
      cell: the cell, such as `seqjax.lstm(128)`.
      in_size: features of the input.
      reverse: whether sequences run from their last valid step to their first.
      param_dtype: dtype of the parameters.
      rngs: gives the key of the initialisers; nothing random stays in the module.

    Attributes:
      params: the cell's parameters, a `NamedTuple` of `nnx.Param`. Their metadata `out_sharding`
        says how devices may split them, see `Cell.partition`.

    Example:
      >>> import jax.numpy as jnp, seqjax
      >>> from flax import nnx
      >>> layer = seqjax.nn.RNN(seqjax.gru(8), 3, rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 5, 3)), lengths=jnp.array([5, 2])).shape
      (2, 5, 8)
    """

    def __init__(
        self,
        cell: Cell,
        in_size: int,
        *,
        reverse: bool = False,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Initialises the parameters."""
        self.cell = cell
        self.in_size = in_size
        self.out_size = cell.hidden_size
        self.reverse = reverse
        params = cell.init(rngs.params(), in_size, param_dtype)
        self.params = nnx.data(jax.tree.map(_param, params, cell.partition(params)))

    def cell_params(self) -> Any:
        """Returns the parameters as the plain arrays that `seqjax.unroll` takes."""
        return jax.tree.map(
            lambda variable: variable[...],
            self.params,
            is_leaf=lambda leaf: isinstance(leaf, nnx.Variable),
        )

    @property
    def looks_ahead(self) -> bool:
        """Whether it runs backwards."""
        return self.reverse

    def initial_state(self, batch_shape: Sequence[int] = (), dtype: DTypeLike = jnp.float32) -> Any:
        """Returns the cell's initial state."""
        return self.cell.initial_state(self.cell_params(), batch_shape, dtype)

    def over_time(self, xs, *, initial_state, lengths, mask, resets, key):
        """Runs the cell; nothing in it is random."""
        if resets is not None and self.reverse:
            resets = jnp.concatenate([resets[1:], jnp.zeros_like(resets[:1])])
        return unroll(
            self.cell,
            self.cell_params(),
            xs,
            initial_state=initial_state,
            lengths=lengths,
            mask=mask,
            resets=resets,
            reverse=self.reverse,
        )

    def last_output(self, state: Any) -> Array:
        """Returns the output at the last step run, (*B, H), from the final state."""
        return self.cell.output(state)


class Bidirectional(Recurrent):
    """A forward and a backward layer over the same input, their outputs merged step by step.

    Args:
      cell: the cell of both directions, each with parameters of its own.
      in_size: features of the input.
      merge: "concat" (2 H features), "sum", "mul", "ave", or "none" (a pair of arrays).
      param_dtype: dtype of the parameters.
      rngs: gives the keys of the initialisers.

    Raises:
      ValueError: if `merge` is unknown.

    Example:
      >>> import jax.numpy as jnp, seqjax
      >>> from flax import nnx
      >>> layer = seqjax.nn.Bidirectional(seqjax.lstm(8), 3, rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 5, 3))).shape
      (2, 5, 16)

    Reference: Schuster and Paliwal (1997), Bidirectional recurrent neural networks.
    """

    def __init__(
        self,
        cell: Cell,
        in_size: int,
        *,
        merge: str = "concat",
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Initialises the parameters of both directions."""
        if merge not in MERGE_MODES:
            raise ValueError(
                f"seqjax.nn.Bidirectional: `merge` must be one of {', '.join(MERGE_MODES)}, "
                f"got {merge!r}."
            )
        self.merge = merge
        self.in_size = in_size
        self.out_size = cell.hidden_size * (2 if merge == "concat" else 1)
        self.forward = RNN(cell, in_size, param_dtype=param_dtype, rngs=rngs)
        self.backward = RNN(cell, in_size, reverse=True, param_dtype=param_dtype, rngs=rngs)

    @property
    def looks_ahead(self) -> bool:
        """Always: one direction comes from the end."""
        return True

    def initial_state(self, batch_shape: Sequence[int] = (), dtype: DTypeLike = jnp.float32) -> Any:
        """Returns the initial states of both directions."""
        return tuple(
            layer.initial_state(batch_shape, dtype) for layer in (self.forward, self.backward)
        )

    def over_time(self, xs, *, initial_state, lengths, mask, resets, key):
        """Runs both directions."""
        starts = (None, None) if initial_state is None else initial_state
        results = [
            layer.over_time(
                xs, initial_state=start, lengths=lengths, mask=mask, resets=resets, key=key
            )
            for layer, start in zip((self.forward, self.backward), starts, strict=True)
        ]
        (forward, forward_state), (backward, backward_state) = results
        return self.merged(forward, backward), (forward_state, backward_state)

    def merged(self, forward: Array, backward: Array) -> Any:
        """Merges an output of each direction."""
        match self.merge:
            case "concat":
                return jnp.concatenate([forward, backward], axis=-1)
            case "sum":
                return forward + backward
            case "mul":
                return forward * backward
            case "ave":
                return (forward + backward) / 2
            case _:
                return forward, backward

    def last_output(self, state: Any) -> Any:
        """Returns the output of each direction at the last step it ran, merged.

        For the backward direction that is the first step in time: reading its output at the last
        step instead would give a state that has seen one step only.
        """
        forward, backward = state
        return self.merged(self.forward.last_output(forward), self.backward.last_output(backward))


def _param(value: Array, spec: jax.sharding.PartitionSpec) -> nnx.Param:
    """Returns a parameter that says how it may be split, and is not yet."""
    if not spec:
        return nnx.Param(value)
    # Not sharded by Flax: that would take a mesh with these axes wherever a layer is made.
    return nnx.Param(value, out_sharding=spec, eager_sharding=False)


def time_first(x: Array, axis: int) -> Array:
    """Moves the time axis to the front."""
    return jnp.moveaxis(x, axis, 0)
