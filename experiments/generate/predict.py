"""Asks a finished run to continue a text, or to write music."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.finished import open_finished
from experiments.generate.config import Config
from experiments.generate.midi import midi_bytes
from experiments.generate.model import model_functions
from experiments.generate.sampling import music_sample, text_stream
from seqjax import data, train
from seqjax.data._chorales import NUM_NOTES
from seqjax.data._text_file import read_text
from seqjax.train._files import replace_file

ASKS = (
    "how the text begins that a finished run continues; of a run of music, the MIDI file that "
    "it writes"
)

_ALPHABET = "alphabet.txt"


def save_alphabet(path: Path, alphabet: data.Alphabet | None) -> None:
    """Leaves in the run folder what asking a text needs beside the parameters."""
    if alphabet is not None:
        replace_file(path / _ALPHABET, alphabet.characters)


def load_alphabet(path: Path) -> data.Alphabet:
    """Reads what `save_alphabet` wrote.

    Raises:
      DataError: if the file is missing or damaged.
    """
    characters = read_text(path / _ALPHABET)
    if not characters or len(set(characters)) < len(characters):
        raise data.DataError(
            f"generate: {path / _ALPHABET} must hold every character of a text once, got "
            f"{len(characters)} of which {len(set(characters))} are distinct. Train the run again."
        )
    return data.Alphabet(characters)


def continue_text(
    path: str | Path, prompt: str, *, seed: int = 0, **sampling: Any
) -> Iterator[str]:
    """Continues a text by the first seed of a finished run.

    Args:
      path: folder of a finished run of a text.
      prompt: how the text begins.
      seed: of the sample.
      **sampling: temperature, top_k, top_p and sample_length, where they are not to be the run's.

    Yields:
      The characters that follow, each as soon as it is drawn.

    Raises:
      RunError: if there is no finished run of a text in the folder.
      ConfigError: if a setting cannot be used.
      DataError: if the prompt is empty or has a character that the text had not, or the folder's
        alphabet is damaged.
    """
    config, params, functions, alphabet = _opened(path, sampling, text=True)
    yield from text_stream(config, functions, params, alphabet, prompt, jax.random.key(seed))


def compose(path: str | Path, *, seed: int = 0, **sampling: Any) -> np.ndarray:
    """Writes music by the first seed of a finished run.

    Args:
      path: folder of a finished run of music.
      seed: of the sample.
      **sampling: temperature and sample_length, where they are not to be the run's.

    Returns:
      A piano roll, (sample_length, 88).

    Raises:
      RunError: if there is no finished run of music in the folder.
      ConfigError: if a setting cannot be used.
    """
    config, params, functions, _ = _opened(path, sampling, text=False)
    return music_sample(config, functions, params, jax.random.key(seed))


def answer_lines(path: str, value: str, **sampling: Any) -> Iterator[str]:
    """Prints the continuation of a prompt as it comes, or writes a MIDI file.

    Args:
      path: folder of a finished run.
      value: the prompt, or of a run of music the file to write.
      **sampling: see `continue_text`.

    Yields:
      Lines to print: what stands after the prompt's last line is printed here.
    """
    if open_finished(path, Config).config.text:
        characters = continue_text(path, value, **sampling)
        first = next(characters, "")  # a prompt that is refused is not printed
        print(value + first, end="", flush=True)
        for character in characters:
            print(character, end="", flush=True)
        yield ""
        return
    roll = compose(path, **sampling)
    try:
        Path(value).expanduser().write_bytes(midi_bytes(roll))
    except OSError as error:
        raise data.DataError(
            f"--predict needs a MIDI file that can be written, got {value!r}: {error.strerror}."
        ) from None
    yield f"{len(roll)} quarter notes of music in {value}"


def _opened(path: str | Path, sampling: Mapping[str, Any], *, text: bool) -> tuple:
    run = open_finished(path, Config)
    config = dataclasses.replace(run.config, **sampling)
    if config.text != text:
        wanted = "a text" if text else "music"
        raise train.RunError(f"A run of {wanted} is needed, and that in {path} is {config.task}.")
    alphabet = load_alphabet(run.folder.path) if text else None
    num_kinds = NUM_NOTES if alphabet is None else len(alphabet.characters)
    functions = model_functions(config, num_kinds)
    return config, next(run.params(functions)), functions, alphabet
