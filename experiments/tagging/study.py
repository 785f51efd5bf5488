"""What the experiment trains, and how it is judged."""

from collections.abc import Callable, Sequence

import numpy as np

from experiments import per_class
from experiments.optimizer import make_step
from experiments.study import Study
from experiments.tagging.config import Config
from experiments.tagging.model import make_loss, make_predict, model_functions
from experiments.tagging.task import Batch, Task, load_task, make_batches
from seqjax import floors, train
from seqjax.data._conllu import TaggedSplits


def prepare(config: Config, notify: Callable[[str], None] = print, *, mesh: str = "auto") -> Study:
    """Loads the sentences and makes the model."""
    task = load_task(config)
    tags = task.vocabulary.tags
    functions = model_functions(config, task.vocabulary.sizes)
    steps_per_epoch = len(epoch_batches(config, task, seed=0, epoch=1))
    step = make_step(config, make_loss(functions), steps_per_epoch, mesh)
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
