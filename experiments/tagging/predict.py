"""Asks a finished run for the tags of a sentence."""

from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from experiments.finished import open_finished
from experiments.tagging.config import Config
from experiments.tagging.model import model_functions
from experiments.tagging.task import make_batches
from experiments.tagging.vocabulary import Vocabulary, pieces, tokenize
from seqjax import data
from seqjax.data._conllu import TaggedSentence

ASKS = "a sentence whose words the finished run is to tag"


def predict(path: str | Path, text: str) -> list[tuple[str, str]]:
    """Tags the words of a text: of each the tag of the highest mean probability over the seeds.

    Args:
      path: folder of a finished run.
      text: a sentence; marks and endings such as n't become words of their own.

    Returns:
      Pairs of a word and its tag.

    Raises:
      RunError: if there is no finished run in the folder.
      DataError: if the folder's vocabulary is damaged, or the text holds no word.
    """
    run = open_finished(path, Config)
    vocabulary = Vocabulary.load(run.folder.path)
    words = tokenize(text)
    if not words or not text.isprintable():
        raise data.DataError(f"--predict needs a printable text with a word, got {text!r}.")
    unasked = TaggedSentence(tuple(words), (vocabulary.tags[0],) * len(words))
    encoded = vocabulary.encode(pieces([unasked], run.config.max_length), run.config.max_characters)
    longest = max(len(sequence) for sequence in encoded.sequences)
    (batch,) = make_batches(encoded, len(encoded.sequences), [longest])
    functions = model_functions(run.config, vocabulary.sizes)

    @jax.jit
    def marginals(params):
        return functions.apply(params, batch).marginals(batch.lengths)

    found = np.mean([marginals(params) for params in run.params(functions)], axis=0)
    best = found.argmax(axis=-1)[batch.weights > 0]
    return [(word, vocabulary.tags[tag]) for word, tag in zip(words, best.tolist(), strict=True)]


def answer_lines(workdir: str, text: str) -> Iterator[str]:
    """Yields the words with their tags, in a line."""
    yield " ".join(f"{word}/{tag}" for word, tag in predict(workdir, text))
