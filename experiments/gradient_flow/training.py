"""Many runs of one network side by side: every seed a member, all in one compiled program."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from experiments.gradient_flow.network import Network
from experiments.gradient_flow.tasks import Task, as_arrays, draw_chunk, draw_test


class Training(NamedTuple):
    """What became of `M` members in `U` updates with a test after every `C`-th part of them.

    Attributes:
      updates: after how many updates each test was made, shape (C,).
      test_losses: shape (M, C).
      train_losses: of every update's batch, before it, shape (M, U).
      grad_norms: before clipping, shape (M, U).
      params: the final parameters, leaves (M, ...).
    """

    updates: np.ndarray
    test_losses: np.ndarray
    train_losses: np.ndarray
    grad_norms: np.ndarray
    params: Any


def train_members(
    network: Network,
    task: Task,
    *,
    seeds: Sequence[int],
    clip_norms: Sequence[float],
    optimizer: optax.GradientTransformation,
    updates: int,
    eval_every: int,
    batch_size: int,
    test_size: int,
    report: Callable[[int, np.ndarray, np.ndarray], None] = lambda update, test, train: None,
) -> Training:
    """Trains one network many times; members of a seed see the same data and start alike.

    Args:
      network: what to train.
      task: on what.
      seeds: of each member.
      clip_norms: of each member, the norm its gradients are clipped to; infinity for none.
      optimizer: what follows the clipping.
      updates: their number.
      eval_every: updates between two tests.
      batch_size: sequences in a batch.
      test_size: sequences in the test.
      report: `report(update, test_losses, train_losses)`, called after each test, with the
        mean of the training loss since the one before.

    Returns:
      What became of them. A member that diverges goes on, with losses that are not finite.
    """

    def loss(params: Any, inputs: Array, targets: Array) -> Array:
        return task.loss(network.apply(params, inputs), targets)

    def update(state: Any, clip_norm: Array, inputs: Array, targets: Array) -> Any:
        params, memory = state
        value, gradient = jax.value_and_grad(loss)(params, inputs, targets)
        norm = optax.tree.norm(gradient)
        clip = optax.clip_by_global_norm(clip_norm)
        clipped, _ = clip.update(gradient, clip.init(params))
        steps, memory = optimizer.update(clipped, memory, params)
        return (optax.apply_updates(params, steps), memory), (value, norm)

    clips = jnp.asarray(clip_norms, jnp.float32)

    @jax.jit
    def chunk(state: Any, inputs: Array, targets: Array) -> Any:
        return lax.scan(
            lambda state, batch: jax.vmap(update)(state, clips, *batch), state, (inputs, targets)
        )

    keys = [jax.random.fold_in(jax.random.key(seed), 1) for seed in seeds]
    members = [network.init(key, task.in_size, task.out_size) for key in keys]
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    state = (params, jax.vmap(optimizer.init)(params))
    test = as_arrays(draw_test(task, test_size))
    evaluate = jax.jit(jax.vmap(loss, in_axes=(0, None, None)))

    tests, losses, norms = [], [], []
    for number in range(updates // eval_every):
        drawn = {
            seed: draw_chunk(task, seed, number, eval_every, batch_size) for seed in set(seeds)
        }
        inputs, targets = (
            np.stack([drawn[seed][part] for seed in seeds], axis=1) for part in (0, 1)
        )
        state, (value, norm) = chunk(state, inputs, targets)
        tests.append(np.asarray(evaluate(state[0], *test)))
        losses.append(np.asarray(value))
        norms.append(np.asarray(norm))
        report((number + 1) * eval_every, tests[-1], losses[-1].astype(np.float64).mean(axis=0))
    return Training(
        eval_every * np.arange(1, len(tests) + 1),
        np.stack(tests, axis=1),
        np.concatenate(losses).T,
        np.concatenate(norms).T,
        jax.tree.map(np.asarray, state[0]),
    )


def updates_to_threshold(training: Training, threshold: float) -> np.ndarray:
    """Returns the updates after which each member first tested below a loss; NaN for never."""
    below = training.test_losses < threshold
    first = training.updates[below.argmax(axis=1)]
    return np.where(below.any(axis=1), first, np.nan)
