"""Runs a linear recurrence with time split over devices.

The ambient mesh says so by an axis "time", as `jax.set_mesh` or `seqjax.train.make_train_step` set
it. Each device scans its own part of time from zero, and keeps the products `A_t` of its decays.
The devices exchange only what is at the end of each part::

    (A_end, h_end) of every part  ->  the state `s` before each part,    h_t <- h_t + A_t * s

The backward pass is the same recurrence in the opposite direction, with the same exchange.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import PartitionSpec

from seqjax._axes import same_axes
from seqjax.executors._chunks import shifted
from seqjax.executors._recurrence import Decays, cuts_of, passed, scanned, with_derivative

AXIS = "time"


def time_parts() -> int:
    """Returns over how many devices the ambient mesh splits time; 1 without such an axis.

    Inside a `jax.shard_map` over that axis, each device already has its own sequences.
    """
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if AXIS in mesh.manual_axes else mesh.shape.get(AXIS, 1)


def recurrence_over_devices(
    a: Array, b: Array, initial: Array, resets: Array | None, reverse: bool
) -> Array:
    """Returns `h_t = a_t * h_{t-1} + b_t` for every step; see `linear_recurrence`.

    If the devices do not divide the steps, the last parts are filled up with steps that change
    nothing.
    """
    num_steps, cuts = b.shape[0], cuts_of(resets, b)
    missing = -num_steps % time_parts()

    def filled(x: Array, value: Any) -> Array:
        widths = [(0, missing)] + [(0, 0)] * (x.ndim - 1)
        return jnp.pad(x, widths, constant_values=value) if missing else x

    a, b = filled(a, 1), filled(b, 0)
    cuts = None if cuts is None else filled(cuts, False)
    one_sequence = initial.ndim == 1 or (resets is not None and resets.ndim == 1)
    batch = None if one_sequence else _batch_axis(initial.shape[0])
    axes = PartitionSpec(AXIS) if batch is None else PartitionSpec(AXIS, batch)
    run = jax.shard_map(
        functools.partial(_part, reverse),
        in_specs=(axes, axes, PartitionSpec(batch), axes),
        out_specs=axes,
        axis_names={AXIS} if batch is None else {AXIS, batch},
    )
    # Axes of the mesh that stay automatic need a compiled program.
    return jax.jit(run)(a, b, initial, cuts)[:num_steps]


def _batch_axis(size: int) -> str | None:
    """Returns "batch" if the ambient mesh has that axis and it divides `size` sequences.

    XLA would gather the batch, too, to gather the ends of the parts along an automatic axis.
    """
    mesh = jax.sharding.get_abstract_mesh()
    free = "batch" in mesh.shape and "batch" not in mesh.manual_axes
    return "batch" if free and size % mesh.shape["batch"] == 0 else None


def _part(reverse: bool, a: Array, b: Array, initial: Array, cuts: Array | None) -> Array:
    """Returns the states of this device's part of time."""

    def solve(decays: Decays, driven: Any) -> Array:
        return _solve(reverse, decays, driven)[0]

    def before(states: Array, initial: Array) -> Array:
        return shifted(states, _handed_on(states, initial, reverse)[None], reverse)

    run = with_derivative(solve, before, functools.partial(_transposed, reverse))
    return run(*same_axes(a, b, initial, cuts))


def _solve(reverse: bool, decays: Decays, driven: tuple[Array, Array]) -> tuple[Array, Array]:
    """Returns the states of this part, and the state before it."""
    (a, cuts), (b, initial) = decays, driven

    def over_part(state: Array, end: Any) -> tuple[Array, Array]:
        decay, alone, cut = end
        return passed(decay, state, cut) + alone, state

    products, alone, cuts = found = scanned(a, b, cuts, reverse)
    ends = jax.tree.map(lambda leaf: lax.all_gather(leaf[0 if reverse else -1], AXIS), found)
    initial, ends = same_axes(initial, ends)
    _, before = lax.scan(over_part, initial, ends, reverse=reverse)
    before = lax.dynamic_index_in_dim(before, lax.axis_index(AXIS), keepdims=False)
    return alone + passed(products, before[None], cuts), before


def _transposed(reverse: bool, decays: Decays, d_states: Array) -> tuple[Array, Array]:
    """Returns the cotangents of `b` and of the initial state.

    With `m_t = a_t * l_t`, the chain `l_t = d_t + a_{t+1} * l_{t+1}` needs no decay of a
    neighbour::

        m_t = a_t * m_{t+1} + a_t * d_t,    l_t = d_t + m_{t+1}
    """
    a, cuts = decays
    own = passed(a, d_states, cuts)
    moved, later = _solve(not reverse, decays, (own, jnp.zeros_like(d_states[0])))
    along = d_states + shifted(moved, later[None], not reverse)
    first = lax.axis_size(AXIS) - 1 if reverse else 0
    # Every device has a cotangent of the initial state; they are summed.
    here = lax.axis_index(AXIS) == first
    return along, jnp.where(here, moved[-1 if reverse else 0], 0)


def _handed_on(states: Array, initial: Array, reverse: bool) -> Array:
    """Returns the state before this part: the last of the part before it, or the initial one."""
    size, here = lax.axis_size(AXIS), lax.axis_index(AXIS)
    if reverse:
        pairs = [(device + 1, device) for device in range(size - 1)]
        handed = lax.ppermute(states[0], AXIS, pairs)
        return jnp.where(here == size - 1, initial, handed)
    handed = lax.ppermute(states[-1], AXIS, [(device, device + 1) for device in range(size - 1)])
    return jnp.where(here == 0, initial, handed)
