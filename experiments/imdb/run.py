"""One run of the sentiment experiment: `run(config) -> Result`."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.imdb.config import Config
from experiments.imdb.linear import save_linear
from experiments.imdb.model import lazy_reads, make_functions, make_loss, make_predict
from experiments.imdb.report import command, preview, results_table
from experiments.imdb.task import Task, load_task
from experiments.optimizer import make_lazy_tables, make_optimizer
from seqjax import data, train


class Result(NamedTuple):
    """What a run came to.

    Attributes:
      path: the run folder.
      result: the content of `result.json`.
    """

    path: Path
    result: dict[str, Any]


def run(
    config: Config,
    *,
    workdir: str | Path | None = None,
    resume: bool = False,
    cache_dir: str | None = None,
    notify: Callable[[str], None] = print,
) -> Result:
    """Trains every seed, tests each once at its selected epoch, and leaves the run folder.

    Args:
      config: the settings.
      workdir: the run folder; `runs/imdb/<cell>-<hash of the settings>` by default.
      resume: whether a run begun there is continued; without it one is refused.
      cache_dir: where encodings and floors are kept; `~/.cache/seqjax` by default.
      notify: receives the lines of the report.

    Returns:
      The run folder and its result.

    Raises:
      DataError: if the data is missing or damaged.
      RunError: if the folder holds a run that may not be continued.

    Example:
      >>> from experiments import imdb
      >>> config = imdb.Config(dataset="generated_reviews", seeds=1, epochs=1)
      >>> result = imdb.run(config).result  # doctest: +SKIP
    """
    settings = dataclasses.asdict(config)
    path = Path(workdir or train.default_workdir("imdb", config.cell, settings))
    folder = train.open_run(path, settings, resume=resume)
    if folder.finished:
        notify(f"The run in {path} has finished already.")
        return Result(path, folder.result())

    task = load_task(config, cache_dir, notify)
    task.vocabulary.save(path / "vocabulary.json")
    if config.linear_path:
        save_linear(path / "linear.npz", task.linear)
    functions = make_functions(config, len(task.vocabulary))
    steps_per_epoch = len(epoch_batches(config, task, config.seed, epoch=1))
    num_steps = steps_per_epoch * config.epochs
    reads = lazy_reads(config, len(task.vocabulary), config.batch_size * max(task.buckets))
    step = train.make_train_step(
        make_loss(functions, config.soft_labels),
        make_optimizer(config, num_steps),
        ema_decay=config.ema_decay or None,
        mesh=train.data_mesh(config.batch_size),
        tables=make_lazy_tables(config, num_steps, reads),
    )
    predict = make_predict(functions, step.mesh)
    validation = task.validation.batches(config.batch_size, task.buckets)
    test = task.test.batches(config.batch_size, task.buckets)
    notify(preview(config, task, functions, step, path))

    fits, stacked, tests = [], [], []
    for seed in range(config.seed, config.seed + config.seeds):
        init_key, train_key = jax.random.split(jax.random.key(seed))
        fit = train.fit(
            step,
            functions.init(init_key),
            lambda epoch, seed=seed: epoch_batches(config, task, seed, epoch),
            lambda params: predict(params, validation).metrics((1.0, 1.0)),
            key=train_key,
            run=folder,
            seed=seed,
            epochs=config.epochs,
            monitor="accuracy",
            patience=config.patience,
            checkpoint_every=200,
        )
        fits.append(fit)
        stacked.append(predict(fit.params, validation).weights())
        tests.append(predict(fit.params, test).metrics(stacked[-1]))
        notify(
            f"seed {seed}: test accuracy {tests[-1]['accuracy']:.4f}, the network alone "
            f"{tests[-1]['network_accuracy']:.4f}, at epoch {fit.best_epoch} "
            f"(validation {fit.validation['accuracy']:.4f}), {fit.wall_s:.0f} s"
        )

    best_epochs = {config.seed + i: fit.best_epoch for i, fit in enumerate(fits)}
    figure = folder.figures / "training.png"
    train.plot_training(folder.metrics(), figure, best_epochs=best_epochs)
    result = {
        "experiment": "imdb",
        "cell": config.cell,
        "dataset": task.reviews.name,
        "num_params": functions.num_params,
        "seeds": config.seeds,
        "epochs_run": max(fit.epochs_run for fit in fits),
        "wall_s": round(sum(fit.wall_s for fit in fits), 1),
        "versions": train.versions(),
        "devices": train.devices(),
        "data_sha256": task.reviews.sha256,
        "params_sha256": train.params_sha256([fit.params for fit in fits]),
        "floors": task.linear.floors,
        "metrics": {
            "test_accuracy": train.summarise([t["accuracy"] for t in tests]),
            "test_accuracy_network": train.summarise([t["network_accuracy"] for t in tests]),
            "test_nll": train.summarise([t["loss"] for t in tests]),
            "network_weight": train.summarise([weights[0] for weights in stacked]),
            "linear_weight": train.summarise([weights[1] for weights in stacked]),
            "validation_accuracy": train.summarise([fit.validation["accuracy"] for fit in fits]),
            "selected_epoch": train.summarise([fit.best_epoch for fit in fits]),
            "seed_wall_s": train.summarise([fit.wall_s for fit in fits]),
        },
    }
    written = folder.write_result(result)
    train.write_summary(folder, command=command(config))
    notify(results_table(result))
    notify(f"test_accuracy {result['metrics']['test_accuracy']['mean']:.4f} {written}")
    return Result(path, result)


def epoch_batches(config: Config, task: Task, seed: int, epoch: int) -> Sequence[data.Batch]:
    """Returns the training batches of an epoch, in the order that seed and epoch decide."""
    rng = np.random.default_rng([seed, epoch])
    return task.train.batches(config.batch_size, task.buckets, rng)
