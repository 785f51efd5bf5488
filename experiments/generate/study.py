"""What the experiment trains, and how it is judged."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax

from experiments.functions import Functions
from experiments.generate.config import Config
from experiments.generate.midi import midi_bytes
from experiments.generate.model import make_judge, make_loss, model_functions, zero_state
from experiments.generate.predict import save_alphabet
from experiments.generate.sampling import music_sample, text_stream
from experiments.generate.task import Task, load_task
from experiments.optimizer import make_step
from experiments.study import Study
from seqjax import data, train
from seqjax.train._files import replace_file


def prepare(config: Config, notify: Callable[[str], None] = print, *, mesh: str = "auto") -> Study:
    """Loads the data, fits the floors and makes the model."""
    task = load_task(config)
    functions = model_functions(config, task.num_kinds)
    first = epoch_segments(config, task, seed=0, epoch=1)
    step = make_step(
        config, make_loss(functions), len(first), mesh, carry=zero_state(functions, first[0])
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
