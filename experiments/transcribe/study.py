"""What the experiment trains, and how it is judged."""

import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from experiments.functions import make_answers
from experiments.optimizer import make_step
from experiments.study import Study
from experiments.transcribe.config import Config
from experiments.transcribe.floors import fit_floors
from experiments.transcribe.model import ctc_losses, make_loss, model_functions
from experiments.transcribe.predict import save_scales
from experiments.transcribe.scoring import beam, greedy, said, scores
from experiments.transcribe.task import Task, load_task, sequences
from seqjax import data, train
from seqjax.data._ragged_sequences import RaggedBatches
from seqjax.train._files import replace_file


def prepare(config: Config, notify: Callable[[str], None] = print, *, mesh: str = "auto") -> Study:
    """Loads the data, fits the floors and makes the model."""
    task = load_task(config)
    functions = model_functions(config)
    # Other seeds string other strings together, maybe in fewer batches; one schedule is for all.
    steps_per_epoch = len(epoch_batches(config, task, seed=0, epoch=1))

    def evaluate(params: Any, batch: data.Sequences) -> tuple[jax.Array, jax.Array]:
        log_probs = functions.apply(params, batch)
        return log_probs, ctc_losses(log_probs, batch)

    step = make_step(config, make_loss(functions), steps_per_epoch, mesh)
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
        about="{}: {:,} recordings, in new strings every epoch, to train on; {:,} "
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
