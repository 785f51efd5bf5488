"""`RNN` and `Bidirectional`: cells with their parameters, batch first."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from seqjax.cells.base import Cell
from seqjax.unroll import unroll

MERGE_MODES = ("concat", "sum", "mul", "ave", "none")


class RNN(nnx.Module):
    """A cell and its parameters, run over batch-first sequences.

    Args:
      cell: the cell, such as `seqjax.lstm(128)`.
      in_size: features of the input.
      reverse: whether sequences run from their last valid step to their first.
      param_dtype: dtype of the parameters.
      rngs: gives the key of the initialisers; nothing random stays in the module.

    Attributes:
      params: the cell's parameters, a `NamedTuple` of `nnx.Param`.

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
        self.params = nnx.data(jax.tree.map(nnx.Param, params))

    def cell_params(self) -> Any:
        """Returns the parameters as the plain arrays that `seqjax.unroll` takes."""
        return jax.tree.map(
            lambda variable: variable[...],
            self.params,
            is_leaf=lambda leaf: isinstance(leaf, nnx.Variable),
        )

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
          initial_state: the state before the first step.
          lengths: valid steps of each sequence, shape (*B,).
          mask: True at the valid steps, shape (*B, T).
          resets: True where a new sequence starts, shape (*B, T). Unlike in `unroll` this holds
            for both directions: a reverse layer starts anew below each of these steps.
          return_state: whether the final state is returned too.
          key: not used; every recurrent layer can be called with one, as `Stack` must be.

        Returns:
          Outputs (*B, T, H), or with `return_state` `(outputs, state)`.
        """
        resets = None if resets is None else time_first(jnp.asarray(resets), -1)
        if resets is not None and self.reverse:
            resets = jnp.concatenate([resets[1:], jnp.zeros_like(resets[:1])])
        ys, state = unroll(
            self.cell,
            self.cell_params(),
            time_first(xs, -2),
            initial_state=initial_state,
            lengths=lengths,
            mask=None if mask is None else time_first(jnp.asarray(mask), -1),
            resets=resets,
            reverse=self.reverse,
        )
        ys = jnp.moveaxis(ys, 0, -2)
        return (ys, state) if return_state else ys

    def last_output(self, state: Any) -> Array:
        """Returns the output at the last step run, (*B, H), from the final state."""
        return self.cell.output(state)


class Bidirectional(nnx.Module):
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
        """Runs both directions; arguments as in `RNN`, states as pairs `(forward, backward)`.

        Returns:
          Merged outputs (*B, T, out_size), with `merge="none"` the pair of them; with
          `return_state` `(outputs, (forward state, backward state))`.
        """
        starts = (None, None) if initial_state is None else initial_state
        results = [
            layer(
                xs,
                initial_state=start,
                lengths=lengths,
                mask=mask,
                resets=resets,
                return_state=True,
            )
            for layer, start in zip((self.forward, self.backward), starts, strict=True)
        ]
        (forward, forward_state), (backward, backward_state) = results
        ys = self.merged(forward, backward)
        return (ys, (forward_state, backward_state)) if return_state else ys

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


def time_first(x: Array, axis: int) -> Array:
    """Moves the time axis to the front."""
    return jnp.moveaxis(x, axis, 0)
