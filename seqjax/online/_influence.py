"""The influence of the parameters on the state: `P_t = K_t P_{t-1} + ds_t / dparams`.

A state of `N` numbers is `F` components of `U` blocks, and a step is taken to act within each block
alone. With `U = 1` the step is dense. A parameter that acts on one block only has a trace of its
own size for each component; a parameter that acts on all has one for each number of the state.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import Var

from seqjax.cells._cell import Cell
from seqjax.cells._diagonals import is_pointwise
from seqjax.cells._gated import GatedCell
from seqjax.cells._linear import LinearCell
from seqjax.online._step import Step, real_parts, to_vector

Owners = list[Any]
"""For each array of `real_parts`: which block each number acts on, an integer array that broadcasts
to it; "all" if it acts on all blocks; or None if the step does not read it."""


def has_units(cell: Cell) -> bool:
    """Returns whether the state and the parameters of a step belong to units."""
    if isinstance(cell, GatedCell):
        # A subclass with a step of its own may do anything.
        stages = ("project", "gate_inputs", "next_state", "step")
        own = any(getattr(type(cell), name) is not getattr(GatedCell, name) for name in stages)
        return not own and is_pointwise(cell)
    return isinstance(cell, LinearCell)


def acts_by_unit(cell: Cell) -> bool:
    """Returns whether the Jacobian of a step is diagonal, or a small block for each unit."""
    if isinstance(cell, GatedCell):
        return not cell.heads and has_units(cell)
    return isinstance(cell, LinearCell)


def needs_units(cell: Cell) -> str | None:
    """Returns why a method that is local to units does not apply to a cell, or None."""
    if has_units(cell):
        return None
    return "it needs a gated cell with a pointwise `update`, or a linear cell; use RTRL or UORO"


def components(step: Step) -> int:
    """Returns how many numbers of the state a unit has."""
    if isinstance(step.cell, GatedCell):
        return len(step.state)
    return 1 + jnp.iscomplexobj(step.state[0])


def find_owners(step: Step, *, by_unit: bool) -> Owners:
    """Returns the block on which each parameter acts directly.

    Args:
      step: any step of the cell.
      by_unit: whether each unit is a block; if not, the whole state is one block.
    """
    cell, parts, used = step.cell, real_parts(step.params), _used(step)
    if not by_unit:
        owners: Owners = [np.zeros((1,) * part.ndim, int) for part in parts]
    elif isinstance(cell, GatedCell):
        owners = _of_gates(cell, step.params)
    else:
        owners = _by_trial(cell, step.x.shape[-1])
    return [owner if is_used else None for owner, is_used in zip(owners, used, strict=True)]


def begin(owners: Owners, parts: list[Array], size: int, blocks: int, dtype: Any) -> Any:
    """Returns the influence at the start of a sequence: zeros, and the identity for the start."""

    def zeros(owner: Any, part: Array) -> Array | None:
        if owner is None:
            return None
        shape = (size, blocks) if isinstance(owner, str) else (size,)
        return jnp.zeros((*shape, *part.shape), dtype)

    identity = jnp.eye(size, dtype=dtype)[:, :, None]
    start = jnp.broadcast_to(identity, (size, size, blocks))
    return [zeros(*pair) for pair in zip(owners, parts, strict=True)], start


def advance(step: Step, owners: Owners, kept: Array, influence: Any) -> Any:
    """Returns the influence after a step.

    Args:
      step: the step.
      owners: from `find_owners`.
      kept: what the influence is multiplied by, one matrix for each block, (F, F, U).
      influence: the influence before the step.
    """
    size, _, blocks = kept.shape
    vector = to_vector(step.state)
    _, pull = jax.vjp(lambda parts: step.after(parts, vector), real_parts(step.params))
    # A parameter acts on one block: the sum over all blocks is the derivative of that one.
    rows = jnp.repeat(jnp.eye(size, dtype=vector.dtype), blocks, axis=1)
    (by_component,) = jax.vmap(pull)(rows)
    by_number = by_component
    if any(isinstance(owner, str) for owner in owners):
        (by_number,) = jax.vmap(pull)(jnp.eye(vector.size, dtype=vector.dtype))
    traces, start = influence
    new = []
    for owner, trace, one, all_ in zip(owners, traces, by_component, by_number, strict=True):
        if owner is None:
            new.append(None)
        elif isinstance(owner, str):
            passed = jnp.einsum("fgu,gu...->fu...", kept, trace, precision="highest")
            new.append(passed + all_.reshape(trace.shape).astype(trace.dtype))
        else:
            new.append(_passed(kept, owner, trace) + one.astype(trace.dtype))
    return new, _passed(kept, np.arange(blocks)[None], start)


def pull(owners: Owners, parts: list[Array], influence: Any, d_state: Array) -> Any:
    """Returns the gradients of the parameters and of the start, from that of the state, (N,)."""
    traces, start = influence
    d_blocks = d_state.reshape(start.shape[0], start.shape[2])

    def pulled(owner: Any, trace: Array) -> Array:
        if isinstance(owner, str):
            return jnp.einsum("fu,fu...->...", d_blocks, trace, precision="highest")
        if owner.size == 1:
            return jnp.tensordot(d_blocks[:, owner.item()], trace, 1, precision="highest")
        return (d_blocks[:, owner] * trace).sum(axis=0)

    gradients = [
        jnp.zeros_like(part) if owner is None else pulled(owner, trace)
        for owner, part, trace in zip(owners, parts, traces, strict=True)
    ]
    return gradients, pulled(np.arange(start.shape[2])[None], start).ravel()


def by_block(function: Any, vector: Array, size: int) -> Array:
    """Returns the Jacobian of a function that acts within each block, (F, F, U).

    Args:
      function: from a vector (N,) to a vector (N,).
      vector: where.
      size: numbers in a block, `F`.
    """
    tangents = jnp.repeat(jnp.eye(size, dtype=vector.dtype), vector.size // size, axis=1)
    _, forward = jax.linearize(function, vector)
    return jnp.swapaxes(jax.vmap(forward)(tangents).reshape(size, size, -1), 0, 1)


def _passed(kept: Array, owner: np.ndarray, trace: Array) -> Array:
    if owner.size == 1:
        return jnp.tensordot(kept[:, :, owner.item()], trace, 1, precision="highest")
    return (kept[:, :, owner] * trace[None]).sum(axis=1)


def _used(step: Step) -> list[bool]:
    """Returns which of the parameters a step reads, from its program."""
    vector = to_vector(step.state)
    traced = jax.make_jaxpr(lambda parts: step.after(parts, vector))(real_parts(step.params))
    program = traced.jaxpr
    live = {each for each in program.outvars if isinstance(each, Var)}
    for equation in reversed(program.eqns):
        if not live.isdisjoint(equation.outvars):
            live.update(each for each in equation.invars if isinstance(each, Var))
    return [each in live for each in program.invars]


def _of_gates(cell: GatedCell, params: Any) -> Owners:
    """Returns the unit of each column of a gated cell's parameters."""
    size = cell.hidden_size

    def owner(path: Any, leaf: Array) -> Any:
        columns = np.arange(leaf.shape[-1]) % size
        if leaf.ndim == 3:  # heads, each with its own columns for every gate
            width = size // leaf.shape[0]
            head = np.arange(leaf.shape[0])[:, None, None]
            return head * width + np.arange(leaf.shape[-1])[None, None] % width
        # An inner product passes a parameter's effect on to all units.
        spread = cell.inner_gates or leaf.shape[-1] % size
        return "all" if spread else columns.reshape((1,) * (leaf.ndim - 1) + columns.shape)

    found = jax.tree_util.tree_map_with_path(owner, params)
    return jax.tree.leaves(found)


@functools.lru_cache(maxsize=64)
def _by_trial(cell: Cell, in_size: int) -> Owners:
    """Finds the unit on which each parameter acts, from three derivatives at the first parameters.

    With `A[u] = ds_u / dp` for a parameter `p`, they are `sum A[u]`, `sum u A[u]` and
    `sum w_u A[u]` for random `w`. If a single `A[u]` differs from zero, the second is `u` times the
    first and the third `w_u` times it. For a random `w` nothing else passes.
    """

    @jax.jit
    def sums() -> tuple[list[Array], Array]:
        keys = jax.random.split(jax.random.key(0), 4)
        params = cell.prepare(cell.init(keys[0], in_size))
        state = cell.initial_state(params)
        start = jnp.zeros((), bool) if cell.uses_starts else None
        x = jax.random.normal(keys[1], (in_size,), jnp.float32)
        step, vector = Step(cell, params, state, x, start), to_vector(state)
        vector = jax.random.normal(keys[2], vector.shape, vector.dtype)
        _, pull = jax.vjp(lambda parts: step.after(parts, vector), real_parts(params))
        size = components(step)
        weights = 1 + jax.random.uniform(keys[3], (vector.size // size,), vector.dtype)
        numbers = jnp.arange(weights.size, dtype=vector.dtype)
        rows = jnp.stack([jnp.ones_like(weights), numbers, weights])
        spread = rows[:, None, None] * jnp.eye(size, dtype=vector.dtype)[None, :, :, None]
        return jax.vmap(jax.vmap(pull))(spread.reshape(3, size, -1))[0], weights

    with jax.ensure_compile_time_eval():
        found, weights = sums()
        return [_owner(np.asarray(each), np.asarray(weights)) for each in found]


def _owner(sums: np.ndarray, weights: np.ndarray) -> Any:
    """Reads the owner from the three sums, (3, F, *shape); "all" if there is not one."""
    ones, counted, weighted = sums.astype(float)
    largest = np.abs(ones).max(axis=0)
    if not (np.isfinite(sums).all() and (largest > 0).all()):
        return "all"
    component = np.abs(ones).argmax(axis=0)[None]
    ratio = np.take_along_axis(counted, component, 0) / np.take_along_axis(ones, component, 0)
    owner = np.rint(ratio[0]).astype(int)
    if owner.min() < 0 or owner.max() >= len(weights):
        return "all"
    errors = np.abs(weighted - weights[owner][None] * ones).max(axis=0)
    if (errors > 1e-4 * largest).any():
        return "all"
    for axis in range(owner.ndim):
        first = owner.take([0], axis=axis)
        owner = first if (owner == first).all() else owner
    return owner
