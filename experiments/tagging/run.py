"""One run of the tagging experiment: `run(config) -> Result`."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from experiments import per_class
from experiments.optimizer import make_optimizer
from experiments.study import Result, Study, run_study
from experiments.tagging.config import Config
from experiments.tagging.model import make_loss, make_predict, model_functions
from experiments.tagging.task import Batch, Task, load_task, make_batches
from seqjax import floors, train
from seqjax.data._conllu import TaggedSplits


def run(
    config: Config,
    *,
    workdir: str | Path | None = None,
    resume: bool = False,
    mesh: str = "auto",
    notify: Callable[[str], None] = print,
) -> Result:
    """Trains every seed, tests each once at its selected epoch, and leaves the run folder.

    Beside what every run leaves (docs/howto/runs.md) there are `vocabulary.json`, and `report.md`,
    `report.json` and a figure of how every tag of the test part fared.

    Args:
      config: the settings.
      workdir: the run folder; `runs/tagging/<cell>-<hash of the settings>` by default.
      resume: whether a run begun there is continued; without it one is refused.
      mesh: how devices share the work, as `--mesh` says it; see `seqjax.train.data_mesh`.
      notify: receives the lines of the report.

    Returns:
      The run folder and its result.

    Raises:
      DataError: if the data is missing or damaged.
      RunError: if the folder holds a run that may not be continued, or training diverges.

    Example:
      >>> from experiments import tagging
      >>> config = tagging.configure(task="generated", seeds=1, epochs=1)
      >>> result = tagging.run(config).result  # doctest: +SKIP
    """
    return run_study(
        "tagging",
        config,
        prepare,
        workdir=workdir,
        resume=resume,
        mesh=mesh,
        notify=notify,
    )


def prepare(config: Config, notify: Callable[[str], None] = print, *, mesh: str = "auto") -> Study:
    """Loads the sentences and makes the model."""
    task = load_task(config)
    tags = task.vocabulary.tags
    functions = model_functions(config, task.vocabulary.sizes)
    steps_per_epoch = len(epoch_batches(config, task, seed=0, epoch=1))
    step = train.make_train_step(
        make_loss(functions),
        make_optimizer(config, steps_per_epoch * config.epochs),
        ema_decay=config.ema_decay or None,
        mesh=train.data_mesh(config.batch_size, mesh),
    )
    predict = make_predict(functions, step.mesh)
    validation = make_batches(task.validation, config.batch_size, task.buckets)
    test = make_batches(task.test, config.batch_size, task.buckets)
    tested = []  # truth and prediction of every seed, counted

    def judge(fit: train.FitResult) -> dict[str, float]:
        from sklearn import metrics

        judged = predict(fit.params, test)
        labels = range(len(tags))
        tested.append(metrics.confusion_matrix(judged.truth, judged.predicted, labels=labels))
        return {f"test_{name}": value for name, value in judged.metrics().items()}

    def draw(folder: train.RunFolder, title: str) -> None:
        notify(
            per_class.write_report(folder, title, np.sum(tested, axis=0), tags, seeds=config.seeds)
        )

    splits = task.splits
    numbers = [len(part) for part in splits[1:]]
    return Study(
        dataset=splits.name,
        sha256=splits.sha256,
        about="{}: {:,} sentences to train on, {:,} to choose the epoch, {:,} to test; {:,} words, "
        "{} tags".format(splits.name, *numbers, len(task.vocabulary.words), len(tags)),
        functions=functions,
        step=step,
        batches=lambda seed, epoch: epoch_batches(config, task, seed, epoch),
        validate=lambda params: predict(params, validation).metrics(),
        test=judge,
        headline="accuracy",
        monitor="accuracy",
        mode="max" if config.select == "best" else "last",
        floors=count_floors(splits),
        question="The cat sat on the mat.",
        test_share=numbers[2] / numbers[1],
        save=task.vocabulary.save,
        draw=draw,
        checkpoint_every=500,
    )


def epoch_batches(config: Config, task: Task, seed: int, epoch: int) -> Sequence[Batch]:
    """Returns the training batches of an epoch, in the order that seed and epoch decide."""
    rng = np.random.default_rng([seed, epoch])
    return make_batches(task.train, config.batch_size, task.buckets, rng)


def count_floors(splits: TaggedSplits) -> dict[str, float]:
    """Returns the test accuracy of what looks at no neighbour."""
    lexicon = floors.fit_tag_lexicon(splits.train)
    pairs = [pair for sentence in splits.test for pair in zip(*sentence, strict=True)]
    return {
        "majority": float(np.mean([tag == lexicon.majority for _, tag in pairs])),
        "most_frequent_tag": float(np.mean([lexicon.tag(word) == tag for word, tag in pairs])),
    }
