"""`from_linen` and `to_linen`: a linen cell in `seqjax.unroll`, and our cell in `linen.RNN`."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen
from jax import Array
from jax.typing import DTypeLike

from seqjax._checks import check_kind, check_sizes
from seqjax._unroll import step
from seqjax.cells import Cell
from seqjax.cells._operations import bind
from seqjax.flax._nnx import check_noiseless
from seqjax.flax._steps import StepCell, cast, from_step


def from_linen(module: linen.RNNCellBase, in_size: int) -> StepCell:
    """Makes a cell from a cell of Flax linen.

    `seqjax.unroll`, layers, truncation and `seqjax.gradflow` run it as any other cell. Every run
    starts from `module.initialize_carry(jax.random.key(0), ...)` by default.

    Args:
      module: the cell, such as `linen.LSTMCell(features=4)`.
      in_size: features of the input.

    Returns:
      The cell. Its parameters are the variables of the module, which have a key "params". Use those
      that you have, or new ones from `cell.init`.

    Raises:
      TypeError: if `module` is not a linen cell with one axis of features.
      ValueError: if `in_size` is below 1.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> from flax import linen
      >>> cell = seqjax.flax.from_linen(linen.GRUCell(features=4), in_size=3)
      >>> variables = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, variables, jnp.ones((5, 2, 3)))
      >>> sorted(variables["params"]), ys.shape
      (['hn', 'hr', 'hz', 'in', 'ir', 'iz'], (5, 2, 4))
    """
    where = "seqjax.flax.from_linen"
    check_kind(where, "module", module, linen.RNNCellBase, "a cell such as linen.LSTMCell(64)")
    check_sizes(where, in_size=in_size)
    if module.num_feature_axes != 1:
        raise TypeError(
            f"{where}: the cell must take inputs with one axis of features, got "
            f"{type(module).__name__}."
        )
    init = bind(_init, module=module)
    variables = jax.eval_shape(lambda: init(jax.random.key(0), in_size))
    return from_step(
        bind(_call, module=module),
        bind(_first, module=module, in_size=in_size),
        variables,
        in_size,
        init=init,
        name=type(module).__name__,
    )


def _call(variables: Any, carry: Any, x: Array, *, module: linen.RNNCellBase) -> Any:
    return module.apply(variables, carry, x)


def _first(
    variables: Any, batch_shape: tuple[int, ...], *, module: linen.RNNCellBase, in_size: int
) -> Any:
    return module.initialize_carry(jax.random.key(0), (*batch_shape, in_size))


def _init(
    key: Array, in_size: int, dtype: DTypeLike = jnp.float32, *, module: linen.RNNCellBase
) -> Any:
    x = jnp.zeros((1, in_size))
    variables = module.init(key, module.initialize_carry(key, x.shape), x)
    return jax.tree.map(lambda leaf: cast(leaf, dtype), variables)


class _LinenCell(linen.RNNCellBase):
    """The cell that `to_linen` returns; its carry is the state of `cell`.

    Attributes:
      cell: our cell.
      in_size: features of the input.
      param_dtype: dtype of the parameters.
    """

    cell: Cell
    in_size: int
    param_dtype: DTypeLike = jnp.float32

    @linen.compact
    def __call__(self, carry: Any, inputs: Array) -> tuple[Any, Array]:
        """Runs one step, with the semantics of `seqjax.step`; `weights` has the parameters."""
        weights = self.param("weights", self.cell.init, self.in_size, self.param_dtype)
        y, carry = step(self.cell, weights, inputs, carry)
        return carry, y

    @linen.nowrap
    def initialize_carry(self, rng: Array, input_shape: tuple[int, ...]) -> Any:
        """Returns the cell's initial state."""
        weights = self.cell.init(rng, self.in_size, self.param_dtype)
        return self.cell.initial_state(weights, input_shape[:-1])

    @property
    def num_feature_axes(self) -> int:
        """One: the last axis has the features."""
        return 1


def to_linen(
    cell: Cell, in_size: int, *, param_dtype: DTypeLike = jnp.float32
) -> linen.RNNCellBase:
    """Makes a cell of Flax linen from ours, for `linen.RNN` and `linen.Bidirectional`.

    Args:
      cell: a cell that draws no noise and whose initial state is not learned: `linen.RNN` has no
        key for a step, and makes the first carry without the parameters.
      in_size: features of the input.
      param_dtype: dtype of the parameters.

    Raises:
      TypeError: if `cell` is not a cell.
      ValueError: if `in_size` is below 1, the cell draws noise, or its initial state is learned.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> from flax import linen
      >>> layer = linen.RNN(seqjax.flax.to_linen(seqjax.min_gru(4), 3))
      >>> ys, variables = layer.init_with_output(jax.random.key(0), jnp.ones((2, 5, 3)))
      >>> ys.shape
      (2, 5, 4)
    """
    where = "seqjax.flax.to_linen"
    check_noiseless(where, cell)
    check_sizes(where, in_size=in_size)
    if _learns_start(cell, in_size):
        raise ValueError(
            f"{where}: the initial state of the cell must not be learned, got that of {cell!r}. "
            "Make the cell with learned_initial_state=False, or use seqjax.nn.RNN."
        )
    return _LinenCell(cell, in_size, param_dtype)


def _learns_start(cell: Cell, in_size: int) -> bool:
    """Returns whether the initial state depends on the parameters."""
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), in_size))
    program = jax.make_jaxpr(lambda params: cell.initial_state(params, (1,)))(params).jaxpr
    read = {id(atom) for equation in program.eqns for atom in equation.invars}
    read |= {id(atom) for atom in program.outvars}
    return any(id(variable) in read for variable in program.invars)
