"""One update of the parameters, compiled once."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from seqjax.train._mesh import data_mesh, layout, put, shard
from seqjax.train._state import PyTree, TrainState

Loss = Callable[[PyTree, jax.Array, PyTree], tuple[jax.Array, Mapping[str, jax.Array]]]
"""`loss(params, key, batch) -> (scalar, sums)`: the mean loss, and sums over the batch that include
"weight", the number of examples (or tokens) the sums run over."""

CarryingLoss = Callable[
    [PyTree, jax.Array, PyTree, PyTree], tuple[jax.Array, Mapping[str, jax.Array], PyTree]
]
"""`loss(params, key, batch, carry) -> (scalar, sums, carry)`: the same where a step begins with
what the step before it left, as truncated back-propagation through time does along a sequence."""

RESERVED = ("loss", "grad_norm", "not_finite", "steps")


class TrainStep(NamedTuple):
    """How to train, as a pair of pure functions, in the manner of an optimiser in Optax.

    Attributes:
      init: `init(params, key) -> TrainState`; copies `params`, which stay the caller's.
      update: `update(state, batch) -> (state, record)`; uses up the state it is given. The record
        holds the loss, the gradient's global norm before the optimiser sees it, the sums, and
        `not_finite`: 1 for each array of parameters, in the order of the tree, whose gradient is
        not finite.
      mesh: the devices the state lives on.
      updates: `updates(state, batches) -> (state, records)`, as many updates as the batches have on
        their leading axis, in one program; records have that axis too.
      per_dispatch: how many updates `seqjax.train.fit` hands over at once.
      pure: `update` as it was before it was compiled for `mesh`, to be transformed further.
    """

    init: Callable[[PyTree, jax.Array], TrainState]
    update: Callable[[TrainState, PyTree], tuple[TrainState, dict[str, jax.Array]]]
    mesh: Mesh
    updates: Callable[[TrainState, PyTree], tuple[TrainState, dict[str, jax.Array]]]
    per_dispatch: int
    pure: Callable[[TrainState, PyTree], tuple[TrainState, dict[str, jax.Array]]]


def make_train_step(
    loss: Loss | CarryingLoss,
    optimizer: optax.GradientTransformation,
    *,
    ema_decay: float | None = None,
    mesh: Mesh | None = None,
    per_dispatch: int | None = None,
    carry: PyTree | None = None,
    partition: PyTree | None = None,
) -> TrainStep:
    """Compiles a loss and an optimiser into one step; make it once and share it among seeds.

    Args:
      loss: pure function, `loss(params, key, batch) -> (scalar, sums)`: the mean loss, and sums
        over the batch that include "weight", the number of examples (or tokens) the sums run over.
        With `carry` it is `loss(params, key, batch, carry) -> (scalar, sums, carry)`. Its key
        differs at every step.
      optimizer: from Optax; clip gradients there, as in `optax.chain(optax.clip_by_global_norm(1.),
        optax.adam(1e-3))`.
      ema_decay: if given, a moving average of the parameters is kept; see `ema`.
      mesh: devices the batch is split over, all of them by default.
      per_dispatch: updates that `seqjax.train.fit` hands to the devices at once, so that a small
        model does not wait for the host between them; as many batches lie on the devices together.
        By default 1 on CPUs, where the host is the device, and 8 elsewhere.
      carry: what the loss receives at the first step, arrays with the examples first; it is saved
        with the state, and no gradient flows from a step into the one before it. When a sequence
        ends is for the loss to see in its batch.
      partition: how a mesh with further axes than "batch" splits the parameters, and what the
        optimiser and `ema_decay` keep of them: a `PartitionSpec` for each, in their structure, such
        as `cell.partition(params)`. By default what Flax's Variables say, as those of
        `seqjax.nn.RNN` do; arrays that say nothing are whole on every device.

    Returns:
      The training step.

    Raises:
      ValueError: if `ema_decay` is outside [0, 1) or `per_dispatch` below 1; from `init`, if
        `partition` has another structure than the parameters; when tracing, if the loss is no
        scalar, its sums lack "weight" or use a name the step itself reports, or what it carries
        changes its structure, shapes or dtypes.

    Example:
      >>> def loss(w, key, batch):
      ...     error = (batch * w - 1.0) ** 2
      ...     return error.mean(), {"weight": error.size}
      >>> train = make_train_step(loss, optax.sgd(0.5), mesh=data_mesh(1))
      >>> state = train.init(jnp.float32(0), jax.random.key(0))
      >>> state, record = train.update(state, jnp.ones(4))
      >>> float(state.params), float(record["loss"])
      (1.0, 1.0)
    """
    if ema_decay is not None and not 0.0 <= ema_decay < 1.0:
        raise ValueError(
            f"seqjax.train.make_train_step: `ema_decay` must lie in [0, 1), got {ema_decay}. "
            "Use None for no average."
        )
    mesh = data_mesh() if mesh is None else mesh
    if per_dispatch is None:
        per_dispatch = 1 if mesh.devices.flat[0].platform == "cpu" else 8
    if per_dispatch < 1:
        raise ValueError(
            f"seqjax.train.make_train_step: `per_dispatch` must be at least 1, got {per_dispatch}."
        )
    # Said aloud, or the compiler may choose another layout for the result and compile twice.
    everywhere: Any = NamedSharding(mesh, PartitionSpec())
    split = NamedSharding(mesh, PartitionSpec("batch"))
    further = mesh.axis_names != ("batch",)
    whole: Any = None if further else everywhere  # with further axes `in_place` says it
    layouts = TrainState(*[whole] * 5, carry=split)
    checked = _checked(loss if carry is not None else _without_carry(loss), carry)

    def init(params: PyTree, key: jax.Array) -> TrainState:
        def copy(tree: PyTree) -> PyTree:
            return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)

        # Copies, since `update` frees the buffers it is given and no two may be the same.
        state = TrainState(
            params=copy(params),
            opt_state=optimizer.init(copy(params)),
            average=None if ema_decay is None else copy(params),
            step=jnp.zeros((), jnp.int32),
            key=jnp.array(key, copy=True),
        )
        _check_partition(partition, state.params)
        shardings = layout(mesh, state, state.params, partition)
        return put(state, shardings)._replace(carry=shard(mesh, copy(carry)))

    def pure(state: TrainState, batch: PyTree) -> tuple[TrainState, dict[str, jax.Array]]:
        key = jax.random.fold_in(state.key, state.step)
        gradient = jax.value_and_grad(
            lambda params: checked(params, key, batch, state.carry), has_aux=True
        )
        (value, (sums, carried)), grads = gradient(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        average = None
        if ema_decay is not None:
            average = ema(state.average, params, decay=ema_decay, step=state.step)
        broken = [~jnp.isfinite(optax.tree.norm(leaf)) for leaf in jax.tree.leaves(grads)]
        record = {**sums, "loss": value, "grad_norm": optax.tree.norm(grads)}
        record["not_finite"] = jnp.array(broken)
        state = TrainState(params, opt_state, average, state.step + 1, state.key, carried)
        return state, jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), record)

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        return jax.jit(function, donate_argnums=0, out_shardings=(layouts, everywhere))

    def update(state: TrainState, batch: PyTree) -> tuple[TrainState, dict[str, jax.Array]]:
        # `unroll` sees here what the batch, and the kernels, are split over.
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            state, record = pure(state, batch)
        return in_place(state), record

    def in_place(state: TrainState) -> TrainState:
        if not further:
            return state
        kept = state._replace(carry=None)
        shardings = layout(mesh, kept, kept.params, partition)
        kept = jax.lax.with_sharding_constraint(kept, shardings)
        return kept._replace(carry=state.carry)

    def updates(state: TrainState, batches: PyTree) -> tuple[TrainState, dict[str, jax.Array]]:
        return jax.lax.scan(update, state, batches)

    return TrainStep(init, compiled(update), mesh, compiled(updates), per_dispatch, pure)


def ema(average: PyTree, params: PyTree, *, decay: float, step: jax.Array | int) -> PyTree:
    """Moves an average towards the parameters.

    The decay is `min(decay, (1 + step) / (10 + step))`: short at first, so that the random
    initial parameters are forgotten in tens of steps instead of `1 / (1 - decay)`.

    Args:
      average: the average so far, in the dtype of `params`.
      params: the newest parameters.
      decay: the decay to settle at.
      step: number of updates before this one.

    Returns:
      The new average.

    Example:
      >>> float(ema(jnp.float32(0), jnp.float32(1), decay=0.999, step=0))
      0.8999999761581421
    """
    step = jnp.asarray(step, jnp.float32)
    decay_now = jnp.minimum(decay, (1 + step) / (10 + step))

    def move(old: jax.Array, new: jax.Array) -> jax.Array:
        return (new + decay_now * (old - new)).astype(old.dtype)

    return jax.tree.map(move, average, params)


def _check_partition(partition: PyTree | None, params: PyTree) -> None:
    wanted, got = jax.tree.structure(params), jax.tree.structure(partition)
    if partition is not None and got != wanted:
        raise ValueError(
            "seqjax.train.make_train_step: `partition` must have the structure of the parameters, "
            f"{wanted}, got {got}. Give a PartitionSpec for each."
        )


def _without_carry(loss: Any) -> CarryingLoss:
    return lambda params, key, batch, carry: (*loss(params, key, batch), None)


def _checked(loss: Any, first: PyTree) -> Callable[..., Any]:
    def checked(params: PyTree, key: jax.Array, batch: PyTree, carry: PyTree) -> Any:
        value, sums, carry = loss(params, key, batch, carry)
        if jnp.shape(value) != ():
            raise ValueError(
                "seqjax.train: the loss must be a scalar, got shape "
                f"{jnp.shape(value)}. Take its mean over the batch."
            )
        if "weight" not in sums:
            raise ValueError(
                'seqjax.train: the sums beside the loss must hold "weight", the number of examples '
                f"they run over, got {sorted(sums)}."
            )
        if taken := sorted(set(sums) & set(RESERVED)):
            raise ValueError(
                f"seqjax.train: the step itself reports {', '.join(RESERVED)}; the loss function "
                f"returned sums of the same name: {', '.join(taken)}. Rename them."
            )
        if (got := _shapes(carry)) != (wanted := _shapes(first)):
            raise ValueError(
                f"seqjax.train: the loss must carry on what it was given, {wanted}, got {got}."
            )
        return value, (dict(sums), carry)

    return checked


def _shapes(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}", tree)
