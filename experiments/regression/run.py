"""One run of the regression experiment: `run(config) -> Result`."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.optimizer import make_optimizer
from experiments.regression.config import Config
from experiments.regression.figures import plot_errors_by_step, plot_predictions, plot_scatter
from experiments.regression.model import (
    make_functions,
    make_loss,
    make_predict,
)
from experiments.regression.predict import save_scales
from experiments.regression.report import command, preview, results_table
from experiments.regression.scoring import Floors, errors_by_step, fit_floors, scores
from experiments.regression.task import Task, load_task
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
    notify: Callable[[str], None] = print,
) -> Result:
    """Trains every seed, tests each once at its selected epoch, and leaves the run folder.

    Beside what every run leaves (docs/design.md) there are `errors_by_step.json`, the squared
    error of each step of an answer that has steps, and figures of it and of some forecasts.

    Args:
      config: the settings; see `configure`.
      workdir: the run folder; `runs/regression/<cell>-<hash of the settings>` by default.
      resume: whether a run begun there is continued; without it one is refused.
      notify: receives the lines of the report.

    Returns:
      The run folder and its result.

    Raises:
      DataError: if the data is missing, damaged or too short.
      RunError: if the folder holds a run that may not be continued, or training diverges.

    Example:
      >>> from experiments import regression
      >>> config = regression.configure(task="sine", seeds=1, epochs=1)
      >>> result = regression.run(config).result  # doctest: +SKIP
    """
    settings = dataclasses.asdict(config)
    path = Path(workdir or train.default_workdir("regression", config.cell, settings))
    task = None if (path / "result.json").exists() else load_task(config)
    folder = train.open_run(path, settings, resume=resume)
    if task is None or folder.finished:
        notify(f"The run in {path} has finished already.")
        return Result(path, folder.result())

    floors = fit_floors(config, task)
    save_scales(path, task)
    functions = make_functions(config, task)
    steps_per_epoch = len(data.sequence_batches(task.sample, config.batch_size))
    step = train.make_train_step(
        make_loss(config, functions, task),
        make_optimizer(config, steps_per_epoch * config.epochs),
        ema_decay=config.ema_decay or None,
        mesh=train.data_mesh(config.batch_size),
    )
    predict = make_predict(functions, step.mesh)
    validation = data.sequence_batches(task.validation, config.batch_size)
    test = data.sequence_batches(task.test, config.batch_size)
    notify(preview(config, task, functions, step, path))

    headline = "mse" if config.numeric else "accuracy"
    fits, tests, predictions = [], [], None
    errors: dict[str, list[np.ndarray]] = {}
    for seed in range(config.seed, config.seed + config.seeds):
        init_key, train_key = jax.random.split(jax.random.key(seed))
        fit = train.fit(
            step,
            functions.init(init_key),
            lambda epoch, seed=seed: epoch_batches(config, task, seed, epoch),
            lambda params: scores(predict(params, validation), task.validation, task.num_classes),
            key=train_key,
            run=folder,
            seed=seed,
            epochs=config.epochs,
            monitor=config.monitor,
            mode="min",
            patience=config.patience,
            checkpoint_every=500,
        )
        fits.append(fit)
        predictions = predict(fit.params, test)
        tests.append(scores(predictions, task.test, task.num_classes))
        if predictions.ndim == 3:
            errors.setdefault("network", []).append(errors_by_step(predictions, task.test))
        notify(
            f"seed {seed}: test {headline} {tests[-1][headline]:.4g}, at epoch {fit.best_epoch} "
            f"(validation {config.monitor} {fit.validation[config.monitor]:.4g}), "
            f"{fit.wall_s:.0f} s"
        )

    best_epochs = {config.seed + i: fit.best_epoch for i, fit in enumerate(fits)}
    train.plot_training(
        folder.metrics(), folder.figures / "training.png", metric=headline, best_epochs=best_epochs
    )
    if predictions is not None and config.numeric:
        draw_predictions(folder, task, predictions, floors, errors)
    metrics = {
        f"test_{name}": train.summarise([test[name] for test in tests])
        for name in ((headline, "mae") if config.numeric else (headline,))
    }
    if not config.numeric:
        metrics["test_nll"] = train.summarise([test["loss"] for test in tests])
    result = {
        "experiment": "regression",
        "cell": config.cell,
        "dataset": task.name,
        "num_params": functions.num_params,
        "seeds": config.seeds,
        "epochs_run": max(fit.epochs_run for fit in fits),
        "wall_s": round(sum(fit.wall_s for fit in fits), 1),
        "versions": train.versions(),
        "devices": train.devices(),
        "data_sha256": task.sha256,
        "params_sha256": train.params_sha256([fit.params for fit in fits]),
        "floors": floors.values,
        "metrics": {
            **metrics,
            f"validation_{headline}": train.summarise([fit.validation[headline] for fit in fits]),
            "selected_epoch": train.summarise([fit.best_epoch for fit in fits]),
            "seed_wall_s": train.summarise([fit.wall_s for fit in fits]),
        },
    }
    written = folder.write_result(result)
    train.write_summary(folder, command=command(config))
    notify(results_table(result, f"test_{headline}"))
    notify(f"test_{headline} {result['metrics'][f'test_{headline}']['mean']:.6g} {written}")
    return Result(path, result)


def epoch_batches(config: Config, task: Task, seed: int, epoch: int) -> data.SequenceBatches:
    """Returns the training batches of an epoch, which seed and epoch decide."""
    rng = np.random.default_rng([seed, epoch])
    return data.sequence_batches(task.train(seed, epoch), config.batch_size, rng)


def draw_predictions(
    folder: train.RunFolder,
    task: Task,
    predictions: np.ndarray,
    floors: Floors,
    errors: dict[str, list[np.ndarray]],
) -> None:
    """Leaves the figures of a task whose answers are numbers, and the errors of every step."""
    if predictions.ndim == 2:
        plot_scatter(folder.figures / "predictions.png", task.test.targets, predictions)
        return
    best = min(floors.values, key=lambda name: floors.values[name])
    plot_predictions(
        folder.figures / "predictions.png",
        task.test,
        predictions,
        (best, floors.predictions[best]),
        continues=task.scales.columns,
        names=task.target_names,
    )
    by_step = {name: np.mean(values, axis=0) for name, values in errors.items()}
    for name, values in floors.predictions.items():
        by_step[name] = errors_by_step(values, task.test)
    plot_errors_by_step(folder.figures / "errors_by_step.png", by_step)
    train.replace_file(
        folder.path / "errors_by_step.json",
        json.dumps({name: values.tolist() for name, values in by_step.items()}, indent=2) + "\n",
    )
