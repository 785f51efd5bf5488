"""The contract of a cell: one time step of a recurrence in five pure stages.

Axes: `T` time, `B` batch (zero or more axes), `D` input features, `H` hidden units.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import PartitionSpec
from jax.typing import DTypeLike

from seqjax._checks import check_kind, check_sizes
from seqjax.cells._noise import Noise

Params = Any
State = Any


class HiddenState(NamedTuple):
    """A state with one field.

    Attributes:
      hidden: shape (*B, H), or the shape that the cell declares.
    """

    hidden: Array


@dataclasses.dataclass(frozen=True, repr=False)
class Cell:
    """One time step of any recurrence.

    To write a cell, subclass this as a frozen dataclass. Its fields are the hyper-parameters, and
    its methods are pure functions of their arguments and these fields. Two cells made with the
    same hyper-parameters are then equal, have the same hash and can be pickled.
    `seqjax.gated_cell` and `seqjax.linear_cell` need less code, and more executors can run the
    cells that they return.

    | stage | called | computes |
    | --- | --- | --- |
    | `prepare` | once per run | all that depends on the parameters alone |
    | `project` | for many steps at once | the drive, which depends on the input alone |
    | `step` | for each step in turn | the recurrence, nothing else |
    | `output` | for many steps at once, after the recurrence | the input of the next layer |
    | `initial_state` | before the first step, and at resets | the state to start from |

    Attributes:
      hidden_size: hidden units, `H`.
      name: the cell's name in summaries and messages; by default the class name.
      full_precision: names of prepared parameters that stay in float32 or wider when a run
        computes in a narrower dtype, such as decays near 1.
      uses_starts: whether `project` takes a third argument, `starts`: booleans (T, *B, 1), True at
        the first valid step of a sequence and at the first valid step after a reset. The last
        field of the state must then be `fresh`, as in `SegmentState`.
      draws_noise: whether `draw` draws noise, as the cells of `seqjax.transforms` do. `project`
        then takes a keyword `noise`: the noise of its steps, or None.
      residual: whether the output is the sum of `output` and the input, see
        `seqjax.transforms.residual`.

    Example:
      A leaky sum of the inputs:

      >>> import dataclasses, jax, jax.numpy as jnp, seqjax
      >>> from seqjax.cells import Cell, HiddenState
      >>> @dataclasses.dataclass(frozen=True, repr=False)
      ... class LeakySum(Cell):
      ...     decay: float = 0.5
      ...     def init(self, key, in_size, dtype=jnp.float32):
      ...         return {"kernel": jnp.eye(in_size, self.hidden_size, dtype=dtype)}
      ...     def initial_state(self, params, batch_shape=(), dtype=jnp.float32):
      ...         return HiddenState(jnp.zeros((*batch_shape, self.hidden_size), dtype))
      ...     def project(self, params, xs):
      ...         return seqjax.cells.affine(xs, params["kernel"])
      ...     def step(self, params, state, drive):
      ...         return HiddenState(self.decay * state.hidden + drive)
      >>> cell = LeakySum(3)
      >>> ys, state = seqjax.unroll(cell, cell.init(jax.random.key(0), 3), jnp.ones((4, 3)))
      >>> ys[:, 0].tolist()
      [1.0, 1.5, 1.75, 1.875]
    """

    hidden_size: int
    name: str = dataclasses.field(default="", kw_only=True)
    residual: bool = dataclasses.field(default=False, kw_only=True)
    full_precision: ClassVar[tuple[str, ...]] = ()
    uses_starts: ClassVar[bool] = False
    draws_noise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Fills in the name and checks the size."""
        if not self.name:
            object.__setattr__(self, "name", type(self).__name__)
        check_sizes(f"seqjax {self.name}", hidden_size=self.hidden_size)

    def __repr__(self) -> str:
        """Returns the name and the size."""
        return f"{self.name}({self.hidden_size})"

    @property
    def out_size(self) -> int:
        """Features of the output."""
        return self.hidden_size

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Axes of an input before its features, such as (height, width); none for vectors.

        The input of `unroll` is then (T, *B, *input_shape, D). `project` and `output` see inputs of
        shape (..., *input_shape, D).
        """
        return ()

    def init(self, key: Array, in_size: int, dtype: DTypeLike = jnp.float32) -> Params:
        """Draws the parameters.

        Args:
          key: random key.
          in_size: features of the input, `D`.
          dtype: dtype of the parameters.

        Returns:
          A pytree of arrays: the `params` of every other method and of `seqjax.unroll`.

        Raises:
          ValueError: if `in_size` is not an integer of at least 1.

        Example:
          >>> import jax, seqjax
          >>> params = seqjax.lstm(4).init(jax.random.key(0), in_size=3)
          >>> params.input_kernel.shape
          (3, 16)
        """
        raise NotImplementedError(f"{type(self).__name__} must define `init`.")

    def initial_state(
        self, params: Params, batch_shape: Sequence[int] = (), dtype: DTypeLike = jnp.float32
    ) -> State:
        """Returns the state before the first step, a tuple of arrays (*batch_shape, ...).

        Args:
          params: the parameters that `init` returns, before `prepare`.
          batch_shape: batch axes.
          dtype: dtype of real fields. Complex fields use the complex dtype of that precision.
            Integers and booleans keep their own dtype.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `initial_state`.")

    def draw(self, key: Array, xs: Array) -> Noise:
        """Draws the noise of one run, for inputs of shape (T, *B, D)."""
        return Noise()

    def prepare(self, params: Params) -> Params:
        """Computes, once per run, all that depends on the parameters alone.

        `params` are in at least float32. `project`, `step` and `output` receive the result. If
        `draw` returns noise for the parameters, it is the second argument.
        """
        return params

    def project(self, params: Params, xs: Array) -> Any:
        """Computes the drives of many steps at once from their inputs, `xs` of shape (..., D)."""
        return xs

    def step(self, params: Params, state: State, drive: Any) -> State:
        """Returns the state after one step; `seqjax.step` runs all stages of it.

        Args:
          params: the result of `prepare`.
          state: the state before the step, leaves (*B, ...).
          drive: what `project` returns for the input of this step, leaves (*B, ...).

        Returns:
          The state after the step, of the same structure, shapes and dtypes as `state`.

        Example:
          >>> import jax, jax.numpy as jnp, seqjax
          >>> cell = seqjax.lstm(4)
          >>> params = cell.prepare(cell.init(jax.random.key(0), 3))
          >>> state = cell.initial_state(params, (2,))
          >>> cell.step(params, state, cell.project(params, jnp.ones((2, 3)))).hidden.shape
          (2, 4)
        """
        raise NotImplementedError(f"{type(self).__name__} must define `step`.")

    def output(self, params: Params, states: State, xs: Array) -> Array:
        """Computes the outputs of many steps, (..., out_size), from their states and inputs.

        By default the output is the first field of the state.
        """
        return states[0]

    def jacobian(self, params: Params, state: State, drive: Any) -> Array:
        """Returns the Jacobian of one step of one example, (N, N), see `FlatState`.

        Override it if the structure of the step gives the Jacobian at less cost.
        """
        return automatic_jacobian(self, params, state, drive)

    def partition(self, params: Params) -> Any:
        """Says how each parameter may be split over the axis "hidden" of a mesh of devices."""
        return jax.tree.map(lambda _: PartitionSpec(), params)


def check_cell(where: str, cell: Any) -> None:
    """Refuses what is not a cell, such as parameters given first."""
    check_kind(where, "cell", cell, Cell, "a cell such as seqjax.lstm(64)")


def check_vectors(where: str, cell: Cell) -> None:
    """Refuses a cell whose inputs have axes of their own, such as images."""
    if cell.input_shape:
        raise ValueError(
            f"{where}: `cell` must take vectors, (..., D), got {cell!r}, which takes inputs of "
            f"shape (..., {', '.join(map(str, cell.input_shape))}, D). Run it with seqjax.unroll."
        )


def flat_inputs(cell: Cell, xs: Array) -> Array:
    """Returns inputs with one axis of features, the form in which executors see them."""
    if not cell.input_shape:
        return xs
    axes = len(cell.input_shape) + 1
    return xs.reshape(*xs.shape[:-axes], math.prod(xs.shape[-axes:]))


def _shaped_inputs(cell: Cell, xs: Array) -> Array:
    if not (shape := cell.input_shape):
        return xs
    return xs.reshape(*xs.shape[:-1], *shape, xs.shape[-1] // math.prod(shape))


def batch_axes(name: str, batch_shape: Any) -> tuple[int, ...]:
    """Returns the batch axes as a tuple and refuses a bare number, the most common mistake."""
    if isinstance(batch_shape, int):
        raise TypeError(
            f"seqjax {name}.initial_state: `batch_shape` must be a tuple of sizes, got "
            f"{batch_shape}. Write ({batch_shape},) for one batch axis."
        )
    return tuple(batch_shape)


def project(
    cell: Cell, params: Params, xs: Array, starts: Array | None = None, noise: Any = None
) -> Any:
    """Calls `cell.project` of flat inputs, with `starts` and with noise where there are any."""
    arguments: tuple[Array, ...] = ()
    if cell.uses_starts:
        starts = jnp.zeros(xs.shape[:-1], bool) if starts is None else starts
        arguments = (starts[..., None],)
    keywords = {} if noise is None else {"noise": noise}
    return cell.project(params, _shaped_inputs(cell, xs), *arguments, **keywords)


def read_out(cell: Cell, params: Params, states: State, xs: Array) -> Array:
    """Calls `cell.output` of flat inputs, and adds the input if the cell is residual."""
    return with_input(cell, cell.output(params, states, _shaped_inputs(cell, xs)), xs)


def with_input(cell: Cell, ys: Array, xs: Array) -> Array:
    """Returns the outputs, plus the flat inputs if the cell is residual."""
    if not cell.residual:
        return ys
    xs = _shaped_inputs(cell, xs)
    if ys.shape != xs.shape:
        raise ValueError(
            f"seqjax {cell!r}: a residual cell must have as many input features as output features "
            f"({ys.shape[-1]}), got {xs.shape[-1]}."
        )
    return xs + ys


def advance(cell: Cell, params: Params, x: Array, state: State) -> tuple[Array, State]:
    """Runs all stages for one step, for use in a loop of your own.

    Args:
      cell: any cell.
      params: the parameters that `cell.init` returns, before `cell.prepare`.
      x: input, shape (*B, D).
      state: the state before the step.

    Returns:
      The output, (*B, out_size), and the state after the step.
    """
    params, x = cell.prepare(params), flat_inputs(cell, x)
    drive = project(cell, params, x, state[-1] if cell.uses_starts else None)
    state = cell.step(params, state, drive)
    return read_out(cell, params, state, x), state


class FlatState:
    """Converts one example's state to and from a real vector of `size` numbers, `N`.

    The vector holds the fields in order. A complex field contributes its real parts, then its
    imaginary parts. Integer and boolean fields are not part of the vector.
    """

    def __init__(self, state: State, lead: int = 0):
        """Reads the shapes of the fields from a state with `lead` leading axes."""
        leaves, self._structure = jax.tree.flatten(state)
        self._shapes = [leaf.shape[lead:] for leaf in leaves]
        self._complex = [jnp.issubdtype(leaf.dtype, jnp.complexfloating) for leaf in leaves]
        self._inexact = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]
        self._sizes = [
            math.prod(shape) * (1 + is_complex) * is_inexact
            for shape, is_complex, is_inexact in zip(
                self._shapes, self._complex, self._inexact, strict=True
            )
        ]
        self.size = sum(self._sizes)

    def flatten(self, state: State) -> Array:
        """Returns a state with leaves (*lead, ...) as one array (*lead, N)."""
        parts = []
        for leaf, shape, inexact in zip(
            jax.tree.leaves(state), self._shapes, self._inexact, strict=True
        ):
            if not inexact:
                continue
            flat = leaf.reshape(*leaf.shape[: leaf.ndim - len(shape)], math.prod(shape))
            parts += [flat.real, flat.imag] if jnp.iscomplexobj(leaf) else [flat]
        return jnp.concatenate(parts, axis=-1)

    def unflatten(self, vector: Array, state: State = None) -> State:
        """Returns an array (*lead, N) as a state.

        Args:
          vector: shape (*lead, N).
          state: the source of the integer and boolean fields; without it, they are None.
        """
        lead = vector.shape[:-1]
        others = jax.tree.leaves(state) if state is not None else [None] * len(self._shapes)
        ends = [sum(self._sizes[: index + 1]) for index in range(len(self._sizes))]
        parts = jnp.split(vector, ends[:-1], axis=-1)
        leaves = []
        for index, (part, shape, other) in enumerate(zip(parts, self._shapes, others, strict=True)):
            if not self._inexact[index]:
                leaves.append(other)
            elif self._complex[index]:
                real, imag = jnp.split(part, 2, axis=-1)
                leaves.append(jax.lax.complex(real, imag).reshape(*lead, *shape))
            else:
                leaves.append(part.reshape(*lead, *shape))
        return jax.tree.unflatten(self._structure, leaves)


def automatic_jacobian(cell: Cell, params: Params, state: State, drive: Any) -> Array:
    """Returns the Jacobian of one step of one example by forward-mode autodiff of `cell.step`."""
    form = FlatState(state)

    def step(vector: Array) -> Array:
        return form.flatten(cell.step(params, form.unflatten(vector, state), drive))

    return jax.jacfwd(step)(form.flatten(state))
