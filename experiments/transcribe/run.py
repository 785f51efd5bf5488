"""One run of the transcription experiment: `run(config) -> Result`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.functions import make_answers
from experiments.optimizer import make_optimizer
from experiments.study import Result, Study, run_study
from experiments.transcribe.config import Config
from experiments.transcribe.floors import fit_floors
from experiments.transcribe.model import ctc_losses, make_loss, model_functions
from experiments.transcribe.predict import save_scales
from experiments.transcribe.scoring import beam, greedy, said, scores
from experiments.transcribe.task import Task, load_task, sequences
from seqjax import data, train
from seqjax.data._ragged_sequences import RaggedBatches
from seqjax.train._files import replace_file


def run(
    config: Config,
    *,
    workdir: str | Path | None = None,
    resume: bool = False,
    mesh: str = "auto",
    notify: Callable[[str], None] = print,
) -> Result:
    """Trains every seed, tests each once at its selected epoch, and leaves the run folder.

    Beside what every run leaves (docs/howto/runs.md) there are `transcriptions.json`, the digits of
    every test string and those that each seed heard, and `scales.json`, which predicting needs.

    Args:
      config: the settings; see `configure`.
      workdir: the run folder; `runs/transcribe/<cell>-<hash of the settings>` by default.
      resume: whether a run begun there is continued; without it one is refused.
      mesh: how devices share the work, as `--mesh` says it; see `seqjax.train.data_mesh`.
      notify: receives the lines of the report.

    Returns:
      The run folder and its result.

    Raises:
      DataError: if the data is missing or damaged.
      RunError: if the folder holds a run that may not be continued, or training diverges.

    Example:
      >>> from experiments import transcribe
      >>> config = transcribe.configure(task="generated", seeds=1, epochs=1)
      >>> result = transcribe.run(config).result  # doctest: +SKIP
    """
    return run_study(
        "transcribe",
        config,
        prepare,
        workdir=workdir,
        resume=resume,
        mesh=mesh,
        notify=notify,
    )


def prepare(config: Config, notify: Callable[[str], None] = print, *, mesh: str = "auto") -> Study:
    """Loads the data, fits the floors and makes the model."""
    task = load_task(config)
    functions = model_functions(config)
    # Other seeds string other strings together, maybe in fewer batches; one schedule is for all.
    steps_per_epoch = len(epoch_batches(config, task, seed=0, epoch=1))

    def evaluate(params: Any, batch: data.Sequences) -> tuple[jax.Array, jax.Array]:
        log_probs = functions.apply(params, batch)
        return log_probs, ctc_losses(log_probs, batch)

    step = train.make_train_step(
        make_loss(functions),
        make_optimizer(config, steps_per_epoch * config.epochs),
        ema_decay=config.ema_decay or None,
        mesh=train.data_mesh(config.batch_size, mesh),
    )
    answer = make_answers(evaluate, step.mesh)
    validation, test = (
        sequences(config, task.scales, strings) for strings in (task.validation, task.test)
    )
    heard = []  # of every seed

    def read(params: Any, part: data.RaggedSequences) -> tuple[list[np.ndarray], float]:
        rows = answer(params, data.ragged_batches(part, config.batch_size, task.buckets))
        log_probs = [
            steps[:length] for (steps, _), length in zip(rows, part.lengths.tolist(), strict=True)
        ]
        return log_probs, float(np.mean([loss for _, loss in rows]))

    def validate(params: Any) -> dict[str, float]:
        log_probs, loss = read(params, validation)
        found = scores(greedy(log_probs), said(validation.targets))
        return {**{f"{name}_greedy": value for name, value in found.items()}, "loss": loss}

    def judge(fit: train.FitResult) -> dict[str, float]:
        (found, loss), truth = read(fit.params, test), said(test.targets)
        heard.append(beam(found, config.beam_width))
        searched, plain = scores(heard[-1], truth), scores(greedy(found), truth)
        held_out = beam(read(fit.params, validation)[0], config.beam_width)  # scored as the test is
        return {
            "test_digit_error_rate": searched["digit_error_rate"],
            "test_string_accuracy": searched["string_accuracy"],
            "test_digit_error_rate_greedy": plain["digit_error_rate"],
            "test_string_accuracy_greedy": plain["string_accuracy"],
            "test_nll": loss,
            "validation_digit_error_rate": scores(held_out, said(validation.targets))[
                "digit_error_rate"
            ],
        }

    def draw(folder: train.RunFolder, title: str) -> None:
        records = [
            {"truth": truth, "heard": list(answers)}
            for truth, *answers in zip(said(test.targets), *heard, strict=True)
        ]
        lines = ",\n".join(json.dumps(record) for record in records)
        replace_file(folder.path / "transcriptions.json", f"[\n{lines}\n]\n")

    parts = (task.recordings.train.samples, task.validation.samples, task.test.samples)
    return Study(
        dataset=task.name,
        sha256=task.sha256,
        about="{}: {:,} recordings, strung together anew for every epoch, to train on; {:,} "
        "strings to choose the epoch, {:,} to test; at most {} digits".format(
            task.name, *map(len, parts), config.max_digits
        ),
        functions=functions,
        step=step,
        batches=lambda seed, epoch: epoch_batches(config, task, seed, epoch),
        validate=validate,
        test=judge,
        headline="digit_error_rate",
        monitor="loss" if config.select == "loss" else "digit_error_rate_greedy",
        mode="last" if config.select == "last" else "min",
        floors=fit_floors(config, task),
        curves=("digit_error_rate_greedy",),
        question="recording.wav",
        test_share=len(task.test.samples) / len(task.validation.samples),
        save=lambda path: save_scales(path, task.scales),
        draw=draw,
        checkpoint_every=500,
    )


def epoch_batches(config: Config, task: Task, seed: int, epoch: int) -> RaggedBatches:
    """Returns the training batches of an epoch, whose strings and order seed and epoch decide."""
    strings = sequences(config, task.scales, task.train(seed, epoch))
    rng = np.random.default_rng([seed, epoch])
    return data.ragged_batches(strings, config.batch_size, task.buckets, rng)
