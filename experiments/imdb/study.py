"""What the experiment trains, and how it is judged."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.batches import Batch
from experiments.imdb.config import Config
from experiments.imdb.linear import save_linear
from experiments.imdb.model import make_loss, make_predict, model_functions
from experiments.imdb.task import Task, load_task
from experiments.optimizer import make_step
from experiments.study import Study
from seqjax import train


def prepare(
    config: Config,
    notify: Callable[[str], None] = print,
    *,
    mesh: str = "auto",
    cache_dir: str | None = None,
) -> Study:
    """Loads the reviews and makes the model."""
    task = load_task(config, cache_dir, notify)
    functions = model_functions(config, len(task.vocabulary))
    steps_per_epoch = len(epoch_batches(config, task, seed=0, epoch=1))
    step = make_step(config, make_loss(functions, config.soft_labels), steps_per_epoch, mesh)
    predict = make_predict(functions, step.mesh)
    validation = task.validation.batches(config.batch_size, task.buckets)
    test = task.test.batches(config.batch_size, task.buckets)

    def save(path: Path) -> None:
        task.vocabulary.save(path / "vocabulary.json")
        if config.linear_path:
            save_linear(path / "linear.npz", task.linear)

    mixed = {"accuracy": "mixture", "nll": "mixture"} if config.linear_path else {}
    curves = ("accuracy", "accuracy_network") if mixed else ("accuracy",)

    # One rule for both parts: the sum has the weights that suit the validation part. They are two
    # numbers, so what they gain there by having seen it is far below the noise of its size.
    def validate(params: Any) -> dict[str, float]:
        answers = predict(params, validation)
        found = answers.metrics(answers.weights())
        return {name: found[name] for name in found if mixed or not name.endswith("_network")}

    def judge(fit: train.FitResult) -> dict[str, float]:
        weights = predict(fit.params, validation).weights()
        found = predict(fit.params, test).metrics(weights)
        return {
            **{f"test_{name}": value for name, value in found.items()},
            "validation_accuracy_network": fit.validation[curves[-1]],
            "network_weight": float(weights[0]),
            "linear_weight": float(weights[1]),
        }

    numbers = (len(split.labels) for split in (task.train, task.validation, task.test))
    return Study(
        dataset=task.reviews.name,
        sha256=task.reviews.sha256,
        about="{}: {:,} reviews to train on, {:,} to choose the epoch, {:,} to test; {:,} words"
        "".format(task.reviews.name, *numbers, len(task.vocabulary)),
        functions=functions,
        step=step,
        batches=lambda seed, epoch: epoch_batches(config, task, seed, epoch),
        validate=validate,
        test=judge,
        headline="accuracy",
        monitor="accuracy",
        mode="max",
        floors=task.linear.floors,
        whose=mixed,
        curves=curves,
        question="Not a masterpiece, but I laughed all the way through.",
        test_share=len(task.test.labels) / len(task.validation.labels),
        save=save,
    )


def epoch_batches(config: Config, task: Task, seed: int, epoch: int) -> Sequence[Batch]:
    """Returns the training batches of an epoch, in the order that seed and epoch decide."""
    rng = np.random.default_rng([seed, epoch])
    return task.train.batches(config.batch_size, task.buckets, rng)
