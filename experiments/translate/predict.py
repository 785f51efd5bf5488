"""Asks a finished run for a translation."""

from collections.abc import Iterator
from pathlib import Path

from experiments.finished import open_finished
from experiments.translate.config import Config
from experiments.translate.model import make_translate, model_functions
from experiments.translate.task import (
    SOURCE_FILE,
    TARGET_FILE,
    as_published,
    encode,
    source_batches,
)
from seqjax import data, train
from seqjax.data._subwords import END_ID

ASKS = "a sentence the finished run translates"


def predict(path: str | Path, sentence: str) -> str:
    """Translates a sentence by beam search, with the mean of the probabilities of the run's seeds.

    Args:
      path: folder of a finished run.
      sentence: the sentence. For a run of multi30k it is lower-cased and its marks set apart, as
        its training data is.

    Returns:
      The translation.

    Raises:
      RunError: if there is no finished run in the folder.
      DataError: if the folder's vocabularies are damaged, or the sentence holds no known word.
    """
    run = open_finished(path, Config)
    config, path = run.config, run.folder.path
    source, target = (data.TextVocabulary.load(path / name) for name in (SOURCE_FILE, TARGET_FILE))
    (ids,) = encode(source, [as_published(config, sentence)])
    if not (ids > END_ID).any():
        raise data.DataError(
            f"--predict needs a sentence with a word the run has seen, got {sentence!r}."
        )
    functions = model_functions(config, len(source), len(target))
    translate = make_translate(
        functions, train.data_mesh(1), width=config.beam_width, alpha=config.length_penalty
    )
    (found,) = translate(list(run.params(functions)), source_batches([ids], 1))
    return target.decode(found)


def answer_lines(workdir: str, sentence: str) -> Iterator[str]:
    """Yields the translation."""
    yield predict(workdir, sentence)
