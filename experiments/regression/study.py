"""What the experiment trains, and how it is judged."""

import json
from collections.abc import Callable, Sequence

import numpy as np

from experiments.optimizer import make_step
from experiments.regression.config import Config
from experiments.regression.figures import plot_errors_by_step, plot_predictions, plot_scatter
from experiments.regression.model import make_loss, make_predict, model_functions
from experiments.regression.predict import save_scales
from experiments.regression.scoring import Floors, errors_by_step, fit_floors, scores
from experiments.regression.task import Task, load_task
from experiments.study import Study
from seqjax import data, train
from seqjax.data._sequences import SequenceBatches
from seqjax.train._files import replace_file


def prepare(config: Config, notify: Callable[[str], None] = print, *, mesh: str = "auto") -> Study:
    """Loads the data, fits the floors and makes the model."""
    task = load_task(config, notify)
    floors = fit_floors(config, task)
    functions = model_functions(config, task.scales, task.num_classes, task.sample.targets.shape)
    steps_per_epoch = len(data.sequence_batches(task.sample, config.batch_size))
    step = make_step(config, make_loss(config, functions, task), steps_per_epoch, mesh)
    predict = make_predict(functions, step.mesh)
    validation = data.sequence_batches(task.validation, config.batch_size)
    test = data.sequence_batches(task.test, config.batch_size)
    tested = []  # the predictions of every seed, for the figures

    def judge(fit: train.FitResult) -> dict[str, float]:
        tested.append(predict(fit.params, test))
        found = scores(tested[-1], task.test, task.num_classes)
        names = {"mse": "mse", "mae": "mae"} if config.numeric else {"accuracy": "accuracy"}
        if not config.numeric:
            names["nll"] = "loss"
        return {f"test_{name}": found[metric] for name, metric in names.items()}

    shape = " x ".join(map(str, task.sample.inputs.shape[1:]))
    return Study(
        dataset=task.name,
        sha256=task.sha256,
        about=f"{task.name}: {len(task.sample.inputs):,} sequences of {shape} to train on, "
        f"{len(task.validation.inputs):,} to choose the epoch, {len(task.test.inputs):,} to test",
        functions=functions,
        step=step,
        batches=lambda seed, epoch: epoch_batches(config, task, seed, epoch),
        validate=lambda params: scores(
            predict(params, validation), task.validation, task.num_classes
        ),
        test=judge,
        headline="mse" if config.numeric else "accuracy",
        monitor=config.monitor,
        mode="min" if config.select == "best" else "last",
        floors=floors.values,
        question=config.path if config.task == "csv" else None,
        test_share=len(task.test.inputs) / len(task.validation.inputs),
        save=lambda path: save_scales(path, task),
        draw=lambda folder, title: draw_predictions(config, folder, title, task, tested, floors),
        alike=True,
        checkpoint_every=500,
    )


def epoch_batches(config: Config, task: Task, seed: int, epoch: int) -> SequenceBatches:
    """Returns the training batches of an epoch, which seed and epoch decide."""
    rng = np.random.default_rng([seed, epoch])
    return data.sequence_batches(task.train(seed, epoch), config.batch_size, rng)


def draw_predictions(
    config: Config,
    folder: train.RunFolder,
    title: str,
    task: Task,
    tested: Sequence[np.ndarray],
    floors: Floors,
) -> None:
    """Leaves the figures of a task whose answers are numbers, and the errors of every step."""
    if not config.numeric:
        return
    if tested[-1].ndim == 2:
        path = folder.figures / "predictions.png"
        plot_scatter(path, task.test.targets, tested[-1], title=title)
        return
    best = min(floors.values, key=lambda name: floors.values[name])
    plot_predictions(
        folder.figures / "predictions.png",
        task.test,
        tested[-1],
        (best, floors.predictions[best]),
        continues=task.scales.columns,
        names=task.target_names,
        title=title,
    )
    each = [errors_by_step(predictions, task.test) for predictions in tested]
    by_step = {"network": np.mean(each, axis=0)}
    for name, values in floors.predictions.items():
        by_step[name] = errors_by_step(values, task.test)
    plot_errors_by_step(folder.figures / "errors_by_step.png", by_step, title=title)
    replace_file(
        folder.path / "errors_by_step.json",
        json.dumps({name: values.tolist() for name, values in by_step.items()}, indent=2) + "\n",
    )
