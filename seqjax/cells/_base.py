"""The contracts of a recurrent cell: `Cell`, `GatedCell` and `LinearCell`.

A cell is a frozen record of pure functions that know one time step and nothing about time. The
three kinds run from most general to most structured; the more structure a cell declares, the more
executors of `seqjax.unroll` can run it.

Axes: `T` time, `B` batch (any number of axes, also none), `D` input features, `H` hidden units.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

Params = Any
State = Any
Initializer = Callable[..., Array]

glorot_uniform: Initializer = jax.nn.initializers.glorot_uniform()
zeros: Initializer = jax.nn.initializers.zeros


def orthogonal(key: Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Array:
    """Draws an orthogonal matrix, in float32 or wider, where its decomposition exists."""
    wide = jnp.promote_types(dtype, jnp.float32)
    return jax.nn.initializers.orthogonal()(key, shape, wide).astype(dtype)


class HiddenState(NamedTuple):
    """The state of a cell that carries its output alone: `hidden`, shape (*B, H)."""

    hidden: Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One time step of any recurrence, as a record of pure functions.

    Attributes:
      name: the cell's name in summaries and messages.
      hidden_size: features of the output.
      init: `init(key, in_size, dtype=float32) -> params`, a pytree of arrays.
      initial_state: `initial_state(params, batch_shape, dtype) -> state`, the state before the
        first step; leaves have shape (*batch_shape, ...).
      project: `project(params, x) -> drive`, all that depends on the input alone; it is called
        for many steps at once, with `x` of shape (..., D).
      step: `step(params, state, drive) -> state`, one step in time.
      output: `output(state) -> y`, what the next layer sees, shape (*B, H).

    Example:
      A leaky sum of its inputs, with every method of a cell written out:

      >>> import jax, jax.numpy as jnp, seqjax
      >>> from seqjax.cells import Cell, HiddenState
      >>> leaky_sum = Cell(
      ...     name="leaky_sum",
      ...     hidden_size=3,
      ...     init=lambda key, in_size, dtype=jnp.float32: {"decay": jnp.full((3,), 0.5, dtype)},
      ...     initial_state=lambda params, batch, dtype: HiddenState(jnp.zeros((*batch, 3), dtype)),
      ...     project=lambda params, x: x,
      ...     step=lambda params, s, drive: HiddenState(params["decay"] * s.hidden + drive),
      ...     output=lambda state: state.hidden,
      ... )
      >>> params = leaky_sum.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(leaky_sum, params, jnp.ones((4, 3)))
      >>> ys[:, 0].tolist()
      [1.0, 1.5, 1.75, 1.875]
    """

    name: str
    hidden_size: int
    init: Callable[..., Params]
    initial_state: Callable[..., State]
    project: Callable[[Params, Array], Any]
    step: Callable[[Params, State, Any], State]
    output: Callable[[State], Array]

    def __repr__(self) -> str:
        return f"{self.name}({self.hidden_size})"

    def partition(self, params: Params) -> Any:
        """Says how devices may split the parameters.

        Args:
          params: from `init`, or their shapes.

        Returns:
          A pytree of the structure of `params`, with a `PartitionSpec` for each array, whose axis
          "hidden" is that of `seqjax.train.data_mesh`. Here each is whole on every device; a cell
          that may be split says so in a subclass.
        """
        return jax.tree.map(lambda _: jax.sharding.PartitionSpec(), params)


class GatedParams(NamedTuple):
    """Parameters of a `GatedCell` with `G` gates of which the last `S` are separate.

    The columns of a kernel are those of its gates side by side, in their order.

    Attributes:
      input_kernel: `W`, shape (D, G * H).
      recurrent_kernel: `R`, shape (H, G * H).
      bias: `b`, shape (G * H,).
      recurrent_bias: bias of the recurrent part of the separate gates, shape (S * H,), or None.
      initial_state: learned initial state, leaves of shape (H,), or None for zeros.
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array
    recurrent_bias: Array | None
    initial_state: State | None


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class GatedCell(Cell):
    """A cell whose step is a recurrent product, or two in a row, and pointwise functions.

    With `h` the first field of the state and `z = x W + b + h R` split by gate::

        state = update(state, **{gate: z[gate] for gate in gates})

    A gate listed in `separate` reaches `update` as the pair `(drive, recurrent)`, its part from
    the input and its part from the hidden state, not yet summed. The gates listed in `second` have
    a product of their own, with a pointwise function of the state and of the other gates in the
    place of `h`::

        m = middle(state, **{gate: z[gate] for gate in gates if gate not in second})
        z[gate] = x W[gate] + b[gate] + m R[gate],    gate in second

    Make one with `gated_cell`; a record changed with `dataclasses.replace` must keep `step` equal
    to the methods below.

    Attributes:
      gates: names of the gates, in the order of the kernels' columns.
      separate: the gates, last in `gates`, whose two parts arrive unsummed.
      second: the gates, last in `gates` but for those, that see `middle` and not `h`.
      middle: the pointwise function between the two products, or None without a second one.
      update: the pointwise function.
    """

    gates: tuple[str, ...]
    separate: tuple[str, ...] = ()
    second: tuple[str, ...] = ()
    middle: Callable[..., Array] | None = None
    update: Callable[..., State]

    def recurrent_kernels(self, params: GatedParams) -> tuple[Array, ...]:
        """Returns the recurrent kernel's columns by product: one kernel, or two."""
        kernel = params.recurrent_kernel
        if not self.second:
            return (kernel,)
        before, after = self._columns
        first = jnp.concatenate([kernel[:, :before], kernel[:, after:]], axis=1)
        return first, kernel[:, before:after]

    def joined_kernels(self, kernels: Sequence[Array]) -> Array:
        """Puts columns that are split by product, (..., N) each, back in the gates' order."""
        if not self.second:
            return kernels[0]
        before, _ = self._columns
        first, second = kernels
        return jnp.concatenate([first[..., :before], second, first[..., before:]], axis=-1)

    def gate_inputs(self, params: GatedParams, state: State, drive: Array) -> "GateInputs":
        """Returns what the gates see, from the state, leaves (..., H), and drive (..., G * H)."""
        before, after = self._columns
        kernels = self.recurrent_kernels(params)
        recurrent = affine(state[0], kernels[0])
        inputs = GateInputs(_summed(drive[..., :before], recurrent[..., :before]))
        if self.separate:
            biased = add_bias(recurrent[..., before:], params.recurrent_bias)
            inputs = inputs._replace(drive=drive[..., after:], recurrent=biased)
        middle = self.middle_state(state, inputs)
        if middle is not None:
            second = _summed(drive[..., before:after], affine(middle, kernels[1]))
            inputs = inputs._replace(second=second)
        return inputs

    def by_gate(self, inputs: "GateInputs") -> dict[str, Any]:
        """Returns what each gate sees, by its name: an array, or of a separate gate the pair.

        Without the inputs of the second product, the gates of the first alone.
        """
        values = self._split(inputs.total) + self._split(inputs.second)
        values += zip(self._split(inputs.drive), self._split(inputs.recurrent), strict=True)
        missing = () if inputs.second is not None else self.second
        names = (gate for gate in self.gates if gate not in missing)
        return dict(zip(names, values, strict=True))

    def middle_state(self, state: State, inputs: "GateInputs") -> Array | None:
        """Returns `middle(state, **gates)`, or None without a second product."""
        if self.middle is None:
            return None
        return self.middle(state, **self.by_gate(inputs._replace(second=None)))

    def next_state(self, state: State, inputs: "GateInputs") -> State:
        """Returns `update(state, **gates)`."""
        return self.update(state, **self.by_gate(inputs))

    @property
    def _columns(self) -> tuple[int, int]:
        """Where the columns of the second product begin and end, or would."""
        end = len(self.gates) - len(self.separate)
        return (end - len(self.second)) * self.hidden_size, end * self.hidden_size

    def _split(self, columns: Array | None) -> list[Any]:
        """Returns the gates side by side in an array one by one."""
        if columns is None or not columns.shape[-1]:
            return []
        return jnp.split(columns, columns.shape[-1] // self.hidden_size, axis=-1)

    def partition(self, params: GatedParams) -> GatedParams:
        """Says that devices may split both kernels by their columns."""
        columns: Any = jax.sharding.PartitionSpec(None, "hidden")
        whole = super().partition(params)
        return whole._replace(input_kernel=columns, recurrent_kernel=columns)


class GateInputs(NamedTuple):
    """What the gates of a `GatedCell` see, with `S` separate gates and `M` second among `G`.

    Attributes:
      total: drive plus recurrent part of the first product's summed gates, (..., (G - S - M) * H).
      second: drive plus recurrent part of the second product's gates, (..., M * H), or None.
      drive: drive of the separate gates, (..., S * H), or None without any.
      recurrent: recurrent part of the separate gates with its bias, (..., S * H), or None.
    """

    total: Array
    second: Array | None = None
    drive: Array | None = None
    recurrent: Array | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class LinearCell(Cell):
    """A cell that is linear and diagonal in its state: `h_t = a_t * h_{t-1} + b_t`.

    Make one with `linear_cell`.

    Attributes:
      coefficients: `coefficients(params, x) -> (a, b)`, for many steps at once, each (..., H).
    """

    coefficients: Callable[[Params, Array], tuple[Array, Array]]

    def partition(self, params: Params) -> Any:
        """Says that devices may split every matrix, a kernel of the input, by its columns."""
        whole, columns = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec(None, "hidden")
        return jax.tree.map(lambda leaf: columns if jnp.ndim(leaf) == 2 else whole, params)


def gated_cell(
    name: str,
    hidden_size: int,
    *,
    gates: Sequence[str],
    update: Callable[..., State],
    separate: Sequence[str] = (),
    second: Sequence[str] = (),
    middle: Callable[..., Array] | None = None,
    state: type = HiddenState,
    bias_inits: Mapping[str, Initializer] | None = None,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
    learned_initial_state: bool = False,
) -> GatedCell:
    """Makes a `GatedCell` from the names of its gates and a pointwise `update`.

    Args:
      name: the cell's name in summaries and messages.
      hidden_size: hidden units, `H`.
      gates: names of the gates, in the order of the kernels' columns.
      update: `update(state, **gates) -> state`, pointwise; every array is (*B, H).
      separate: gates whose drive and recurrent part arrive as a pair; they stand last in `gates`.
      second: gates whose recurrent product is with `middle` in the place of the hidden state; they
        stand last in `gates`, but for separate ones.
      middle: `middle(state, **gates) -> array` of shape (*B, H), pointwise, of the gates that are
        not in `second`.
      state: `NamedTuple` type of the state; its first field is the hidden state, the output.
      bias_inits: initialiser of a gate's bias by gate; zeros for the gates it leaves out.
      kernel_init: initialiser of each gate's block of the input kernel, (D, H).
      recurrent_init: initialiser of each gate's block of the recurrent kernel, (H, H).
      learned_initial_state: whether the initial state is a parameter (it starts at zero).

    Returns:
      The cell.

    Raises:
      ValueError: if `hidden_size` is below 1, a gate name is repeated or unknown, or a separate
        gate does not stand last, nor a second one behind the rest, or `second` and `middle` are
        not given together.

    Example:
      The minimal gated unit in its simplest form, written by a user and run as any other cell:

      >>> import jax, jax.numpy as jnp, seqjax
      >>> def update(state, forget, candidate):
      ...     f = jax.nn.sigmoid(forget)
      ...     return state._replace(hidden=(1 - f) * state.hidden + f * jnp.tanh(candidate))
      >>> cell = seqjax.gated_cell("mine", 8, gates=("forget", "candidate"), update=update)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((5, 2, 3)))
      >>> ys.shape
      (5, 2, 8)

      As it was published, where the candidate sees of the state what its gate lets through:

      >>> def middle(state, forget):
      ...     return jax.nn.sigmoid(forget) * state.hidden
      >>> gates = ("forget", "candidate")
      >>> options = {"update": update, "second": ("candidate",), "middle": middle}
      >>> published = seqjax.gated_cell("published", 8, gates=gates, **options)
      >>> ys, state = seqjax.unroll(published, params, jnp.ones((5, 2, 3)))
      >>> ys.shape
      (5, 2, 8)

    Reference: Zhou et al. (2016), Minimal gated unit for recurrent neural networks.
    """
    gates, separate, second = tuple(gates), tuple(separate), tuple(second)
    bias_inits = dict(bias_inits or {})
    where = f"seqjax.gated_cell({name!r})"
    check_hidden_size(name, hidden_size)
    if len(set(gates)) != len(gates) or not gates:
        raise ValueError(f"{where}: `gates` must be one or more distinct names, got {gates}.")
    if unknown := sorted({*separate, *second, *bias_inits} - {*gates}):
        raise ValueError(f"{where}: gates must be among {gates}, got {unknown}.")
    if separate and separate != gates[-len(separate) :]:
        raise ValueError(
            f"{where}: `separate` must name the last gates of {gates} in their order, "
            f"got {separate}. Reorder `gates`."
        )
    summed = gates[: len(gates) - len(separate)]
    if second and second != summed[-len(second) :]:
        raise ValueError(
            f"{where}: `second` must name the last gates of {summed} in their order, got {second}. "
            "Reorder `gates`; a separate gate cannot be one of them."
        )
    if bool(second) != (middle is not None):
        raise ValueError(
            f"{where}: `second` and `middle` must be given together, got {second} and {middle}."
        )

    def init(key: Array, in_size: int, dtype: DTypeLike = jnp.float32) -> GatedParams:
        check_in_size_positive(name, in_size)
        input_key, recurrent_key, bias_key = jax.random.split(key, 3)

        def kernel(key, rows, initializer):
            keys = jax.random.split(key, len(gates))
            blocks = [initializer(key, (rows, hidden_size), dtype) for key in keys]
            return jnp.concatenate(blocks, axis=-1)

        # One key for all gates: chrono's input and forget biases must mirror the same draw.
        biases = [bias_inits.get(gate, zeros)(bias_key, (hidden_size,), dtype) for gate in gates]
        learned = learned_zeros(state, hidden_size, dtype) if learned_initial_state else None
        return GatedParams(
            input_kernel=kernel(input_key, in_size, kernel_init),
            recurrent_kernel=kernel(recurrent_key, hidden_size, recurrent_init),
            bias=jnp.concatenate(biases),
            recurrent_bias=jnp.zeros(len(separate) * hidden_size, dtype) if separate else None,
            initial_state=learned,
        )

    def project(params: GatedParams, x: Array) -> Array:
        check_features(name, x, params.input_kernel)
        return affine(x, params.input_kernel, params.bias)

    def step(params: GatedParams, previous: State, drive: Array) -> State:
        return cell.next_state(previous, cell.gate_inputs(params, previous, drive))

    cell = GatedCell(
        name=name,
        hidden_size=hidden_size,
        init=init,
        initial_state=initial_state_of(state, hidden_size),
        project=project,
        step=step,
        output=lambda state: state[0],
        gates=gates,
        separate=separate,
        second=second,
        middle=middle,
        update=update,
    )
    return cell


def linear_cell(
    name: str,
    hidden_size: int,
    *,
    init: Callable[..., Params],
    coefficients: Callable[[Params, Array], tuple[Array, Array]],
) -> LinearCell:
    """Makes a `LinearCell` from its coefficients.

    Args:
      name: the cell's name in summaries and messages.
      hidden_size: hidden units, `H`.
      init: `init(key, in_size, dtype=float32) -> params`; params may have a field
        `initial_state` with the learned initial state.
      coefficients: `coefficients(params, x) -> (a, b)` of `h_t = a_t * h_{t-1} + b_t`.

    Returns:
      The cell, whose state is a `HiddenState`.

    Raises:
      ValueError: if `hidden_size` is below 1.

    Example:
      >>> import jax.numpy as jnp, seqjax
      >>> running_sum = seqjax.linear_cell(
      ...     "running_sum",
      ...     2,
      ...     init=lambda key, in_size, dtype=jnp.float32: (),
      ...     coefficients=lambda params, x: (jnp.ones_like(x), x),
      ... )
      >>> ys, _ = seqjax.unroll(running_sum, (), jnp.ones((3, 2)))
      >>> ys[:, 0].tolist()
      [1.0, 2.0, 3.0]
    """
    check_hidden_size(name, hidden_size)

    def step(params: Params, previous: HiddenState, drive: tuple[Array, Array]) -> HiddenState:
        a, b = drive
        return HiddenState(a * previous.hidden + b)

    return LinearCell(
        name=name,
        hidden_size=hidden_size,
        init=init,
        initial_state=initial_state_of(HiddenState, hidden_size),
        project=coefficients,
        step=step,
        output=lambda state: state.hidden,
        coefficients=coefficients,
    )


def affine(x: Array, kernel: Array, bias: Array | None = None) -> Array:
    """Returns `x @ kernel + bias`, accumulated and returned in float32 or wider.

    Args:
      x: shape (..., D), cast to the kernel's dtype so that low precision reaches the product.
      kernel: shape (D, N).
      bias: shape (N,), or None.

    Returns:
      Array of shape (..., N), its dtype that of the kernel promoted with float32.

    Example:
      >>> import jax.numpy as jnp
      >>> affine(jnp.ones((2, 3), jnp.bfloat16), jnp.ones((3, 4), jnp.bfloat16)).dtype
      dtype('float32')
    """
    dtype = jnp.promote_types(kernel.dtype, jnp.float32)
    # Not reshaped to two axes first: merging time with a batch axis that is split over devices
    # would gather the whole batch on each of them.
    product = jnp.matmul(x.astype(kernel.dtype), kernel, preferred_element_type=dtype)
    return add_bias(whole_features(product), bias)


def _summed(drive: Array, recurrent: Array) -> Array:
    """Returns the sum of what gates see of the input and of what they see of the state."""
    # XLA recomputes a product in each of its fused consumers unless it is held back here; one
    # barrier after the sum is half the cost of one around each term.
    return whole_features(lax.optimization_barrier(drive + recurrent))


def whole_features(x: Array) -> Array:
    """Says that each device is to have all features of `x`, where kernels are split over devices.

    A device that holds some columns of a kernel holds some gates of all units, not all gates of
    some. One exchange behind each product puts the gates together; left to itself the compiler
    exchanges every gate by itself, at every step in time. Without an axis "hidden" in the ambient
    mesh, as `seqjax.train.make_train_step` sets it, nothing is said.
    """
    if "hidden" not in jax.sharding.get_abstract_mesh().shape:
        return x
    free = jax.sharding.PartitionSpec.UNCONSTRAINED
    spec = jax.sharding.PartitionSpec(*[free] * (x.ndim - 1), None)
    return lax.with_sharding_constraint(x, spec)


def add_bias(y: Array, bias: Array | None) -> Array:
    """Adds `bias`, shape (N,), to the last axis of `y`; None adds nothing."""
    return y if bias is None else y + jnp.broadcast_to(bias.astype(y.dtype), y.shape)


def initial_state_of(state: type, hidden_size: int) -> Callable[..., State]:
    """Returns the `initial_state` function for a `NamedTuple` of (H,) fields.

    It gives the learned state where `params.initial_state` holds one, zeros otherwise.
    """
    fields = len(state._fields)  # pyright: ignore[reportAttributeAccessIssue]

    def initial_state(
        params: Params, batch_shape: Sequence[int] = (), dtype: DTypeLike = jnp.float32
    ) -> State:
        shape = (*batch_shape, hidden_size)
        learned = getattr(params, "initial_state", None)
        if learned is None:
            return state(*(jnp.zeros(shape, dtype) for _ in range(fields)))
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf.astype(dtype), shape), learned)

    return initial_state


def learned_zeros(state: type, hidden_size: int, dtype: DTypeLike) -> State:
    """Returns a learned initial state at its start: zeros of shape (H,) in every field."""
    fields = state._fields  # pyright: ignore[reportAttributeAccessIssue]
    return state(*(jnp.zeros(hidden_size, dtype) for _ in fields))


def check_hidden_size(name: str, hidden_size: int) -> None:
    """Refuses a `hidden_size` below 1."""
    if hidden_size < 1:
        raise ValueError(f"seqjax {name}: `hidden_size` must be at least 1, got {hidden_size}.")


def check_in_size_positive(name: str, in_size: int) -> None:
    """Refuses an `in_size` below 1."""
    if in_size < 1:
        raise ValueError(f"seqjax {name}.init: `in_size` must be at least 1, got {in_size}.")


def check_features(name: str, x: Array, kernel: Array) -> None:
    """Refuses an input whose features are not those that the parameters were made for."""
    if x.shape[-1:] != kernel.shape[:1]:
        raise ValueError(
            f"seqjax {name}: the input must have in_size = {kernel.shape[0]} features on its last "
            f"axis, got shape {x.shape}. Make the parameters with "
            f"init(key, in_size={x.shape[-1] if x.ndim else '...'}), or mend the input."
        )
