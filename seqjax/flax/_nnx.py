"""`from_nnx` and `to_nnx`: an NNX cell in `seqjax.unroll`, and our cell in `nnx.RNN`."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from seqjax._checks import check_kind
from seqjax._unroll import step
from seqjax.cells import Cell
from seqjax.cells._cell import check_cell
from seqjax.cells._operations import bind
from seqjax.flax._steps import StepCell, from_step
from seqjax.nn._recurrent import arrays_of, check_layer, param


class _Held:
    """The variables of a module that are no parameters; compares by identity."""

    def __init__(self, state: Any):
        self.state = state


def from_nnx(module: nnx.Module, *, in_size: int | None = None) -> tuple[StepCell, nnx.State]:
    """Makes a cell from a cell of Flax NNX.

    `seqjax.unroll`, truncation and `seqjax.gradflow` run it as any other cell. Every run starts
    from `module.initialize_carry(..., nnx.Rngs(0))` by default.

    Args:
      module: a cell with the interface of `nnx.RNNCellBase`, such as `nnx.LSTMCell`.
      in_size: features of the input; by default `module.in_features`.

    Returns:
      `(cell, params)`: the cell, and the parameters of the module, the `nnx.State` of its
      `nnx.Param` variables. Write trained ones back with `nnx.update(module, params)`.

    Raises:
      TypeError: if `module` is not such a cell, or `in_size` is missing.
      ValueError: if a step changes variables of the module, as dropout does, or does not return
        `(carry, y)`.

    Example:
      >>> import jax.numpy as jnp, seqjax
      >>> from flax import nnx
      >>> cell, params = seqjax.flax.from_nnx(nnx.LSTMCell(3, 4, rngs=nnx.Rngs(0)))
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((5, 2, 3)), lengths=jnp.array([5, 2]))
      >>> ys.shape, [leaf.shape for leaf in cell.carry_of(state)]
      ((5, 2, 4), [(2, 4), (2, 4)])
    """
    where = "seqjax.flax.from_nnx"
    check_kind(where, "module", module, nnx.Module, "a cell such as nnx.LSTMCell(...)")
    if isinstance(module, nnx.RNN) or not hasattr(module, "initialize_carry"):
        raise TypeError(
            f"{where}: `module` must be a cell with `initialize_carry`, got a "
            f"{type(module).__name__}. Of an nnx.RNN, pass its `cell`."
        )
    in_size = getattr(module, "in_features", None) if in_size is None else in_size
    if in_size is None or getattr(module, "num_feature_axes", 1) != 1:
        raise TypeError(
            f"{where}: the cell must take inputs with one axis of features, and `in_size` must be "
            f"given where it has no `in_features`, got {type(module).__name__}."
        )
    graph, params, rest = nnx.split(module, nnx.Param, ...)
    fixed = {"graph": graph, "rest": _Held(rest) if jax.tree.leaves(rest) else None}
    call, first = bind(_call, **fixed), bind(_first, in_size=in_size, **fixed)
    return from_step(call, first, params, in_size, name=type(module).__name__), params


def _call(params: nnx.State, carry: Any, x: Array, *, graph: Any, rest: _Held | None) -> Any:
    module = _merge(params, graph, rest)
    before = jax.tree.leaves(nnx.state(module, nnx.Not(nnx.Param)))
    made = module(carry, x)
    after = jax.tree.leaves(nnx.state(module, nnx.Not(nnx.Param)))
    if len(before) != len(after) or any(a is not b for a, b in zip(before, after, strict=True)):
        raise ValueError(
            f"seqjax.flax.from_nnx: a step of {type(module).__name__} must not change variables, "
            "got one that does, as dropout does. Use a deterministic cell, and seqjax.transforms "
            "for the noise."
        )
    return made


def _first(
    params: nnx.State, batch_shape: tuple[int, ...], *, graph: Any, rest: _Held | None, in_size: int
) -> Any:
    return _merge(params, graph, rest).initialize_carry((*batch_shape, in_size), nnx.Rngs(0))


def _merge(params: nnx.State, graph: Any, rest: _Held | None) -> Any:
    # Copies: a variable may be changed only in the trace that has made it.
    states = [params] if rest is None else [params, rest.state]
    return nnx.merge(graph, *jax.tree.map(lambda leaf: leaf, states))


class _NNXCell(nnx.RNNCellBase):
    """The cell that `to_nnx` returns; its carry is the state of `cell`.

    Attributes:
      weights: the cell's parameters, a pytree of `nnx.Param`, as in `seqjax.nn.RNN`.
    """

    def __init__(self, cell: Cell, in_size: int, *, param_dtype: DTypeLike, rngs: nnx.Rngs):
        """Initialises the parameters."""
        self.cell = cell
        self.in_features = in_size
        self.hidden_features = cell.out_size
        params = cell.init(rngs.params(), in_size, param_dtype)
        self.weights = nnx.data(jax.tree.map(param, params, cell.partition(params)))

    def __call__(self, carry: Any, inputs: Array) -> tuple[Any, Array]:
        """Runs one step, with the semantics of `seqjax.step`."""
        y, carry = step(self.cell, arrays_of(self.weights), inputs, carry)
        return carry, y

    def initialize_carry(
        self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Any = None
    ) -> Any:
        """Returns the cell's initial state; `rngs` and `carry_init` have no effect."""
        return self.cell.initial_state(arrays_of(self.weights), input_shape[:-1])

    @property
    def num_feature_axes(self) -> int:
        """One: the last axis has the features."""
        return 1


def to_nnx(
    cell: Cell, in_size: int, *, param_dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs
) -> nnx.RNNCellBase:
    """Makes a cell of Flax NNX from ours, for `nnx.RNN`, `nnx.Bidirectional` and loops of your own.

    `seqjax.nn.RNN` runs the same cell faster: in `nnx.RNN`, it runs step by step, and JAX
    differentiates it.

    Args:
      cell: a cell that draws no noise, since a step of `nnx.RNN` gets no key.
      in_size: features of the input.
      param_dtype: dtype of the parameters.
      rngs: provides the key of the initialisers.

    Raises:
      TypeError: if `cell` or `rngs` is of another kind.
      ValueError: if `in_size` is below 1, or the cell draws noise.

    Example:
      >>> import jax.numpy as jnp, seqjax
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> layer = nnx.RNN(seqjax.flax.to_nnx(seqjax.ind_rnn(4), 3, rngs=rngs))
      >>> layer(jnp.ones((2, 5, 3))).shape
      (2, 5, 4)
    """
    check_layer("to_nnx", cell, in_size, rngs, package="seqjax.flax")
    check_noiseless("seqjax.flax.to_nnx", cell)
    return _NNXCell(cell, in_size, param_dtype=param_dtype, rngs=rngs)


def check_noiseless(where: str, cell: Cell) -> None:
    """Refuses a cell that draws noise, which no step of Flax's layers would have a key for."""
    check_cell(where, cell)
    if cell.draws_noise:
        raise ValueError(
            f"{where}: the cell must draw no noise, got {cell!r}. Use seqjax.nn.RNN, which takes "
            "a `key`."
        )
