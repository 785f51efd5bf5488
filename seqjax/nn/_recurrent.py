"""`RNN` and `Bidirectional`: batch-first layers that hold a cell and its parameters."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from seqjax._checks import check_choice, check_shape, check_sizes, check_state
from seqjax._padding import checked_lengths, last_valid, valid_steps
from seqjax._unroll import unroll
from seqjax.cells._cell import Cell, check_vectors
from seqjax.executors._choice import needs_key, resolve
from seqjax.executors._executor import Executor
from seqjax.nn._module import Module, check_rngs

MERGES: dict[str, Callable[[Array, Array], Any]] = {
    "concat": lambda forward, backward: jnp.concatenate([forward, backward], axis=-1),
    "sum": lambda forward, backward: forward + backward,
    "mul": lambda forward, backward: forward * backward,
    "mean": lambda forward, backward: (forward + backward) / 2,
    "none": lambda forward, backward: (forward, backward),
}
"""How `Bidirectional` merges the outputs of its directions."""


class Recurrent(Module):
    """The base class of recurrent layers: batch first outside, time first inside.

    A layer implements `over_time`, which is time first. A stack calls `over_time` of its layers, so
    that it transposes its sequences once instead of once per layer.

    Attributes:
      in_size: features of the input; also `in_features`.
      out_size: features of the output; also `out_features`.
      time_major: whether sequences, masks and resets of a call have time first after all.
      reverse: whether the layer runs from the last step to the first.
    """

    in_size: int
    out_size: int
    time_major: bool = False
    reverse: bool = False

    def __call__(
        self,
        xs: Array,
        *,
        initial_state: Any = None,
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        resets: ArrayLike | None = None,
        return_state: bool = False,
        return_sequences: bool = True,
        key: Array | None = None,
    ) -> Any:
        """Runs the layer, with the semantics of `seqjax.unroll`.

        Args:
          xs: inputs, shape (*B, T, D).
          initial_state: the state before the first step: the cell's state for `RNN`, a pair
            (forward, backward) for `Bidirectional`, a tuple of the layers' states for `Stack`.
          lengths: valid steps of each sequence, shape (*B,).
          mask: True at the valid steps, shape (*B, T).
          resets: True at the first step of each packed sequence, shape (*B, T). Unlike in `unroll`,
            this is the same for both directions: the layer shifts the resets for a reverse run.
          return_state: whether to return the final state too.
          return_sequences: whether to return the outputs of all steps. False returns the output at
            the last step that the layer runs: the last valid step, or the first valid step for a
            backward direction. Do not index the outputs with -1 instead, because the outputs after
            the end of a shorter sequence are zero.
          key: random key of the dropout between the layers of a `Stack`, and of the noise of cells
            that a function of `seqjax.transforms` has returned. Without it there is neither. After
            `layer.eval()` there is no dropout either way; after `layer.train()`, dropout between
            layers requires a key.

        Returns:
          Outputs (*B, T, out_size), or (*B, out_size) without `return_sequences`. `Bidirectional`
          with `merge="none"` returns a pair of outputs. With `return_state`, the result is
          `(outputs, state)`; the state has the form of `initial_state`.

        Raises:
          ValueError: if a shape does not fit, or a length known while tracing is out of range.
          TypeError: if a dtype does not fit.

        Example:
          Two packed sequences of 3 and 2 steps in a row of 5:

          >>> import jax.numpy as jnp, seqjax
          >>> from flax import nnx
          >>> layer = seqjax.nn.RNN(seqjax.gru(8), 3, rngs=nnx.Rngs(0))
          >>> xs, resets = jnp.ones((1, 5, 3)), jnp.array([[True, False, False, True, False]])
          >>> ys, state = layer(xs, resets=resets, return_state=True)
          >>> bool(jnp.allclose(ys[:, 3:], ys[:, :2])), bool((state.hidden == ys[:, -1]).all())
          (True, True)
        """
        where, xs = f"seqjax.nn.{type(self).__name__}", jnp.asarray(xs)
        axes, time, step_time = ("(T, *B", 0, 0) if self.time_major else ("(*B, T", -2, -1)
        if xs.ndim < 2 or xs.shape[-1] != self.in_size:
            raise ValueError(
                f"{where}: `xs` must have shape {axes}, D) with in_size D = {self.in_size}, got "
                f"{xs.shape}."
            )
        steps = time_first(xs, time)
        num_steps, *batch_axes, _ = steps.shape
        batch_shape = tuple(batch_axes)
        hint = f" Layers are {'time' if self.time_major else 'batch'} first."
        for name, each in (("mask", mask), ("resets", resets)):
            if each is not None:
                check_shape(where, name, each, f"{axes})", xs.shape[:-1], hint)
        if lengths is not None:
            lengths = checked_lengths(where, lengths, batch_shape, num_steps)
        self._check_state(where, initial_state, batch_shape)
        ys, last, state = self.over_time(
            steps,
            initial_state=initial_state,
            lengths=lengths,
            mask=None if mask is None else time_first(jnp.asarray(mask), step_time),
            resets=None if resets is None else time_first(jnp.asarray(resets), step_time),
            key=key,
        )
        if return_sequences:
            ys = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, time), ys)
        else:
            ys = last()
        return (ys, state) if return_state else ys

    @property
    def looks_ahead(self) -> bool:
        """Whether an output depends on later inputs, so that the layer needs whole sequences."""
        return self.reverse

    def initial_state(self, batch_shape: Sequence[int] = (), dtype: DTypeLike = jnp.float32) -> Any:
        """Returns the state before the first step, in the form that a call returns."""
        raise TypeError(f"seqjax.nn: {type(self).__name__} must define `initial_state`.")

    def step(self, x: Array, state: Any = None) -> tuple[Array, Any]:
        """Runs one step: a call on a sequence of length 1, without the time axis.

        Args:
          x: the input of this step, shape (*B, D).
          state: the state that the previous step returned; by default the initial state.

        Returns:
          `(y, state)`: the output (*B, out_size), and the state after the step.

        Raises:
          ValueError: if the layer looks ahead, or a shape does not fit.

        Example:
          `seqjax.nn.make_step` compiles it.

          >>> import jax.numpy as jnp, seqjax
          >>> from flax import nnx
          >>> layer = seqjax.nn.RNN(seqjax.gru(8), 3, rngs=nnx.Rngs(0))
          >>> y, state = layer.step(jnp.ones((2, 3)))
          >>> y, state = layer.step(jnp.ones((2, 3)), state)
          >>> y.shape
          (2, 8)
        """
        where, x = f"seqjax.nn.{type(self).__name__}.step", jnp.asarray(x)
        if self.looks_ahead:
            raise ValueError(
                f"{where}: a layer must not read later inputs to run "
                "step by step, got one that runs backwards or looks ahead. Pass whole sequences, "
                "or train a layer that only runs forwards."
            )
        check_shape(where, "x", x, "(*B, D)", (*x.shape[:-1], self.in_size))
        self._check_state(where, state, x.shape[:-1])
        ys, _, state = self.over_time(x[None], initial_state=state)
        return ys[0], state

    def _check_state(self, where: str, state: Any, batch_shape: tuple[int, ...]) -> None:
        if state is not None:
            expected = jax.eval_shape(lambda: self.initial_state(batch_shape))
            check_state(where, state, expected, batch_shape, f"layer.initial_state({batch_shape})")

    def over_time(
        self,
        xs: Array,
        *,
        initial_state: Any = None,
        lengths: ArrayLike | None = None,
        mask: Array | None = None,
        resets: Array | None = None,
        key: Array | None = None,
    ) -> tuple[Any, Callable[[], Any], Any]:
        """Runs the layer time first: xs (T, *B, D), mask and resets (T, *B).

        Returns:
          `(ys, last, state)`: the outputs (T, *B, N); a function that returns the output at the
          last step that the layer runs, (*B, N); and the final state.
        """
        raise TypeError(f"seqjax.nn: {type(self).__name__} must define `over_time`.")

    def last(self, ys: Array, valid: Array | None) -> Array:
        """Returns the values of `ys`, (T, *B, N), at the last step that the layer runs: (*B, N)."""
        return last_valid(ys, valid, reverse=self.reverse)


class RNN(Recurrent):
    """A cell and its parameters, run over batch-first sequences.

    Args:
      cell: the cell, such as `seqjax.lstm(128)`.
      in_size: features of the input.
      reverse: whether to run sequences from their last valid step to their first.
      executor: how to run the cell in time, see `seqjax.unroll`.
      param_dtype: dtype of the parameters.
      rngs: provides the key of the initialisers; the module keeps no random state.

    Attributes:
      weights: the cell's parameters, a pytree of `nnx.Param`. Their metadata `out_sharding` says
        how devices may split them, see `Cell.partition`.

    Raises:
      TypeError: if `cell`, `executor` or `rngs` is of another kind.
      ValueError: if `in_size` is below 1, or the executor is unknown or cannot run the cell.

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
        executor: Executor | str | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Initialises the parameters."""
        check_layer("RNN", cell, in_size, rngs)
        if executor is not None:
            resolve("seqjax.nn.RNN", executor, cell)
        self.cell = cell
        self.executor = executor
        self.in_size = in_size
        self.out_size = cell.out_size
        self.reverse = reverse
        params = cell.init(rngs.params(), in_size, param_dtype)
        # The name must not be "params": Flax linen has a collection of that name, see `ToLinen`.
        self.weights = nnx.data(jax.tree.map(param, params, cell.partition(params)))

    def cell_params(self) -> Any:
        """Returns the parameters as plain arrays, for `seqjax.unroll`."""
        return arrays_of(self.weights)

    def initial_state(self, batch_shape: Sequence[int] = (), dtype: DTypeLike = jnp.float32) -> Any:
        """Returns the cell's initial state."""
        return self.cell.initial_state(self.cell_params(), batch_shape, dtype)

    def over_time(self, xs, *, initial_state=None, lengths=None, mask=None, resets=None, key=None):
        """Runs the cell; only a cell or an executor that draws numbers uses `key`."""
        if resets is not None and self.reverse:
            resets = jnp.concatenate([resets[1:], jnp.zeros_like(resets[:1])])
        ys, state = unroll(
            self.cell,
            self.cell_params(),
            xs,
            initial_state=initial_state,
            lengths=lengths,
            mask=mask,
            resets=resets,
            reverse=self.reverse,
            executor=self.executor,
            key=key if self.cell.draws_noise or needs_key(self.executor) else None,
        )

        def last() -> Array:
            return self.last(ys, valid_steps(ys.shape[0], ys.shape[1:-1], lengths, mask))

        return ys, last, state


class Bidirectional(Recurrent):
    """A forward and a backward layer over the same input; their outputs are merged at each step.

    Args:
      cell: the cell of both directions; each direction has its own parameters.
      in_size: features of the input.
      merge: "concat" (2 H features), "sum", "mul", "mean", or "none" (a pair of arrays).
      executor: how to run both directions in time, see `seqjax.unroll`.
      param_dtype: dtype of the parameters.
      rngs: provides the keys of the initialisers.

    Raises:
      TypeError: if `cell`, `executor` or `rngs` is of another kind.
      ValueError: if `merge` is unknown, and in the cases of `RNN`.

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
        executor: Executor | str | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Initialises the parameters of both directions."""
        check_layer("Bidirectional", cell, in_size, rngs)
        check_choice("seqjax.nn.Bidirectional", "merge", merge, MERGES)
        self.merge = merge
        self.in_size = in_size
        self.out_size = cell.out_size * (2 if merge == "concat" else 1)
        options: dict[str, Any] = {"executor": executor, "param_dtype": param_dtype, "rngs": rngs}
        self.forward = RNN(cell, in_size, **options)
        self.backward = RNN(cell, in_size, reverse=True, **options)

    @property
    def looks_ahead(self) -> bool:
        """Always True: one direction starts at the end."""
        return True

    def initial_state(self, batch_shape: Sequence[int] = (), dtype: DTypeLike = jnp.float32) -> Any:
        """Returns the initial states of both directions."""
        return tuple(
            layer.initial_state(batch_shape, dtype) for layer in (self.forward, self.backward)
        )

    def over_time(self, xs, *, initial_state=None, lengths=None, mask=None, resets=None, key=None):
        """Runs both directions."""
        starts = (None, None) if initial_state is None else initial_state
        options = {"lengths": lengths, "mask": mask, "resets": resets}
        (forward, last, forward_state), (backward, first, backward_state) = (
            layer.over_time(xs, initial_state=start, key=layer_key(key, index), **options)
            for index, (layer, start) in enumerate(
                zip((self.forward, self.backward), starts, strict=True)
            )
        )
        state = forward_state, backward_state
        return self.merged(forward, backward), lambda: self.merged(last(), first()), state

    def merged(self, forward: Array, backward: Array) -> Any:
        """Merges the outputs of the two directions."""
        return MERGES[self.merge](forward, backward)

    def last(self, ys: Array, valid: Array | None) -> Array:
        """Returns the values at the last step of each direction, merged; see `Recurrent.last`."""
        if self.merge != "concat":
            raise ValueError(
                f"seqjax.nn.Bidirectional: the last step of merged outputs needs merge='concat', "
                f"got {self.merge!r}. The directions end at different steps, so a residual Stack "
                "cannot add its input. Use merge='concat', or residual=False."
            )
        forward, backward = jnp.split(ys, 2, axis=-1)
        return self.merged(self.forward.last(forward, valid), self.backward.last(backward, valid))


def param(value: Array, spec: jax.sharding.PartitionSpec) -> nnx.Param:
    """Returns a parameter whose metadata says how devices may split it; it is not split here."""
    if not spec:
        return nnx.Param(value)
    # Do not let Flax shard here: making a layer would then need a mesh with these axes.
    return nnx.Param(value, out_sharding=spec, eager_sharding=False)


def arrays_of(weights: Any) -> Any:
    """Returns a pytree of variables as one of plain arrays."""
    return jax.tree.map(
        lambda variable: variable[...], weights, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable)
    )


def layer_key(key: Array | None, index: int) -> Array | None:
    """Returns the key of a layer inside another layer, from the key of the outer layer."""
    return None if key is None else jax.random.fold_in(key, index)


def time_first(x: Array, axis: int) -> Array:
    """Moves the time axis to the front."""
    return jnp.moveaxis(x, axis, 0)


def check_layer(
    name: str, cell: Any, in_size: Any, rngs: Any, *, package: str = "seqjax.nn"
) -> None:
    """Refuses a `cell`, `in_size` or `rngs` of the wrong kind."""
    where = f"{package}.{name}"
    if not isinstance(cell, Cell):
        raise TypeError(
            f"{where}: `cell` must be a cell such as seqjax.lstm(64), got {cell!r}. Call "
            f"{name}(cell, in_size, rngs=rngs)."
        )
    check_vectors(where, cell)
    check_sizes(where, in_size=in_size)
    check_rngs(where, rngs)
