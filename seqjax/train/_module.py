"""`fit_module`: the short way to train a Flax NNX module, without a run folder."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from seqjax._checks import check_function, check_kind, check_sizes
from seqjax.train._divergence import blamed
from seqjax.train._errors import DivergedError
from seqjax.train._mesh import data_mesh, shard
from seqjax.train._state import PyTree
from seqjax.train._step import make_train_step

WHERE = "seqjax.train.fit_module"


def fit_module(
    model: nnx.Module,
    loss: Callable[[Any, jax.Array, PyTree], jax.Array],
    train_batches: Callable[[int], Iterable[PyTree]],
    *,
    optimizer: optax.GradientTransformation,
    epochs: int,
    key: jax.Array | None = None,
    report: Callable[[int, float], Any] | None = None,
) -> list[float]:
    """Trains the parameters of a module.

    It compiles one step with `make_train_step`, which splits a batch over all devices that divide
    the first batch evenly. Use `fit` for validation, early stopping, checkpoints and a record.

    Args:
      model: any NNX module. Its parameters change when training ends, and only then.
      loss: `loss(model, key, batch)`, the mean loss of a batch. The key differs at every step; pass
        it to the model for dropout.
      train_batches: epoch (1, 2, ...) to its batches, pytrees of arrays with the examples first.
      optimizer: from Optax.
      epochs: how many to train.
      key: PRNG key of everything random in the steps; by default `jax.random.key(0)`.
      report: called after every epoch as `report(epoch, loss)`, such as `print`.

    Returns:
      The mean loss of each epoch.

    Raises:
      ValueError: if the loss is no scalar or changes a variable of the model that is no parameter,
        an epoch has no batches, a batch cannot be split, or `epochs` is below 1.
      TypeError: if `model` is not a module, or a function cannot be called as it must be.
      DivergedError: if the loss of an epoch is not finite.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> from flax import nnx
      >>> model = nnx.Linear(1, 1, rngs=nnx.Rngs(0))
      >>> xs = jnp.arange(4.0)[:, None]
      >>> def loss(model, key, batch):
      ...     return ((model(batch) - 2 * batch) ** 2).mean()
      >>> losses = fit_module(model, loss, lambda epoch: [xs], optimizer=optax.adam(0.1), epochs=99)
      >>> len(losses), losses[-1] < 0.01 * losses[0]
      (99, True)
    """
    check_kind(WHERE, "model", model, nnx.Module, "a flax.nnx.Module")
    check_function(WHERE, "loss", loss, ["model", "key", "batch"])
    check_function(WHERE, "train_batches", train_batches, ["epoch"])
    check_function(WHERE, "report", report, ["epoch", "loss"], optional=True)
    check_sizes(WHERE, epochs=epochs)
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def pure(params: PyTree, key: jax.Array, batch: PyTree) -> tuple[jax.Array, dict[str, Any]]:
        # Copies: a variable may be changed only in the trace that has made it.
        merged = nnx.merge(graph, params, jax.tree.map(lambda leaf: leaf, rest))
        before = nnx.to_flat_state(nnx.state(merged, nnx.Not(nnx.Param)))
        before = {path: variable[...] for path, variable in before}
        value = loss(merged, key, batch)
        after = nnx.to_flat_state(nnx.state(merged, nnx.Not(nnx.Param)))
        if changed := [path for path, var in after if var[...] is not before.get(path)]:
            raise ValueError(
                f"{WHERE}: `loss` must change no variable but parameters, got a change of "
                f"{'.'.join(map(str, changed[0]))}. Give dropout the key, as in dropout(xs, "
                "rngs=key), and use layers without running averages."
            )
        return value, {"weight": jnp.ones(())}

    step, state, means = None, None, []
    for epoch in range(1, epochs + 1):
        losses, broken = [], None
        for batch in train_batches(epoch):
            if step is None or state is None:
                examples = len(jax.tree.leaves(batch)[0])
                step = make_train_step(pure, optimizer, mesh=data_mesh(examples))
                state = step.init(params, jax.random.key(0) if key is None else key)
            state, record = step.update(state, shard(step.mesh, batch))
            losses.append(record["loss"])
            broken = record["not_finite"]
        if state is None or broken is None:
            raise ValueError(
                f"{WHERE}: epoch {epoch} has no batches. Is the batch size larger than the data "
                "set, or are the batches used up? Make new ones for each epoch."
            )
        means.append(float(jnp.stack(losses).mean()))
        if not jnp.isfinite(means[-1]):
            raise DivergedError(
                f"{WHERE}: training diverged in epoch {epoch}: loss {means[-1]}, "
                f"{blamed(state.params, jax.device_get(broken))}. Lower the learning rate or clip "
                "the gradient; the model is as it was."
            )
        if report is not None:
            report(epoch, means[-1])
    assert state is not None
    nnx.update(model, jax.tree.map(jnp.asarray, jax.device_get(state.params)))
    return means
