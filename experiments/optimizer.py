"""The optimiser and the training step of the experiments."""

from typing import Any

import jax
import optax

from experiments.settings import Settings
from seqjax import train

# Settings that the optimiser has in its state, not in its program: members of a population that
# differ in nothing else share one program.
IN_STATE = ("learning_rate", "weight_decay")


def make_schedule(
    settings: Settings, num_steps: int, learning_rate: Any = None
) -> float | optax.Schedule:
    """Returns the learning rate, over the updates where it changes.

    Args:
      settings: the settings.
      num_steps: updates until the learning rate reaches its end.
      learning_rate: takes the place of the settings' one.

    Returns:
      A number, or a schedule.
    """
    peak = settings.learning_rate if learning_rate is None else learning_rate
    if settings.schedule != "cosine":
        return peak
    part = optax.warmup_cosine_decay_schedule(
        0.1, 1.0, min(200, num_steps // 10), num_steps, end_value=0.01
    )
    return lambda count: peak * part(count)


def make_optimizer(settings: Settings, num_steps: int) -> optax.GradientTransformation:
    """Returns AdamW with clipping and a schedule.

    Args:
      settings: the settings.
      num_steps: updates until the learning rate reaches its end.

    Returns:
      The optimiser.
    """

    def decays(params: Any) -> Any:
        # A row of a table is seldom used, and decay at every step would wear it away.
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: leaf.ndim > 1 and "table" not in jax.tree_util.keystr(path), params
        )

    def adamw(learning_rate: Any, weight_decay: Any) -> optax.GradientTransformation:
        schedule = make_schedule(settings, num_steps, learning_rate)
        return optax.adamw(schedule, weight_decay=weight_decay, mask=decays)

    in_state = {name: getattr(settings, name) for name in IN_STATE}
    optimizer = optax.inject_hyperparams(adamw)(**in_state)
    if settings.clip_norm:
        optimizer = optax.chain(optax.clip_by_global_norm(settings.clip_norm), optimizer)
    return optimizer


def make_step(
    settings: Settings, loss: Any, steps_per_epoch: int, mesh: str, *, carry: Any = None
) -> train.TrainStep:
    """Returns the training step.

    Args:
      settings: the settings.
      loss: as `seqjax.train.make_train_step` takes it.
      steps_per_epoch: updates of an epoch.
      mesh: how devices share the work, as `seqjax.train.data_mesh` takes it.
      carry: as `seqjax.train.make_train_step` takes it.

    Returns:
      The step.
    """
    return train.make_train_step(
        loss,
        make_optimizer(settings, steps_per_epoch * settings.epochs),
        ema_decay=settings.ema_decay or None,
        mesh=train.data_mesh(settings.batch_size, mesh),
        carry=carry,
    )
