"""What the experiment trains, and how it is judged."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.functions import Functions
from experiments.optimizer import make_step
from experiments.study import Study
from experiments.translate.config import Config
from experiments.translate.figures import plot_attention
from experiments.translate.model import (
    attention_weights,
    make_loss,
    make_nll,
    make_translate,
    model_functions,
)
from experiments.translate.scoring import bleu, floor_scores
from experiments.translate.task import Encoded, Task, load_task, save_vocabularies, source_batches
from seqjax import data, train
from seqjax.data._pair_batching import PairBatch
from seqjax.data._subwords import END_ID
from seqjax.train._files import replace_file

_PICTURES = 4


def prepare(config: Config, notify: Callable[[str], None] = print, *, mesh: str = "auto") -> Study:
    """Loads the pairs, fits the floors and makes the model."""
    task = load_task(config)
    if config.task == "generated":
        notify("Translating a made-up language; real text needs --data_dir or --task=folder.")
    functions = model_functions(config, len(task.source), len(task.target))
    steps_per_epoch = len(epoch_batches(config, task, seed=0, epoch=1))
    step = make_step(config, make_loss(config, functions), steps_per_epoch, mesh)
    nll = make_nll(functions, step.mesh)
    greedy = make_translate(functions, step.mesh, width=1, alpha=0.0)
    beam = make_translate(
        functions, step.mesh, width=config.beam_width, alpha=config.length_penalty
    )
    tested: list[tuple[Any, list[np.ndarray]]] = []  # of every seed, for the files it leaves

    def score(search, params: Any, part: Encoded, references: Sequence[str]):
        ids = search(
            [params], source_batches(part.sources, config.batch_size, min(2, config.target_buckets))
        )
        return ids, bleu([task.target.decode(row) for row in ids], references)

    def validation_bleu(search, params: Any) -> float:
        shown = slice(None, config.bleu_sentences)
        part = Encoded(*(side[shown] for side in task.validation))
        return score(search, params, part, task.text.validation.targets[shown])[1]

    def validate(params: Any) -> dict[str, float]:
        loss = nll(params, all_batches(config, task, task.validation))
        return {"loss": loss, "bleu_greedy": validation_bleu(greedy, params)}

    def judge(fit: train.FitResult) -> dict[str, float]:
        references = task.text.test.targets
        ids, best = score(beam, fit.params, task.test, references)
        tested.append((fit.params, ids))
        return {
            "test_bleu": best,
            "test_bleu_greedy": score(greedy, fit.params, task.test, references)[1],
            "test_nll": nll(fit.params, all_batches(config, task, task.test)),
            "validation_bleu": validation_bleu(beam, fit.params),  # scored as the test is
        }

    numbers = [len(part.sources) for part in (task.train, task.validation, task.test)]
    return Study(
        dataset=task.text.name,
        sha256=task.text.sha256,
        about="{}: {:,} pairs to train on, {:,} to choose the epoch, {:,} to test; {:,} and {:,} "
        "tokens in the vocabularies".format(
            task.text.name, *numbers, len(task.source), len(task.target)
        ),
        functions=functions,
        step=step,
        batches=lambda seed, epoch: epoch_batches(config, task, seed, epoch),
        validate=validate,
        test=judge,
        headline="bleu",
        monitor="loss" if config.monitor == "loss" else "bleu_greedy",
        mode="min" if config.monitor == "loss" else "max",
        floors=floor_scores(task.text),
        curves=("bleu_greedy",),
        question=task.text.test.sources[0],
        test_share=numbers[2] / numbers[1],
        save=lambda path: save_vocabularies(path, task),
        draw=lambda folder, title: leave_translations(folder, title, task, functions, *tested[0]),
    )


def epoch_batches(config: Config, task: Task, seed: int, epoch: int) -> Sequence[PairBatch]:
    """Returns the training batches of an epoch, in the order that seed and epoch decide."""
    rng = np.random.default_rng([seed, epoch])
    return data.pair_batches(*task.train, config.batch_size, task.buckets, rng=rng)


def all_batches(config: Config, task: Task, part: Encoded) -> Sequence[PairBatch]:
    """Returns the batches of a part that is not trained on."""
    return data.pair_batches(*part, config.batch_size, task.buckets, rng=None)


def leave_translations(
    folder: train.RunFolder,
    title: str,
    task: Task,
    functions: Functions,
    params: Any,
    ids: list[np.ndarray],
) -> None:
    """Writes the translations of the test part, and draws what was looked at for some of them."""
    lines = [task.target.decode(row) for row in ids]
    replace_file(folder.path / "translations.txt", "".join(f"{line}\n" for line in lines))
    examples = []
    for row in np.linspace(0, len(ids) - 1, min(_PICTURES, len(ids))).astype(int):
        source, target = task.test.sources[row], ids[row]
        target = target[: 1 + int(np.argmax(target == END_ID))]
        weights = attention_weights(functions, params, source, target)
        examples.append((weights, task.target.pieces(target), task.source.pieces(source)))
    plot_attention(folder.figures / "attention.png", examples, title=title)
