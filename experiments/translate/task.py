"""The pairs of the translation experiment as numbers, in batches."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.batches import Batch, bucket_lengths, bucketed_batches
from experiments.translate.config import Config
from experiments.translate.transduction import generate_translations
from seqjax import data
from seqjax.data._parallel_text import Pairs, ParallelText
from seqjax.data._subwords import END_ID

SOURCE_FILE, TARGET_FILE = "source_vocabulary.json", "target_vocabulary.json"


class Encoded(NamedTuple):
    """Sentences as ids, the end token last.

    Attributes:
      sources: int32 arrays of shape (tokens,).
      targets: int32 arrays of shape (tokens,).
    """

    sources: list[np.ndarray]
    targets: list[np.ndarray]


class Task(NamedTuple):
    """What is learnt and what it is judged by.

    Attributes:
      text: the sentences.
      source: vocabulary of the sources, made of the training part.
      target: that of the targets.
      train: training pairs.
      validation: those that choose the epoch.
      test: those that judge.
      buckets: shapes of batches, (source, target).
    """

    text: ParallelText
    source: data.TextVocabulary
    target: data.TextVocabulary
    train: Encoded
    validation: Encoded
    test: Encoded
    buckets: list[tuple[int, int]]


def load_task(config: Config) -> Task:
    """Loads the sentences and makes numbers of them.

    Raises:
      DataError: if the data is missing or damaged.
    """
    match config.task:
        case "multi30k":
            text = data.load_multi30k(config.data_dir)
        case "folder":
            text = data.load_parallel_folder(
                str(config.path), config.source_suffix, config.target_suffix
            )
        case _:
            text = generate_translations(config.train_size, config.test_size)
    source, target = (_vocabulary(config, texts) for texts in text.train)

    def encoded(part: Pairs) -> Encoded:
        return Encoded(encode(source, part.sources), encode(target, part.targets))

    parts = train, validation, test = tuple(map(encoded, (text.train, text.validation, text.test)))
    sources, targets = ([len(ids) for part in parts for ids in part[side]] for side in (0, 1))
    buckets = data.pair_buckets(sources, targets, config.target_buckets, config.source_buckets)
    return Task(text, source, target, train, validation, test, buckets)


def _vocabulary(config: Config, texts: Sequence[str]) -> data.TextVocabulary:
    if config.segmentation == "words":
        return data.build_word_vocabulary(texts, config.min_frequency)
    return data.build_subword_vocabulary(texts, config.vocab_size)


def encode(vocabulary: data.TextVocabulary, texts: Sequence[str]) -> list[np.ndarray]:
    """Returns the ids of each text, the end token last."""
    return [np.append(ids, np.int32(END_ID)) for ids in vocabulary.encode(texts)]


def source_batches(
    sources: Sequence[np.ndarray], batch_size: int, num_shapes: int = 1
) -> list[Batch]:
    """Puts sources into batches of a few shapes, as labels their numbers."""
    lengths = bucket_lengths([len(ids) for ids in sources], num_shapes)
    return bucketed_batches(sources, range(len(sources)), batch_size, lengths, rng=None)


def save_vocabularies(path: Path, task: Task) -> None:
    """Leaves in the run folder what predicting needs beside the parameters."""
    task.source.save(path / SOURCE_FILE)
    task.target.save(path / TARGET_FILE)


def as_published(config: Config, sentence: str) -> str:
    """Writes a sentence as the training data is written.

    Example:
      >>> as_published(Config(task="multi30k"), "A man, asleep.")
      'a man , asleep .'
    """
    if config.task == "multi30k":
        sentence = re.sub(r"([.,!?;:])", r" \1 ", sentence.lower())
    return " ".join(sentence.split())
