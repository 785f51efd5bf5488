"""What is trained: chosen points on every task, a window beside them, and exploding gradients."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from experiments.gradient_flow import grid
from experiments.gradient_flow.config import Config
from experiments.gradient_flow.network import feed_forward, recurrent
from experiments.gradient_flow.tasks import make_task
from experiments.gradient_flow.training import Training, train_members

Report = Callable[[dict[str, Any]], None]
WINDOW = "feed-forward"


class Learnt(NamedTuple):
    """One network on one task, all its seeds."""

    task: str
    label: str
    training: Training


class Clipped(NamedTuple):
    """A network whose gradients explode, all its seeds."""

    clipped: Training
    unclipped: Training


def training_jobs(config: Config, report: Report) -> list[Callable[[], Learnt]]:
    """Returns a piece of work for each network and task.

    Args:
      config: the settings.
      report: receives a row for metrics.jsonl for each seed and test.

    Returns:
      The pieces, for `jobs.run_jobs`.
    """
    labels = [point.label for point in config.train_points] + [WINDOW]
    networks = {point.label: point for point in config.train_points}

    def job(name: str, label: str) -> Callable[[], Learnt]:
        def run() -> Learnt:
            task = make_task(config, name)
            if label == WINDOW:
                network = feed_forward(config.window, config.hidden_size)
            else:
                point = networks[label]
                network = recurrent(grid.build_cell(point, config.hidden_size, task.length))
            training = train_members(
                network,
                task,
                seeds=config.all_seeds,
                clip_norms=[config.clip_norm] * config.seeds,
                optimizer=optax.adam(config.learning_rate),
                updates=config.steps,
                eval_every=config.eval_every,
                batch_size=config.train_batch_size,
                test_size=config.test_size,
                report=_rows(config, report, kind="train", task=name, network=label),
            )
            return Learnt(name, label, training)

        return run

    return [job(name, label) for name in config.trained_tasks for label in labels]


def clipping_job(config: Config, report: Report) -> Callable[[], Clipped]:
    """Returns the work of training an exploding network with clipping and without."""

    def run() -> Clipped:
        point = grid.Point("rnn", f"radius_{config.clip_radius:g}")
        task = make_task(config, "adding")
        training = train_members(
            recurrent(grid.build_cell(point, config.hidden_size, task.length)),
            task,
            seeds=config.all_seeds * 2,
            clip_norms=[config.clip_norm] * config.seeds + [np.inf] * config.seeds,
            optimizer=optax.sgd(config.clip_learning_rate),
            updates=config.clip_steps,
            eval_every=config.eval_every,
            batch_size=config.train_batch_size,
            test_size=config.test_size,
            report=_rows(config, report, kind="clipping", task="adding", network=point.label),
        )
        return Clipped(
            *(_members(training, slice(n * config.seeds, (n + 1) * config.seeds)) for n in (0, 1))
        )

    return run


def _members(training: Training, which: slice) -> Training:
    rest = jax.tree.map(lambda leaf: leaf[which], training._replace(updates=None))
    return rest._replace(updates=training.updates)


def _rows(config: Config, report: Report, **names: str) -> Callable[..., None]:
    """Returns a function that turns the losses of the members into rows, one a member."""

    def of_test(update: int, test: np.ndarray, train: np.ndarray) -> None:
        for member, (test_loss, train_loss) in enumerate(zip(test, train, strict=True)):
            row = {
                **names,
                "seed": config.seed + member % config.seeds,
                "step": update,
                "train_loss": float(train_loss),
                "test_loss": float(test_loss),
            }
            if names["kind"] == "clipping":
                row["clipped"] = member < config.seeds
            report(row)

    return of_test
