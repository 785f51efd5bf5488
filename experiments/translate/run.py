"""One run of the translation experiment: `run(config) -> Result`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.functions import Functions
from experiments.optimizer import make_optimizer
from experiments.study import Result, Study, run_study
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


def run(
    config: Config,
    *,
    workdir: str | Path | None = None,
    resume: bool = False,
    mesh: str = "auto",
    notify: Callable[[str], None] = print,
) -> Result:
    """Trains every seed, tests each once at its selected epoch, and leaves the run folder.

    Beside what every run leaves (docs/howto/runs.md) there are `translations.txt`, the first seed's
    translation of each test source, a line each, and pictures of what it looked at.

    Args:
      config: the settings; see `configure`.
      workdir: the run folder; `runs/translate/<cell>-<hash of the settings>` by default.
      resume: whether a run begun there is continued; without it one is refused.
      mesh: how devices share the work, as `--mesh` says it; see `seqjax.train.data_mesh`.
      notify: receives the lines of the report.

    Returns:
      The run folder and its result.

    Raises:
      DataError: if the data is missing or damaged.
      RunError: if the folder holds a run that may not be continued, or training diverges.

    Example:
      >>> from experiments import translate
      >>> config = translate.configure(task="generated", epochs=1)
      >>> result = translate.run(config).result  # doctest: +SKIP
    """
    return run_study(
        "translate",
        config,
        prepare,
        workdir=workdir,
        resume=resume,
        mesh=mesh,
        notify=notify,
    )


def prepare(config: Config, notify: Callable[[str], None] = print, *, mesh: str = "auto") -> Study:
    """Loads the pairs, fits the floors and makes the model."""
    task = load_task(config)
    if config.task == "generated":
        notify("Translating a made-up language; real text needs --data_dir or --task=folder.")
    functions = model_functions(config, len(task.source), len(task.target))
    num_steps = len(epoch_batches(config, task, seed=0, epoch=1)) * config.epochs
    step = train.make_train_step(
        make_loss(config, functions),
        make_optimizer(config, num_steps),
        ema_decay=config.ema_decay or None,
        mesh=train.data_mesh(config.batch_size, mesh),
    )
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
