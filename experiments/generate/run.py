"""One run of the generation experiment: `run(config) -> Result`."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from experiments.functions import Functions
from experiments.generate.config import Config
from experiments.generate.midi import midi_bytes
from experiments.generate.model import make_judge, make_loss, model_functions, zero_state
from experiments.generate.predict import save_alphabet
from experiments.generate.sampling import music_sample, text_stream
from experiments.generate.task import Task, load_task
from experiments.optimizer import make_optimizer
from experiments.study import Result, Study, run_study
from seqjax import data, train
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

    Beside what every run leaves (docs/howto/runs.md) there is a sample of the first seed:
    `sample.txt` of a text, `sample.mid` of music.

    Args:
      config: the settings; see `configure`.
      workdir: the run folder; `runs/generate/<cell>-<hash of the settings>` by default.
      resume: whether a run begun there is continued; without it one is refused.
      mesh: how devices share the work, as `--mesh` says it; see `seqjax.train.data_mesh`.
      notify: receives the lines of the report.

    Returns:
      The run folder and its result. `test_nll` is in nats a character, or a step of music summed
      over its notes; of a text there is also `test_bits_per_character`.

    Raises:
      DataError: if the data is missing, damaged or too short.
      RunError: if the folder holds a run that may not be continued, or training diverges.

    Example:
      >>> from experiments import generate
      >>> config = generate.configure(task="generated_text", seeds=1, epochs=1)
      >>> result = generate.run(config).result  # doctest: +SKIP
    """
    return run_study(
        "generate",
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
    functions = model_functions(config, task.num_kinds)
    first = epoch_segments(config, task, seed=0, epoch=1)
    step = train.make_train_step(
        make_loss(functions),
        make_optimizer(config, len(first) * config.epochs),
        ema_decay=config.ema_decay or None,
        mesh=train.data_mesh(config.batch_size, mesh),
        carry=zero_state(functions, first[0]),
    )
    judge = make_judge(functions, step.mesh)
    learnt = []  # the parameters of every seed, for the sample

    def test(fit: train.FitResult) -> dict[str, float]:
        learnt.append(fit.params)
        nll = judge(fit.params, task.test)
        bits = {"test_bits_per_character": nll / math.log(2)} if config.text else {}
        return {"test_nll": nll, **bits}

    return Study(
        dataset=task.name,
        sha256=task.sha256,
        about=task.about,
        functions=functions,
        step=step,
        batches=lambda seed, epoch: epoch_segments(config, task, seed, epoch),
        validate=lambda params: {"nll": judge(params, task.validation)},
        test=test,
        headline="nll",
        monitor="nll",
        mode="min",
        floors=task.floors(),
        question=prompt_of(task.alphabet) if task.alphabet else "music.mid",
        test_share=len(task.test) / len(task.validation),
        save=lambda path: save_alphabet(path, task.alphabet),
        draw=lambda folder, title: draw_sample(config, folder, task.alphabet, functions, learnt[0]),
        alike=True,
        checkpoint_every=500,
    )


def epoch_segments(config: Config, task: Task, seed: int, epoch: int) -> Sequence[data.Segment]:
    """Returns the training segments of an epoch, which seed and epoch decide."""
    return task.train(seed, epoch)


def prompt_of(alphabet: data.Alphabet) -> str:
    """Returns an example of a prompt, of characters that the text has."""
    return "".join(c for c in "The " if c in alphabet.characters) or alphabet.characters[0]


def draw_sample(
    config: Config,
    folder: train.RunFolder,
    alphabet: data.Alphabet | None,
    functions: Functions,
    params: Any,
) -> None:
    """Leaves a sample of what was learnt."""
    key = jax.random.key(config.seed)
    if alphabet is None:
        roll = music_sample(config, functions, params, key)
        (folder.path / "sample.mid").write_bytes(midi_bytes(roll))
        return
    prompt = "\n" if "\n" in alphabet.characters else alphabet.characters[0]
    text = text_stream(config, functions, params, alphabet, prompt, key)
    replace_file(folder.path / "sample.txt", "".join(text))
