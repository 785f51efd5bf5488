"""Gated cells: recurrent products followed by a pointwise function of the state and the gates."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import PartitionSpec
from jax.typing import DTypeLike

from seqjax._checks import check_function, check_names, check_sizes
from seqjax.cells._cell import Cell, HiddenState, State, batch_axes
from seqjax.cells._diagonals import gated_jacobian
from seqjax.cells._initializers import Initializer, glorot_uniform, orthogonal, zeros
from seqjax.cells._noise import Draw, Noise, Noisy, hits, kept
from seqjax.cells._operations import add_bias, affine, check_features, check_in_size, whole_features
from seqjax.cells._product import (
    dropped,
    kernel_by_gate,
    recurrent_product,
    transposed_kernel_by_gate,
)


class GatedParams(NamedTuple):
    """Parameters of a `GatedCell` with `G` gates, the last `S` of them unsummed.

    A kernel holds one block of columns per gate, in the order of `gates`.

    Attributes:
      input_kernel: `W`, shape (D, G * H).
      recurrent_kernel: `R`, shape (H, G * H), or (n, H / n, G * H / n) with `n` heads. None if the
        cell has no recurrent product.
      bias: `b`, shape (G * H,), or None without `use_bias`.
      recurrent_bias: bias of the recurrent part of the unsummed gates, shape (S * H,), or None.
      initial_state: learned initial state, leaves of shape (H,), or None.
      units: learned vectors of `update` by name, each of shape (H,) unless its initialiser returns
        another, or None.
      extra: parameters that only `prepare` and `output` read, by name, or None.
    """

    input_kernel: Array
    recurrent_kernel: Any
    bias: Array | None
    recurrent_bias: Array | None = None
    initial_state: State | None = None
    units: dict[str, Array] | None = None
    extra: dict[str, Array] | None = None


class GateInputs(NamedTuple):
    """The inputs of a `GatedCell`'s `update` at one step, apart from the state.

    `S` of the `G` gates are unsummed and `M` are inner gates.

    Attributes:
      total: drive plus recurrent part, for the gates that are neither unsummed nor inner,
        (..., (G - S - M) * H).
      inner: drive plus recurrent part of the inner gates, (..., M * H), or None.
      drive: drive of the unsummed gates, (..., S * H), or None.
      recurrent: recurrent part of the unsummed gates with its bias, (..., S * H), or None.
      units: learned vectors by name, each broadcast to (..., H) or its own width, or None.
    """

    total: Array
    inner: Array | None = None
    drive: Array | None = None
    recurrent: Array | None = None
    units: dict[str, Array] | None = None


class KernelMap:
    """Computes the recurrent kernel from its parameters, once per run; see `seqjax.transforms`."""

    draws_noise = False

    def start(self, kernel: Any) -> Any:
        """Returns the initial parameters, from the kernel that the cell has drawn."""
        return kernel

    def __call__(self, kernel: Any, key: Array | None) -> Array:
        """Returns the kernel, (H, G * H) or by head; `key` is None at test time."""
        raise NotImplementedError(f"{type(self).__name__} must define `__call__`.")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class GatedCell(Cell):
    """A cell whose step is one or two recurrent products and a pointwise function.

    With `h` the first field of the state and `z = x W + b + h R` split by gate::

        state = update(state, **{gate: z[gate] for gate in gates}, **units)

    An unsummed gate reaches `update` as a pair `(drive, recurrent)`: the part from the input and
    the part from the hidden state, not yet added. Inner gates use a second product. It replaces
    `h` with `m`, a pointwise function of the state and the other gates::

        m = inner_state(state, **{gate: z[gate] for gate in gates if gate not in inner_gates})
        z[gate] = x W[gate] + b[gate] + m R[gate],    gate in inner_gates

    `step`, the backward pass and the Jacobian all follow from `update`. So
    `dataclasses.replace(cell, update=...)` changes all of them. Make a cell with `gated_cell`; its
    arguments explain the attributes of this class. `seqjax.transforms` sets the others:

    Attributes:
      kernel_maps: functions that compute the recurrent kernel from its parameters, in `prepare`.
      noise: booleans that `update` receives by name, in a run with a key.
      hidden_dropout: rate of variational dropout on `h` before the recurrent product.
      untied_dropout: whether each gate has a mask of its own there.
      input_dropout: rate of variational dropout on the input.
    """

    gates: tuple[str, ...]
    update: Callable[..., State]
    unsummed: tuple[str, ...] = ()
    inner_gates: tuple[str, ...] = ()
    inner_state: Callable[..., Array] | None = None
    heads: int = 1
    units: tuple[tuple[str, Initializer], ...] = ()
    rowwise: bool = False
    use_bias: bool = True
    state: type = HiddenState
    initial_values: tuple[tuple[str, float], ...] = ()
    bias_inits: tuple[tuple[str, Initializer], ...] = ()
    kernel_init: Initializer = glorot_uniform
    recurrent_init: Initializer = orthogonal
    learned_initial_state: bool = False
    kernel_maps: tuple[KernelMap, ...] = ()
    noise: tuple[Draw, ...] = ()
    hidden_dropout: float = 0.0
    untied_dropout: bool = False
    input_dropout: float = 0.0
    full_precision = ("units",)

    def __post_init__(self) -> None:
        """Checks that the attributes are consistent."""
        super().__post_init__()
        where = f"seqjax.gated_cell({self.name!r})"
        gates, unsummed, inner = self.gates, self.unsummed, self.inner_gates
        if len(set(gates)) != len(gates) or not gates:
            raise ValueError(f"{where}: `gates` must be one or more distinct names, got {gates}.")
        named = {*unsummed, *inner, *(gate for gate, _ in self.bias_inits)}
        if unknown := sorted(named - {*gates}):
            raise ValueError(f"{where}: gates must be among {gates}, got {unknown}.")
        if unsummed and unsummed != gates[-len(unsummed) :]:
            raise ValueError(
                f"{where}: `unsummed` must name the last gates of {gates} in their order, "
                f"got {unsummed}. Reorder `gates`."
            )
        summed = gates[: len(gates) - len(unsummed)]
        if inner and inner != summed[-len(inner) :]:
            raise ValueError(
                f"{where}: `inner_gates` must name the last gates of {summed} in their order, got "
                f"{inner}. Reorder `gates`; an unsummed gate cannot be an inner gate."
            )
        if bool(inner) != (self.inner_state is not None):
            raise ValueError(
                f"{where}: `inner_gates` and `inner_state` must be given together, got {inner} "
                f"and {self.inner_state}."
            )
        if self.bias_inits and not self.use_bias:
            raise ValueError(
                f"{where}: without `use_bias` no gate has a bias, got `bias_inits` of "
                f"{[gate for gate, _ in self.bias_inits]}. Leave one of the two out."
            )
        heads = self.heads
        check_sizes(where, at_least=0, heads=heads)
        if heads and self.hidden_size % heads:
            raise ValueError(
                f"{where}: `heads` must divide hidden_size = {self.hidden_size}, got {heads}."
            )
        if not heads and (unsummed or inner):
            raise ValueError(
                f"{where}: unsummed and inner gates need a recurrent product, got heads=0."
            )
        fields = self.state._fields  # pyright: ignore[reportAttributeAccessIssue]
        if unknown := sorted({field for field, _ in self.initial_values} - {*fields}):
            raise ValueError(
                f"{where}: `initial_values` must name fields of {fields}, got {unknown}."
            )
        if clash := sorted({name for name, _ in self.units} & {*gates, "state"}):
            raise ValueError(
                f'{where}: `units` must not be the name of a gate or "state", got {clash}.'
            )
        learned = self.learned_initial_state
        if learned and not all(abs(start) < float("inf") for _, start in self.initial_values):
            raise ValueError(
                f"{where}: with `learned_initial_state`, `initial_values` must be finite, got "
                f"{dict(self.initial_values)}."
            )
        units = [name for name, _ in self.units]
        outer = [gate for gate in gates if gate not in inner]
        check_function(where, "update", self.update, ["state"], [*gates, *units])
        if inner:
            check_function(where, "inner_state", self.inner_state, ["state"], [*outer, *units])
        inits = ("kernel_init", self.kernel_init), ("recurrent_init", self.recurrent_init)
        for name, initializer in (*inits, *self.bias_inits, *self.units):
            check_function(where, name, initializer, ["key", "shape", "dtype"])

    def init(self, key: Array, in_size: int, dtype: DTypeLike = jnp.float32) -> GatedParams:
        """Draws the parameters; each gate's block of a kernel is drawn separately."""
        check_in_size(self.name, in_size)
        size, gates = self.hidden_size, self.gates
        unsummed = self.unsummed if self.use_bias else ()
        input_key, recurrent_key, bias_key = jax.random.split(key, 3)

        def blocks(key: Array, shape: tuple[int, int], initializer: Initializer) -> Array:
            keys = jax.random.split(key, len(gates))
            return jnp.concatenate([initializer(k, shape, dtype) for k in keys], axis=-1)

        recurrent = None
        if self.heads == 1:
            recurrent = blocks(recurrent_key, (size, size), self.recurrent_init)
        elif self.heads:
            keys = jax.random.split(recurrent_key, self.heads)
            shape = (size // self.heads, size // self.heads)
            recurrent = jnp.stack([blocks(k, shape, self.recurrent_init) for k in keys])
        if self.kernel_maps:
            recurrent = self.kernel_maps[0].start(recurrent)
        # One key for all gates: chrono's input and forget biases must mirror the same draw.
        inits = dict(self.bias_inits)
        biases = [inits.get(gate, zeros)(bias_key, (size,), dtype) for gate in gates]
        units = {
            name: initializer(jax.random.fold_in(bias_key, 1 + index), (size,), dtype)
            for index, (name, initializer) in enumerate(self.units)
        }
        return GatedParams(
            input_kernel=blocks(input_key, (in_size, size), self.kernel_init),
            recurrent_kernel=recurrent,
            bias=jnp.concatenate(biases) if self.use_bias else None,
            recurrent_bias=jnp.zeros(len(unsummed) * size, dtype) if unsummed else None,
            initial_state=self._start((size,), dtype) if self.learned_initial_state else None,
            units=units or None,
        )

    def initial_state(
        self, params: GatedParams, batch_shape: Sequence[int] = (), dtype: DTypeLike = jnp.float32
    ) -> State:
        """Returns the learned initial state, or a state filled from `initial_values`."""
        shape = (*batch_axes(self.name, batch_shape), self.hidden_size)
        learned = getattr(params, "initial_state", None)
        if learned is None:
            return self._start(shape, dtype)
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf.astype(dtype), shape), learned)

    @property
    def draws_noise(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether a transform has added noise."""
        random = any(each.draws_noise for each in self.kernel_maps)
        return bool(self.noise or self.hidden_dropout or self.input_dropout or random)

    def draw(self, key: Array, xs: Array) -> Noise:
        """Draws the noise of one run, for inputs of shape (T, *B, D)."""
        draws = list(self.noise)
        if self.hidden_dropout:
            draws.append(Draw("hidden", self.hidden_dropout, "sequence"))
        steps = {}
        for index, each in enumerate(draws):
            untied = each.name == "hidden" and self.untied_dropout
            size = self.hidden_size * (len(self.gates) if untied else 1)
            steps[each.name] = hits(jax.random.fold_in(key, index), xs, (size,), each)
        inputs_key, params_key = jax.random.split(jax.random.fold_in(key, len(draws)))
        factor = None
        if rate := self.input_dropout:
            hit = hits(inputs_key, xs, xs.shape[-1:], Draw("inputs", rate, "sequence"))
            factor = kept(hit, rate, xs.dtype)
        return Noise(factor, params_key if self.kernel_maps else None, steps or None)

    def prepare(self, params: GatedParams, key: Array | None = None) -> GatedParams:
        """Computes the recurrent kernel by `kernel_maps`."""
        kernel = params.recurrent_kernel
        for index, each in enumerate(self.kernel_maps):
            kernel = each(kernel, None if key is None else jax.random.fold_in(key, index))
        return params._replace(recurrent_kernel=kernel)

    def project(self, params: GatedParams, xs: Array, *, noise: Any = None) -> Any:
        """Returns `xs W + b`, (..., G * H), together with the noise if there is any."""
        check_features(self.name, xs, params.input_kernel)
        drive = affine(xs, params.input_kernel, params.bias)
        return drive if noise is None else Noisy(drive, noise)

    def step(self, params: GatedParams, state: State, drive: Any) -> State:
        """Returns `update` of the state and its gates."""
        return self.next_state(state, self.gate_inputs(params, state, drive))

    def jacobian(self, params: GatedParams, state: State, drive: Array) -> Array:
        """Returns the Jacobian of a step, built from diagonals if `update` is pointwise."""
        return gated_jacobian(self, params, state, drive)

    def partition(self, params: GatedParams) -> GatedParams:
        """Splits the columns of dense kernels; every device holds all other parameters whole."""
        columns = PartitionSpec(None, "hidden")
        specs = jax.tree.map(lambda _: PartitionSpec(), params)
        dense = {}
        if self.heads == 1 and not isinstance(params.recurrent_kernel, dict):
            dense = {"recurrent_kernel": columns}
        return specs._replace(input_kernel=columns, **dense)

    def recurrent_kernels(self, params: GatedParams, noise: Any = None) -> tuple[Array, ...]:
        """Returns one kernel for each recurrent product: none, one or two.

        If the noise has a mask per gate, a kernel has one head per gate.
        """
        kernel = params.recurrent_kernel
        if kernel is None:
            return ()
        kernels = [kernel]
        if self.inner_gates:
            kernels = self._by_product(kernel, kernel.shape[-2])
        return tuple(kernel_by_gate(each) if self._untied(noise) else each for each in kernels)

    def hidden_factors(self, noise: Any, dtype: DTypeLike) -> tuple[Array | None, Array | None]:
        """Returns the factor of dropout in front of the first and of the second product."""
        if not noise or "hidden" not in noise:
            return None, None
        factor = kept(noise["hidden"], self.hidden_dropout, dtype)
        if not self._untied(noise):
            return factor, factor
        return self._by_product(factor, self.hidden_size)

    def _untied(self, noise: Any) -> bool:
        return self.untied_dropout and bool(noise) and "hidden" in noise

    def joined_kernels(self, kernels: Sequence[Array], noise: Any = None) -> Array | None:
        """Undoes `recurrent_kernels`: joins one array (..., N) per product, in gate order."""
        if not kernels:
            return None
        if self._untied(noise):
            kernels = [transposed_kernel_by_gate(each) for each in kernels]
        if not self.inner_gates:
            return kernels[0]
        outer, inner = kernels
        before, _ = self._columns(outer.shape[-2])
        return jnp.concatenate([outer[..., :before], inner, outer[..., before:]], axis=-1)

    def gate_inputs(self, params: GatedParams, state: State, drive: Any) -> GateInputs:
        """Returns the inputs of `update`, from a state (..., H) and its drive (..., G * H)."""
        drive, noise = drive if isinstance(drive, Noisy) else (drive, None)
        before, after = self._columns(self.hidden_size)
        kernels = self.recurrent_kernels(params, noise)
        if not kernels:
            return self.with_units(params, GateInputs(whole_features(drive)), noise)
        factors = self.hidden_factors(noise, state[0].dtype)
        recurrent = recurrent_product(dropped(state[0], factors[0]), kernels[0])
        inputs = GateInputs(_summed(drive[..., :before], recurrent[..., :before]))
        if self.unsummed:
            biased = add_bias(recurrent[..., before:], params.recurrent_bias)
            inputs = inputs._replace(drive=drive[..., after:], recurrent=biased)
        inputs = self.with_units(params, inputs, noise)
        middle = self.middle(state, inputs)
        if middle is not None:
            recurrent = recurrent_product(dropped(middle, factors[1]), kernels[1])
            inner = _summed(drive[..., before:after], recurrent)
            inputs = inputs._replace(inner=inner)
        return inputs

    def with_units(self, params: GatedParams, inputs: GateInputs, noise: Any = None) -> GateInputs:
        """Adds the vectors `units`, broadcast over steps and batch, and the noise of `update`."""
        lead, dtype = inputs.total.shape[:-1], inputs.total.dtype
        units = {
            name: jnp.broadcast_to(unit.astype(dtype), (*lead, unit.shape[-1]))
            for name, unit in (params.units or {}).items()
        }
        if noise:
            units |= {each.name: noise[each.name].astype(dtype) for each in self.noise}
        return inputs._replace(units=units or None)

    def learned_units(self, inputs: GateInputs) -> dict[str, Array] | None:
        """Returns the learned vectors among `inputs.units`, without the noise."""
        return {name: (inputs.units or {})[name] for name, _ in self.units} or None

    def by_gate(self, inputs: GateInputs) -> dict[str, Any]:
        """Returns each gate's pre-activation by name; for an unsummed gate, a pair.

        If `inputs.inner` is None, the inner gates are left out.
        """
        values = self._split(inputs.total) + self._split(inputs.inner)
        values += zip(self._split(inputs.drive), self._split(inputs.recurrent), strict=True)
        missing = () if inputs.inner is not None else self.inner_gates
        names = (gate for gate in self.gates if gate not in missing)
        return dict(zip(names, values, strict=True))

    def middle(self, state: State, inputs: GateInputs) -> Array | None:
        """Returns `inner_state(state, **gates, **units)`, or None without inner gates."""
        if self.inner_state is None:
            return None
        outer = self.by_gate(inputs._replace(inner=None))
        return self.inner_state(state, **outer, **(self.learned_units(inputs) or {}))

    def next_state(self, state: State, inputs: GateInputs) -> State:
        """Returns `update(state, **gates, **units)`."""
        return self.update(state, **self.by_gate(inputs), **(inputs.units or {}))

    def _start(self, shape: tuple[int, ...], dtype: DTypeLike) -> State:
        values = dict(self.initial_values)
        fields = self.state._fields  # pyright: ignore[reportAttributeAccessIssue]
        return self.state(*(jnp.full(shape, values.get(field, 0.0), dtype) for field in fields))

    def _columns(self, size: int) -> tuple[int, int]:
        """Returns the first and the end column of the inner gates, at `size` columns per gate."""
        end = len(self.gates) - len(self.unsummed)
        return (end - len(self.inner_gates)) * size, end * size

    def _by_product(self, columns: Array, size: int) -> tuple[Array, Array]:
        """Returns the columns of the first product, and those of the second."""
        before, after = self._columns(size)
        outer = jnp.concatenate([columns[..., :before], columns[..., after:]], axis=-1)
        return outer, columns[..., before:after]

    def _split(self, columns: Array | None) -> list[Any]:
        """Splits an array of adjacent gates into one array per gate."""
        if columns is None or not columns.shape[-1]:
            return []
        return jnp.split(columns, columns.shape[-1] // self.hidden_size, axis=-1)


def gated_cell(
    name: str,
    hidden_size: int,
    *,
    gates: Sequence[str],
    update: Callable[..., State],
    unsummed: Sequence[str] = (),
    inner_gates: Sequence[str] = (),
    inner_state: Callable[..., Array] | None = None,
    heads: int = 1,
    units: Mapping[str, Initializer] | None = None,
    rowwise: bool = False,
    use_bias: bool = True,
    state: type = HiddenState,
    initial_values: Mapping[str, float] | None = None,
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
      update: `update(state, **gates, **units) -> state`, pointwise; every array is (*B, H).
      unsummed: gates that `update` receives as a pair `(drive, recurrent)`. They come last in
        `gates`.
      inner_gates: gates whose recurrent product uses `inner_state` instead of the hidden state.
        They come last in `gates`, but before the unsummed gates.
      inner_state: `inner_state(state, **gates, **units) -> array` of shape (*B, H), pointwise. It
        receives all gates but the inner gates.
      heads: blocks of the recurrent kernel. 1 is a dense kernel. With `n` heads, each of `n` parts
        of the hidden state is multiplied by its own block. With 0 there is no recurrent product.
      units: initialisers of learned per-unit vectors, (H,), by name. `update` and `inner_state`
        receive the vectors under these names, in at least float32. An initialiser may return
        another width: (1,) is one number for all units, and a `rowwise` cell may use any.
      rowwise: whether `update` mixes the units of a row, as layer norm does. The backward pass is
        exact either way. A function that needs the diagonal Jacobian then uses the dense one, or
        raises.
      use_bias: whether the gates have biases. Without them, `update` may add its own from `units`.
      state: `NamedTuple` type of the state. The first field is the hidden state and the output.
      initial_values: initial value of the fields of the state, by name; 0 for fields not listed.
      bias_inits: initialisers of the gates' biases, by gate; zeros for gates not listed.
      kernel_init: initialiser of each gate's block of the input kernel, (D, H).
      recurrent_init: initialiser of each gate's block of the recurrent kernel, (H, H), or
        (H / n, H / n) for each of `n` heads.
      learned_initial_state: whether the initial state is a parameter. It starts at
        `initial_values`.

    Returns:
      The cell.

    Raises:
      TypeError: if a function cannot be called as it must be, or names are one string.
      ValueError: if `hidden_size` is below 1; a gate name is repeated or unknown; `unsummed` or
        `inner_gates` are in the wrong place in `gates`; only one of `inner_gates` and `inner_state`
        is given; `heads` does not divide `hidden_size`, or is 0 although there are unsummed or
        inner gates; `bias_inits` are given without `use_bias`; a name in `units` or
        `initial_values` is wrong; or `learned_initial_state` is set although an initial value is
        infinite.

    Example:
      The minimal gated unit in its simplest form:

      >>> import jax, jax.numpy as jnp, seqjax
      >>> def update(state, forget, candidate):
      ...     f = jax.nn.sigmoid(forget)
      ...     return state._replace(hidden=(1 - f) * state.hidden + f * jnp.tanh(candidate))
      >>> cell = seqjax.gated_cell("mine", 8, gates=("forget", "candidate"), update=update)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> ys, state = seqjax.unroll(cell, params, jnp.ones((5, 2, 3)))
      >>> ys.shape
      (5, 2, 8)

      The published form, where the candidate sees the state after the forget gate:

      >>> def inner_state(state, forget):
      ...     return jax.nn.sigmoid(forget) * state.hidden
      >>> gates = ("forget", "candidate")
      >>> options = {"update": update, "inner_gates": ("candidate",), "inner_state": inner_state}
      >>> published = seqjax.gated_cell("published", 8, gates=gates, **options)
      >>> ys, state = seqjax.unroll(published, params, jnp.ones((5, 2, 3)))
      >>> ys.shape
      (5, 2, 8)

    Reference: Zhou et al. (2016), Minimal gated unit for recurrent neural networks.
    """
    where = f"seqjax.gated_cell({name!r})"
    check_names(where, gates=gates, unsummed=unsummed, inner_gates=inner_gates)
    return GatedCell(
        hidden_size,
        name=name,
        gates=tuple(gates),
        update=update,
        unsummed=tuple(unsummed),
        inner_gates=tuple(inner_gates),
        inner_state=inner_state,
        heads=heads,
        units=tuple((units or {}).items()),
        rowwise=rowwise,
        use_bias=use_bias,
        state=state,
        initial_values=tuple((initial_values or {}).items()),
        bias_inits=tuple((bias_inits or {}).items()),
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
        learned_initial_state=learned_initial_state,
    )


def _summed(drive: Array, recurrent: Array) -> Array:
    """Returns the pre-activations: drive plus recurrent part."""
    # Without a barrier, XLA recomputes a product in each of its fused consumers. One barrier after
    # the sum costs half as much as one around each term.
    return whole_features(lax.optimization_barrier(drive + recurrent))
