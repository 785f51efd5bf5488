"""Linear cells: `h_t = a_t * h_{t-1} + b_t`, where `a` and `b` depend on the input alone."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import PartitionSpec
from jax.typing import DTypeLike

from seqjax._checks import check_function, check_names, check_sizes
from seqjax.cells._cell import Cell, HiddenState, Params, batch_axes


class SegmentState(NamedTuple):
    """The state of a linear cell that treats the first step of a sequence differently.

    Attributes:
      hidden: shape (*B, H), or the shape that the cell declares.
      fresh: True until the sequence's first valid step, booleans (*B,). It is part of the state, so
        that two calls that carry the state over equal one call.
    """

    hidden: Array
    fresh: Array


@dataclasses.dataclass(frozen=True, repr=False)
class LinearCell(Cell):
    """A cell that is linear and diagonal in its state: `h_t = a_t * h_{t-1} + b_t`.

    `h` is real or complex and has any shape. Make a cell with `linear_cell`, or subclass this class
    and define `init` and `coefficients`.

    Attributes:
      complex_state: whether the state is complex.
      split: names of the parameters that devices may split along the last axis.
    """

    complex_state: ClassVar[bool] = False
    split: ClassVar[tuple[str, ...]] = ()

    @property
    def state_shape(self) -> tuple[int, ...]:
        """Shape of the state of one example."""
        return (self.hidden_size,)

    def coefficients(self, params: Params, xs: Array, *starts: Array) -> tuple[Array, Array]:
        """Returns `(a, b)` for inputs (..., D) of many steps, see `linear_cell`."""
        raise NotImplementedError(f"{type(self).__name__} must define `coefficients`.")

    def initial_state(
        self, params: Params, batch_shape: Sequence[int] = (), dtype: DTypeLike = jnp.float32
    ) -> HiddenState | SegmentState:
        """Returns the field `initial_state` of the parameters if there is one, otherwise zeros."""
        if self.complex_state:
            dtype = jnp.result_type(dtype, jnp.complex64)
        shape = (*batch_axes(self.name, batch_shape), *self.state_shape)
        learned = getattr(params, "initial_state", None)
        if learned is None:
            hidden = jnp.zeros(shape, dtype)
        else:
            hidden = jnp.broadcast_to(learned.hidden.astype(dtype), shape)
        if not self.uses_starts:
            return HiddenState(hidden)
        return SegmentState(hidden, jnp.ones(tuple(batch_shape), bool))

    def project(self, params: Params, xs: Array, starts: Array | None = None) -> Any:
        """Returns the coefficients `(a, b)` after checking their shapes and dtypes."""
        a, b = self.coefficients(params, xs, *(() if starts is None else (starts,)))
        lead = xs.shape[:-1]
        if b.shape != (*lead, *self.state_shape) or not _fits(a.shape, b.shape, len(lead)):
            raise ValueError(
                f"seqjax {self.name}: for an input of shape {xs.shape}, `coefficients` must return "
                f"b of shape {(*lead, *self.state_shape)} and a of the same shape (axes may have "
                f"size 1, trailing axes may be omitted), got a {a.shape} and b {b.shape}."
            )
        if jnp.iscomplexobj(b) and not self.complex_state:
            raise TypeError(
                f"seqjax {self.name}: complex coefficients need linear_cell(complex_state=True)."
            )
        return a, b

    def step(self, params: Params, state: Any, drive: tuple[Array, Array]) -> Any:
        """Returns `a * h + b`."""
        a, b = drive
        hidden = spread(a, b) * state.hidden + b
        if not self.uses_starts:
            return HiddenState(hidden)
        return SegmentState(hidden, jnp.zeros_like(state.fresh))

    def partition(self, params: Params) -> Any:
        """Splits the last axis of the parameters named in `split`."""

        def spec(path: tuple[Any, ...], leaf: Array) -> PartitionSpec:
            name = getattr(path[-1], "name", getattr(path[-1], "key", None))
            if name not in self.split:
                return PartitionSpec()
            return PartitionSpec(*[None] * (leaf.ndim - 1), "hidden")

        return jax.tree_util.tree_map_with_path(spec, params)

    def jacobian(self, params: Params, state: Any, drive: tuple[Array, Array]) -> Array:
        """Returns `diag(a)`; for a complex state, the real matrix on the vector of `FlatState`."""
        a = jnp.broadcast_to(spread(*drive), self.state_shape).ravel()
        if not self.complex_state:
            return jnp.diag(a)
        real, imag = jnp.diag(a.real), jnp.diag(a.imag)
        return jnp.block([[real, -imag], [imag, real]])


class _Functions(NamedTuple):
    init: Callable[..., Params]
    coefficients: Callable[..., tuple[Array, Array]]
    output: Callable[[Params, Array, Array], Array]
    prepare: Callable[[Params], Params]


def _itself(params: Params) -> Params:
    return params


def _state(params: Params, hidden: Array, xs: Array) -> Array:
    return hidden


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class _FromFunctions(LinearCell):
    """The linear cell that `linear_cell` returns; its methods call the given functions."""

    functions: _Functions
    shape: tuple[int, ...]
    complex_state: bool  # pyright: ignore[reportIncompatibleVariableOverride]
    uses_starts: bool  # pyright: ignore[reportIncompatibleVariableOverride]
    full_precision: tuple[str, ...]  # pyright: ignore[reportIncompatibleVariableOverride]
    split: tuple[str, ...]  # pyright: ignore[reportIncompatibleVariableOverride]

    @property
    def state_shape(self) -> tuple[int, ...]:
        return self.shape

    def init(self, key: Array, in_size: int, dtype: DTypeLike = jnp.float32) -> Params:
        return self.functions.init(key, in_size, dtype)

    def prepare(self, params: Params) -> Params:
        return self.functions.prepare(params)

    def coefficients(self, params: Params, xs: Array, *starts: Array) -> tuple[Array, Array]:
        return self.functions.coefficients(params, xs, *starts)

    def output(self, params: Params, states: Any, xs: Array) -> Array:
        return self.functions.output(params, states.hidden, xs)


def linear_cell(
    name: str,
    hidden_size: int,
    *,
    init: Callable[..., Params],
    coefficients: Callable[..., tuple[Array, Array]],
    output: Callable[[Params, Array, Array], Array] | None = None,
    prepare: Callable[[Params], Params] | None = None,
    state_shape: Sequence[int] | None = None,
    complex_state: bool = False,
    uses_starts: bool = False,
    full_precision: Sequence[str] = (),
    split: Sequence[str] = (),
) -> LinearCell:
    """Makes a `LinearCell` from its coefficients.

    Args:
      name: the cell's name in summaries and messages.
      hidden_size: features of the output, `H`.
      init: `init(key, in_size, dtype=float32) -> params`. Params may have a field `initial_state`,
        a `HiddenState` with the learned initial state.
      coefficients: `coefficients(params, xs) -> (a, b)` of `h_t = a_t * h_{t-1} + b_t`, for inputs
        (..., D) of many steps. `b` has shape (..., *state_shape). `a` may omit trailing axes (one
        number per head) and may have axes of size 1 (a decay that is constant in time).
      output: `output(params, hidden, xs) -> ys`, the read-out of shape (..., H), from the states
        and inputs of many steps. By default the output is the state, which must be real and have
        shape (H,).
      prepare: `prepare(params) -> params`, computed and differentiated once per run.
        `coefficients` and `output` receive the result.
      state_shape: shape of the state of one example; by default (H,).
      complex_state: whether the state is complex.
      uses_starts: whether `coefficients` takes a third argument: booleans (..., 1), True at the
        first valid step of a sequence and at the first valid step after a reset.
      full_precision: names of prepared parameters that stay in float32 or wider when a run
        computes in a narrower dtype, such as decays near 1 and the parameters that determine them.
      split: names of the parameters that devices may split along the last axis, see
        `Cell.partition`.

    Returns:
      The cell. Its state is a `HiddenState`, or a `SegmentState` with `uses_starts`.

    Raises:
      TypeError: if a function cannot be called as it must be, or names are one string.
      ValueError: if a size is below 1, or `output` is missing although the state is complex
        or its shape is not (H,).

    Example:
      >>> import jax.numpy as jnp, seqjax
      >>> running_sum = seqjax.linear_cell(
      ...     "running_sum",
      ...     2,
      ...     init=lambda key, in_size, dtype=jnp.float32: (),
      ...     coefficients=lambda params, xs: (jnp.ones_like(xs), xs),
      ... )
      >>> ys, _ = seqjax.unroll(running_sum, (), jnp.ones((3, 2)))
      >>> ys[:, 0].tolist()
      [1.0, 2.0, 3.0]
    """
    where = f"seqjax.linear_cell({name!r})"
    shape = (hidden_size,) if state_shape is None else tuple(state_shape)
    check_function(where, "init", init, ["key", "in_size", "dtype"])
    check_function(where, "prepare", prepare, ["params"], optional=True)
    check_function(where, "output", output, ["params", "hidden", "xs"], optional=True)
    starts = ["starts"] if uses_starts else []
    check_function(where, "coefficients", coefficients, ["params", "xs", *starts])
    check_names(where, full_precision=full_precision, split=split)
    check_sizes(where, hidden_size=hidden_size)
    check_sizes(where, **{f"state_shape[{axis}]": size for axis, size in enumerate(shape)})
    if output is None and (shape != (hidden_size,) or complex_state):
        kind = "complex state" if complex_state else f"state of shape {shape}"
        raise ValueError(
            f"{where}: a {kind} needs `output`, which computes the "
            f"{hidden_size} real output features from it."
        )
    return _FromFunctions(
        hidden_size,
        name=name,
        functions=_Functions(init, coefficients, output or _state, prepare or _itself),
        shape=shape,
        complex_state=complex_state,
        uses_starts=uses_starts,
        full_precision=tuple(full_precision),
        split=tuple(split),
    )


def spread(a: Array, b: Array) -> Array:
    """Returns `a` with axes of size 1 for the trailing axes that it omits."""
    return a.reshape(*a.shape, *(1,) * (b.ndim - a.ndim))


def learned_zeros(shape: Sequence[int], dtype: DTypeLike) -> HiddenState:
    """Returns the initial value of a linear cell's learned initial state: zeros."""
    return HiddenState(jnp.zeros(shape, dtype))


def _fits(a: tuple[int, ...], b: tuple[int, ...], lead: int) -> bool:
    """Returns whether `a` has all leading axes of `b` and broadcasts to `b`."""
    return lead <= len(a) <= len(b) and all(
        size in (1, whole) for size, whole in zip(a, b, strict=False)
    )
