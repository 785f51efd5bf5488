"""Tables of which a batch reads few rows: those are updated, the others catch up when next read.

Adam moves a row that has no gradient too, by what is left of its moments. With m and v the moments
of a row after its last update s, update j > s moves it by

    a_j m / (d_j sqrt(v) + eps),
    a_j = rate_j b1^(j - s) / (1 - b1^j),   d_j = sqrt(b2^(j - s) / (1 - b2^j)).

a_j and d_j are numbers of the row and the time, not of the element. So each row keeps account of
A = sum_j a_j and C = sum_j a_j / d_j, a few numbers where a dense update would touch all its
elements, and when a batch reads it again all is made up for at once:

    w <- w - A m / ((A / C) sqrt(v) + eps).

This is exact where eps is negligible beside the root and where it outweighs the root. Where they
are alike it takes all d_j for one, and what is made up for is off by a fraction that falls with s:
by 5 % at most after the first update, 5e-4 after the 100th, 2e-5 after the 1,000th and later.

The moving average p obeys p - w <- decay_j (p - w + a_j m / (d_j sqrt(v) + eps)), so its distance
to w needs the same two sums, with the decays in them.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from seqjax.train._state import PyTree, TrainState

Ordinary = Callable[[TrainState, PyTree, Callable], tuple[TrainState, dict[str, Array]]]
"""`ordinary(state, batch, stand_in) -> (state, record)`, an update of all parameters, in which the
loss is given `stand_in(params)`."""


class LazyTables(NamedTuple):
    """Which tables are updated by the row, and how the optimiser moves them.

    The optimiser must be Adam or AdamW of Optax with these numbers, alone or behind clipping by the
    global norm, and must not decay the tables.

    Attributes:
      reads: for each table a function `batch -> integers`, the rows that the loss reads, in any
        shape and any number of times. Other rows are NaN to the loss. The key is the path of the
        table in the parameters, "embedding/table/value" in those of a Flax module, and the loss
        reads it by its method `take(indices, axis=0, mode="clip")`.
      learning_rate: a number, or a schedule of Optax.
      b1: decay of the first moment.
      b2: decay of the second moment, above b1^2.
      eps: what is added to the root of the second moment, above 0.

    Example:
      >>> lazy = LazyTables({"words": lambda batch: batch["tokens"]}, learning_rate=1e-3)
      >>> lazy.reads["words"]({"tokens": [3, 1, 3]})
      [3, 1, 3]
    """

    reads: Mapping[str, Callable[[Any], Array]]
    learning_rate: float | optax.Schedule
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8


def rows_pay(num_rows: int, num_reads: int) -> bool:
    """Says whether a table is better updated by the row than as a whole.

    Each read of a batch takes a place, also where a row is read twice, so what counts is the number
    of reads. `scripts/table_update.py` measures where it breaks even.

    Args:
      num_rows: rows of the table.
      num_reads: reads of the largest batch.

    Returns:
      True or False.

    Example:
      >>> rows_pay(200_000, 6_400), rows_pay(10_000, 6_400)
      (True, False)
    """
    return 5 * num_reads <= num_rows


class Behind(NamedTuple):
    """What each row of a table has missed since its last update, every field of shape (rows,).

    Attributes:
      first: b1^k after k missed updates.
      second: b2^k.
      ratio: (b1 / sqrt(b2))^k.
      moved: the sum A of the equations above.
      moved_freely: the sum C.
      kept: product of the decays of the moving average.
      trailed: as `moved`, decayed with the moving average.
      trailed_freely: as `moved_freely`, decayed with the moving average.
    """

    first: Array
    second: Array
    ratio: Array
    moved: Array
    moved_freely: Array
    kept: Array
    trailed: Array
    trailed_freely: Array


class LazyState(NamedTuple):
    """The optimiser's state where tables are lazy.

    Attributes:
      optimizer: its own.
      behind: what the rows of each table have missed.
    """

    optimizer: PyTree
    behind: dict[str, Behind]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ReadRows:
    """Stands in a loss for a table of which only some rows are at hand.

    Attributes:
      values: the rows, (places, features).
      places: for each row of the table its place in `values`, or one past the last, (rows,).
    """

    values: Array
    places: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole table."""
        return (*self.places.shape, *self.values.shape[1:])

    def take(self, indices: Array, axis: int = 0, mode: str = "clip") -> Array:
        """Looks rows up, as the method of `jax.Array` does; those not at hand are NaN."""
        if axis != 0 or mode != "clip":
            raise ValueError(
                'seqjax.train: a lazy table must be read by take(indices, axis=0, mode="clip"), '
                f"got axis={axis!r} and mode={mode!r}."
            )
        places = self.places.take(indices, axis=0, mode="clip")
        return self.values.at[places].get(mode="fill", fill_value=jnp.nan)


class Table(NamedTuple):
    """All that is kept of rows of a table, each field of shape (rows, features)."""

    values: Array
    first_moment: Array
    second_moment: Array
    average: Array | None


def begin(
    tables: LazyTables, optimizer: optax.GradientTransformation, state: TrainState
) -> TrainState:
    """Adds an account of what rows have missed to a new state.

    Args:
      tables: the lazy tables.
      optimizer: as given to `make_train_step`.
      state: the state of training without the account.

    Returns:
      The state with it.

    Raises:
      ValueError: if a table is not found or has not two axes, or the optimiser moves it otherwise
        than Adam with the numbers in `tables` would.
    """
    found = _leaves(state.params)
    for name in tables.reads:
        if jnp.ndim(found.get(name, 0)) != 2:
            got = f"shape {found[name].shape}" if name in found else f"{', '.join(found)} only"
            raise ValueError(
                f"seqjax.train: the lazy table {name!r} must be a parameter of two axes, got {got}."
            )
    _check_optimizer(tables, optimizer, state.params)
    behind = {name: _nothing_missed(found[name]) for name in tables.reads}
    return state._replace(opt_state=LazyState(state.opt_state, behind))


def update(
    tables: LazyTables,
    ordinary: Ordinary,
    state: TrainState,
    batch: PyTree,
    *,
    average_decay: Array,
    mesh: Mesh,
) -> tuple[TrainState, dict[str, Array]]:
    """Does an ordinary update of a small state, in which a table is the rows that the batch reads.

    Args:
      tables: the lazy tables.
      ordinary: the update.
      state: the state, with an account of what rows have missed.
      batch: the batch.
      average_decay: decay of the moving average in this update.
      mesh: the devices, each of which has all of the state.

    Returns:
      The new state and the record of the update.
    """
    behind = dict(state.opt_state.behind)
    state = state._replace(opt_state=state.opt_state.optimizer)
    whole = _read(state, tables)
    everywhere = NamedSharding(mesh, PartitionSpec())
    rows, places, small = {}, {}, {}
    for name, reads in tables.reads.items():
        num_rows = len(whole[name].values)
        indices = jax.lax.with_sharding_constraint(reads(batch).reshape(-1), everywhere)
        rows[name], places[name] = _first_reads(indices, num_rows)
        there = rows[name]
        stale, missed = jax.tree.map(
            lambda leaf, there=there: leaf.at[there].get(mode="fill", fill_value=0),
            (whole[name], behind[name]),
        )
        small[name] = catch_up(stale, missed, tables.eps)

    def stand_in(params: PyTree) -> PyTree:
        leaves = _leaves(params)
        return _replace(params, {n: ReadRows(leaves[n], places[n]) for n in tables.reads})

    updated, record = ordinary(_write(state, small), batch, stand_in)
    moved = _read(updated, tables)
    for name in tables.reads:
        whole[name] = jax.tree.map(
            lambda leaf, new, there=rows[name]: leaf.at[there].set(
                new, mode="drop", unique_indices=True
            ),
            whole[name],
            moved[name],
        )
        missed = _miss(tables, behind[name], state.step, average_decay)
        read = places[name] < len(rows[name])
        fresh = _nothing_missed(whole[name].values)
        behind[name] = jax.tree.map(lambda a, b, read=read: jnp.where(read, a, b), fresh, missed)
    updated = _write(updated, whole)
    return updated._replace(opt_state=LazyState(updated.opt_state, behind)), record


def settle(tables: LazyTables, state: TrainState) -> TrainState:
    """Makes up for all that any row has missed.

    Args:
      tables: the lazy tables.
      state: a state of training.

    Returns:
      The state in which every row is where a dense update would have it.
    """
    optimizer, behind = state.opt_state
    state = state._replace(opt_state=optimizer)
    whole = _read(state, tables)
    settled = {name: catch_up(whole[name], behind[name], tables.eps) for name in whole}
    behind = {name: _nothing_missed(table.values) for name, table in settled.items()}
    state = _write(state, settled)
    return state._replace(opt_state=LazyState(state.opt_state, behind))


def catch_up(table: Table, behind: Behind, eps: float) -> Table:
    """Makes up for what rows have missed.

    Args:
      table: the rows as they were after their last update, (rows, features).
      behind: what they have missed since, (rows,).
      eps: of Adam.

    Returns:
      The rows as they are now.

    Example:
      >>> row = Table(jnp.ones((1, 1)), jnp.ones((1, 1)), jnp.ones((1, 1)), None)
      >>> behind = _nothing_missed(row.values)
      >>> float(catch_up(row, behind, 1e-8).values[0, 0])
      1.0
      >>> once = _miss(LazyTables({}, 0.1), behind, jnp.int32(1000), jnp.ones(()))
      >>> round(float(catch_up(row, once, 1e-8).values[0, 0]), 4)
      0.9284
    """
    behind = jax.tree.map(lambda leaf: leaf[:, None], behind)
    root = jnp.sqrt(table.second_moment)

    def steps(together: Array, freely: Array) -> Array:
        # Without a missed step both sums are 0.
        root_scale = together / jnp.maximum(freely, jnp.finfo(freely.dtype).tiny)
        return together * table.first_moment / (root_scale * root + eps)

    values = table.values - steps(behind.moved, behind.moved_freely)
    average = table.average
    if average is not None:
        distance = behind.kept * (average - table.values)
        average = values + distance + steps(behind.trailed, behind.trailed_freely)
    now = Table(
        values, behind.first * table.first_moment, behind.second * table.second_moment, average
    )
    return jax.tree.map(lambda new, old: new.astype(old.dtype), now, table)


def _miss(tables: LazyTables, behind: Behind, step: Array, average_decay: Array) -> Behind:
    # `step` counts from 0, as schedules do; the bias corrections count from 1.
    rate = tables.learning_rate(step) if callable(tables.learning_rate) else tables.learning_rate
    dtype = behind.first.dtype
    # As Optax computes them: early on 1 - b2^n has few right digits, and both must have the same.
    corrections = [(1 - decay ** (step + 1)).astype(dtype) for decay in (tables.b1, tables.b2)]
    decay = average_decay.astype(dtype)
    rate = jnp.asarray(rate, dtype) / corrections[0]
    first = behind.first * tables.b1
    ratio = behind.ratio * (tables.b1 / math.sqrt(tables.b2))
    step = rate * first
    free_step = rate * jnp.sqrt(corrections[1]) * ratio
    return Behind(
        first,
        behind.second * tables.b2,
        ratio,
        behind.moved + step,
        behind.moved_freely + free_step,
        behind.kept * decay,
        decay * (behind.trailed + step),
        decay * (behind.trailed_freely + free_step),
    )


def _nothing_missed(table: Array) -> Behind:
    rows, dtype = len(table), jnp.promote_types(table.dtype, jnp.float32)
    ones = {name: jnp.ones(rows, dtype) for name in ("first", "second", "ratio", "kept")}
    zeros = {name: jnp.zeros(rows, dtype) for name in Behind._fields if name not in ones}
    return Behind(**ones, **zeros)


def _first_reads(indices: Array, num_rows: int) -> tuple[Array, Array]:
    # A place for each read. The row goes to the place of its first read; the places of others get a
    # row past the end, each its own. No sort, no count: linear in the reads.
    indices = jnp.clip(indices, 0, num_rows - 1)
    order = jnp.arange(len(indices), dtype=jnp.int32)
    places = jnp.full(num_rows, len(indices), jnp.int32).at[indices].min(order)
    return jnp.where(places[indices] == order, indices, num_rows + order), places


def _check_optimizer(
    tables: LazyTables, optimizer: optax.GradientTransformation, params: PyTree
) -> None:
    """Lets every table, cut to one element, miss the gradient of its second update."""

    @jax.jit
    def second_update(tiny: PyTree) -> tuple[dict[str, Array], dict[str, Array]]:
        grads = jax.tree.map(lambda leaf: jnp.full_like(leaf, 1e-3), tiny)
        _, opt_state = optimizer.update(grads, optimizer.init(tiny), tiny)
        step = jnp.ones((), jnp.int32)
        state = TrainState(tiny, opt_state, None, step, jax.random.key(0))
        grads = jax.tree.map(jnp.zeros_like, tiny)
        updates, _ = optimizer.update(grads, opt_state, tiny)
        caught_up = {}
        for name, table in _read(state, tables).items():
            table = table._replace(values=jnp.zeros_like(table.values))
            behind = _miss(tables, _nothing_missed(table.values), step, jnp.zeros(()))
            caught_up[name] = catch_up(table, behind, tables.eps).values
        return {name: _leaves(updates)[name] for name in caught_up}, caught_up

    # Large, so that weight decay shows.
    tiny = jax.tree.map(lambda leaf: jnp.full((1,) * leaf.ndim, 1e4, jnp.float32), params)
    updates, caught_up = jax.device_get(second_update(tiny))
    for name in tables.reads:
        got, wanted = updates[name].item(), caught_up[name].item()
        if not math.isclose(got, wanted, rel_tol=1e-2):
            raise ValueError(
                f"seqjax.train: the optimiser must move the lazy table {name!r} as Adam with the "
                f"learning rate and decays of `tables`, by {wanted:.3g} in an update without "
                f"gradient, got {got:.3g}. Give both the same numbers, and no weight decay of it."
            )


def _is_adam(node: Any) -> bool:
    return isinstance(node, optax.ScaleByAdamState)


def _read(state: TrainState, tables: LazyTables) -> dict[str, Table]:
    adams = [s for s in jax.tree.leaves(state.opt_state, is_leaf=_is_adam) if _is_adam(s)]
    if len(adams) != 1:
        raise ValueError(
            "seqjax.train: lazy tables need an optimiser with the moments of one Adam, as "
            f"optax.adamw has, got {len(adams)} of them."
        )
    values, average = _leaves(state.params), _leaves(state.average)
    first, second = _leaves(adams[0].mu), _leaves(adams[0].nu)
    return {
        name: Table(values[name], first[name], second[name], average.get(name))
        for name in tables.reads
    }


def _write(state: TrainState, tables: Mapping[str, Table]) -> TrainState:
    def put(tree: PyTree, kind: str) -> PyTree:
        return _replace(tree, {name: getattr(table, kind) for name, table in tables.items()})

    def put_moments(node: Any) -> Any:
        if not _is_adam(node):
            return node
        mu, nu = put(node.mu, "first_moment"), put(node.nu, "second_moment")
        return node._replace(mu=mu, nu=nu)

    return state._replace(
        params=put(state.params, "values"),
        opt_state=jax.tree.map(put_moments, state.opt_state, is_leaf=_is_adam),
        average=put(state.average, "average"),
    )


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _leaves(tree: PyTree) -> dict[str, Array]:
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _replace(tree: PyTree, new: Mapping[str, Any]) -> PyTree:
    return jax.tree_util.tree_map_with_path(lambda p, leaf: new.get(_name(p), leaf), tree)
