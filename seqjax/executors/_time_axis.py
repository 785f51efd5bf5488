"""Runs a recurrence with time split over devices.

The ambient mesh says so by an axis "time", as `jax.set_mesh` or `seqjax.train.make_train_step` set
it. Each device combines the steps of its own part of time, without the state before it. For a
linear recurrence this gives the states from zero, and the products `A_t` of the decays. The devices
exchange only what is at the end of each part::

    (A_end, h_end) of every part  ->  the state `s` before each part,    h_t <- h_t + A_t * s

The backward pass is the same recurrence in the opposite direction, with the same exchange.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import PartitionSpec

from seqjax._axes import same_axes, varying
from seqjax.executors._chunks import shifted
from seqjax.executors._executor import Inputs
from seqjax.executors._recurrence import Decays, Product, combined, cuts_of, passed, with_derivative

AXIS = "time"


def time_parts() -> int:
    """Returns over how many devices the ambient mesh splits time; 1 without such an axis.

    Inside a `jax.shard_map` over that axis, each device already has its own sequences.
    """
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if AXIS in mesh.manual_axes else mesh.shape.get(AXIS, 1)


def padded_inputs(inputs: Inputs) -> Inputs:
    """Returns inputs whose steps the devices divide; those added at the end are invalid."""
    if time_parts() == 1 or inputs.xs.shape[0] % time_parts() == 0:
        return inputs
    valid = jnp.ones(inputs.xs.shape[:-1], bool) if inputs.valid is None else inputs.valid
    return padded(inputs._replace(valid=valid, key=None))._replace(key=inputs.key)


def padded(along: Any) -> Any:
    """Returns a pytree with leaves (T, ...), and zeros at the end so that the devices divide T."""

    def filled(leaf: Array) -> Array:
        missing = -leaf.shape[0] % time_parts()
        return jnp.pad(leaf, [(0, missing)] + [(0, 0)] * (leaf.ndim - 1)) if missing else leaf

    return jax.tree.map(filled, along)


def anywhere(condition: Array) -> Array:
    """Returns whether a condition holds on any device.

    An exchange inside a loop or a branch waits for every device, so all must take the same way.
    """
    axes = tuple(sorted(varying(condition)))
    found = condition.any()
    return lax.pmax(found.astype(jnp.int32), axes) > 0 if axes else found


def gathered(along: Any) -> Any:
    """Returns the steps of all parts, from those of this part; the steps are the first axis."""
    return jax.tree.map(lambda leaf: lax.all_gather(leaf, AXIS, tiled=True), along)


def own_part(along: Any) -> Any:
    """Returns the steps of this part, from those of all parts."""

    def own(leaf: Array) -> Array:
        size = leaf.shape[0] // lax.axis_size(AXIS)
        return lax.dynamic_slice_in_dim(leaf, size * lax.axis_index(AXIS), size)

    return jax.tree.map(own, along)


def whole_in_time(along: Any) -> Any:
    """Returns arrays (T, ...) that every device is to compute as a whole, without an exchange."""

    def whole(leaf: Array) -> Array:
        free = [PartitionSpec.UNCONSTRAINED] * (leaf.ndim - 1)
        return lax.with_sharding_constraint(leaf, PartitionSpec(None, *free))

    return jax.tree.map(whole, along)


def over_parts(
    run: Callable[[Any, Any, Any], tuple[Any, Any, Any]],
    shared: Any,
    along: Any,
    of_sequences: Any,
    batch_shape: tuple[int, ...],
) -> tuple[Any, Any, Any]:
    """Runs `run(shared, along, of_sequences)` on every device, with its part of time.

    Args:
      run: returns three pytrees: arrays to sum over all devices, arrays (t, *B, ...) of its `t`
        steps, and arrays (*B, ...) that are the same on all devices along "time".
      shared: pytree of arrays that every device has as a whole.
      along: pytree of arrays (T, *B, ...), which the devices divide.
      of_sequences: pytree of arrays (*B, ...).
      batch_shape: the batch axes. If the mesh has an axis "batch" that divides the first one, it is
        split, too. Otherwise XLA would gather it to exchange along "time".

    Returns:
      The three pytrees.
    """
    mesh = jax.sharding.get_abstract_mesh()
    free = "batch" in mesh.shape and "batch" not in mesh.manual_axes
    split_batch = free and batch_shape and batch_shape[0] % mesh.shape["batch"] == 0
    batch = ("batch",) if split_batch else ()
    specs = PartitionSpec(), PartitionSpec(AXIS, *batch), PartitionSpec(*batch)

    def of_part(*arguments: Any) -> tuple[Any, Any, Any]:
        to_sum, *others = run(*arguments)
        return jax.tree.map(lambda leaf: lax.psum(leaf, (AXIS, *batch)), to_sum), *others

    split = jax.shard_map(of_part, in_specs=specs, out_specs=specs, axis_names={AXIS, *batch})
    # Axes of the mesh that stay automatic need a compiled program.
    return jax.jit(split)(shared, along, of_sequences)


def recurrence_over_devices(
    a: Array, b: Array, initial: Array, resets: Array | None, reverse: bool
) -> Array:
    """Returns `h_t = a_t * h_{t-1} + b_t` for every step; see `linear_recurrence`."""
    cuts = cuts_of(resets, b)
    one_sequence = initial.ndim == 1 or (resets is not None and resets.ndim == 1)

    def part(_: Any, along: Any, initial: Array) -> tuple[Any, Array, Any]:
        a, b, cuts = along
        return (), _part(reverse, a, b, initial, cuts), ()

    batch_shape = () if one_sequence else initial.shape[:1]
    return over_parts(part, (), (a, b, cuts), initial, batch_shape)[1]


def _part(reverse: bool, a: Array, b: Array, initial: Array, cuts: Array | None) -> Array:
    """Returns the states of this device's part of time."""

    def solve(decays: Decays, driven: Any) -> Array:
        return linear_part(reverse, decays, driven)[0]

    def before(states: Array, initial: Array) -> Array:
        return shifted_part(states, initial, reverse)

    run = with_derivative(solve, before, functools.partial(_transposed, reverse))
    return run(*same_axes(a, b, initial, cuts))


def scan_part(
    combine: Callable[[Any, Any], Any],
    apply: Callable[[Any, Any], Any],
    elements: Any,
    initial: Any,
    reverse: bool,
) -> tuple[Any, Any]:
    """Combines the steps of this part, and exchanges what the parts do.

    Args:
      combine: `combine(earlier, later)` returns one element for both; associative.
      apply: `apply(element, state)` returns the state after an element of the combined steps.
      elements: one element for each step of this part.
      initial: the state before the first part.
      reverse: whether time runs from the last step to the first.

    Returns:
      For each step, the element of all steps of this part up to it; and the state before the part.
    """
    scanned = lax.associative_scan(combine, elements, reverse=reverse)
    ends = jax.tree.map(lambda leaf: lax.all_gather(leaf[0 if reverse else -1], AXIS), scanned)
    initial, ends = same_axes(initial, ends)

    def over_part(state: Any, end: Any) -> tuple[Any, Any]:
        return apply(end, state), state

    _, before = lax.scan(over_part, initial, ends, reverse=reverse)
    here = lax.axis_index(AXIS)
    return scanned, jax.tree.map(
        lambda leaf: lax.dynamic_index_in_dim(leaf, here, keepdims=False), before
    )


def linear_part(
    reverse: bool,
    decays: Decays,
    driven: tuple[Array, Array],
    product: Product = operator.mul,
) -> tuple[Array, Array]:
    """Returns the states `h_t = a_t * h_{t-1} + b_t` of this part, and the state before it.

    Args:
      reverse: whether time runs from the last step to the first.
      decays: `a` of this part, and where the state before is dropped, even if it is not finite.
      driven: `b` of this part, and the state before the first part.
      product: of a decay with a state or with an earlier decay.
    """
    (a, cuts), (b, initial) = decays, driven

    def apply(end: Any, state: Array) -> Array:
        decay, alone, cut = end
        return passed(decay, state, cut, product) + alone

    combine = functools.partial(combined, product)
    scanned, before = scan_part(combine, apply, (a, b, cuts), initial, reverse)
    products, alone, cuts = scanned
    return alone + passed(products, before[None], cuts, product), before


def _transposed(reverse: bool, decays: Decays, d_states: Array) -> tuple[Array, Array]:
    """Returns the cotangents of `b` and of the initial state.

    With `m_t = a_t * l_t`, the chain `l_t = d_t + a_{t+1} * l_{t+1}` needs no decay of a
    neighbour::

        m_t = a_t * m_{t+1} + a_t * d_t,    l_t = d_t + m_{t+1}
    """
    a, cuts = decays
    own = passed(a, d_states, cuts)
    moved, later = linear_part(not reverse, decays, (own, jnp.zeros_like(d_states[0])))
    along = d_states + shifted(moved, later[None], not reverse)
    return along, at_start(moved, reverse)


def at_start(leaf: Array, reverse: bool) -> Array:
    """Returns the first step in time of the first part, and zeros on the other devices.

    The sum over the devices is then the same everywhere.
    """
    first = lax.axis_size(AXIS) - 1 if reverse else 0
    return jnp.where(lax.axis_index(AXIS) == first, leaf[-1 if reverse else 0], 0)


def shifted_part(states: Array, initial: Array, reverse: bool) -> Array:
    """Returns the state before each step of this part; the neighbour has that of the first."""
    size, here = lax.axis_size(AXIS), lax.axis_index(AXIS)
    pairs = [(device, device + 1) for device in range(size - 1)]
    if reverse:
        pairs = [(later, earlier) for earlier, later in pairs]
    handed = lax.ppermute(states[0 if reverse else -1], AXIS, pairs)
    edge = jnp.where(here == (size - 1 if reverse else 0), initial, handed)
    return shifted(states, edge[None], reverse)
