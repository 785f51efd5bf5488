"""What the experiment trains, and how it is judged."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from experiments import per_class
from experiments.classify import inputs
from experiments.classify.config import Config
from experiments.classify.model import make_loss, model_functions
from experiments.classify.scoring import fit_floors, scores
from experiments.classify.task import Task, load_task
from experiments.classify.ts_files import ts_paths
from experiments.functions import make_answers
from experiments.optimizer import make_step
from experiments.study import Study
from seqjax import data, train
from seqjax.data._ragged_sequences import RaggedBatches

MODES: dict[str, Literal["max", "min", "last"]] = {
    "loss": "min", "accuracy": "max", "last": "last",
}  # fmt: skip


def prepare(config: Config, notify: Callable[[str], None] = print, *, mesh: str = "auto") -> Study:
    """Loads the data, fits the floors and makes the model."""
    task = load_task(config, notify)
    functions = model_functions(config, task.inputs)
    steps_per_epoch = len(epoch_batches(config, task, seed=0, epoch=1))
    step = make_step(config, make_loss(functions, config.label_smoothing), steps_per_epoch, mesh)
    answer = make_answers(functions.apply, step.mesh)
    validation, test = (
        data.ragged_batches(part, config.batch_size, task.buckets)
        for part in (task.validation, task.test)
    )
    tested = []  # truth and answers of every seed, counted
    classes = task.inputs.classes

    def judge(fit: train.FitResult) -> dict[str, float]:
        from sklearn import metrics

        logits = np.stack(answer(fit.params, test))
        labels = range(len(classes))
        tested.append(metrics.confusion_matrix(task.test.targets, logits.argmax(-1), labels=labels))
        found = scores(logits, task.test.targets)
        return {
            "test_accuracy": found["accuracy"],
            "test_balanced_accuracy": found["balanced_accuracy"],
            "test_nll": found["loss"],
        }

    def draw(folder: train.RunFolder, title: str) -> None:
        notify(
            per_class.write_report(
                folder, title, np.sum(tested, axis=0), classes, seeds=config.seeds
            )
        )

    numbers = (len(part.targets) for part in (task.train, task.validation, task.test))
    return Study(
        dataset=task.name,
        sha256=task.sha256,
        about="{}: {:,} sequences to train on, {:,} to choose the epoch, {:,} to test; {} classes; "
        "{} to {} steps".format(
            task.name,
            *numbers,
            len(classes),
            min(task.train.lengths),
            max(task.train.lengths),
        ),
        functions=functions,
        step=step,
        batches=lambda seed, epoch: epoch_batches(config, task, seed, epoch),
        validate=lambda params: scores(
            np.stack(answer(params, validation)), task.validation.targets
        ),
        test=judge,
        headline="accuracy",
        monitor="loss" if config.select == "loss" else "accuracy",
        mode=MODES[config.select],
        floors=fit_floors(task),
        question=question(config, task),
        test_share=len(task.test.targets) / len(task.validation.targets),
        save=task.inputs.save,
        draw=draw,
        alike=len(task.buckets) == 1,
        checkpoint_every=500,
    )


def question(config: Config, task: Task) -> str:
    """Returns an example of what `--predict` takes."""
    match task.inputs.kind:
        case inputs.ROWS:
            return str(ts_paths(str(config.path))[-1] if config.task == "ts" else config.path)
        case inputs.SOUND:
            return "recording.wav"
        case inputs.DNA:
            return ("ACGT" * (task.inputs.steps or 40))[: task.inputs.steps or 40]
    return "a text of a few words"


def epoch_batches(config: Config, task: Task, seed: int, epoch: int) -> RaggedBatches:
    """Returns the training batches of an epoch, in the order that seed and epoch decide."""
    rng = np.random.default_rng([seed, epoch])
    return data.ragged_batches(task.train, config.batch_size, task.buckets, rng)
