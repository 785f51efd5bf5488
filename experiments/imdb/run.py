"""One run of the sentiment experiment: `run(config) -> Result`."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.imdb.config import Config
from experiments.imdb.linear import save_linear
from experiments.imdb.model import make_loss, make_predict, model_functions
from experiments.imdb.task import Task, load_task
from experiments.optimizer import make_optimizer
from experiments.study import Result, Study, run_study
from seqjax import train
from seqjax.data._batching import Batch


def run(
    config: Config,
    *,
    workdir: str | Path | None = None,
    resume: bool = False,
    mesh: str = "auto",
    cache_dir: str | None = None,
    notify: Callable[[str], None] = print,
) -> Result:
    """Trains every seed, tests each once at its selected epoch, and leaves the run folder.

    Args:
      config: the settings.
      workdir: the run folder; `runs/imdb/<cell>-<hash of the settings>` by default.
      resume: whether a run begun there is continued; without it one is refused.
      mesh: how devices share the work, as `--mesh` says it; see `seqjax.train.data_mesh`.
      cache_dir: where encodings and floors are kept; `~/.cache/seqjax` by default.
      notify: receives the lines of the report.

    Returns:
      The run folder and its result.

    Raises:
      DataError: if the data is missing or damaged.
      RunError: if the folder holds a run that may not be continued.

    Example:
      >>> from experiments import imdb
      >>> config = imdb.configure(dataset="generated_reviews", seeds=1, epochs=1)
      >>> result = imdb.run(config).result  # doctest: +SKIP
    """
    return run_study(
        "imdb",
        config,
        functools.partial(prepare, cache_dir=cache_dir),
        workdir=workdir,
        resume=resume,
        mesh=mesh,
        notify=notify,
    )


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
    num_steps = steps_per_epoch * config.epochs
    step = train.make_train_step(
        make_loss(functions, config.soft_labels),
        make_optimizer(config, num_steps),
        ema_decay=config.ema_decay or None,
        mesh=train.data_mesh(config.batch_size, mesh),
    )
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
