"""The data of the tagging experiment: sentences as numbers, in batches of few shapes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.batches import bucket_lengths, bucketed_batches
from experiments.tagging.config import Config
from experiments.tagging.generated_tags import generate_tagged
from experiments.tagging.vocabulary import Encoded, Vocabulary, build_vocabulary, pieces
from seqjax import data
from seqjax.data._conllu import TaggedSplits, load_conllu


class Batch(NamedTuple):
    """Padded sentences, batch first; NumPy arrays on the host, JAX arrays on a device.

    Attributes:
      words: ids, 0 after each sentence's end, int32 (B, T).
      characters: of every word, int32 (B, T, C).
      word_lengths: characters of every word, int32 (B, T).
      affixes: of every word, int32 (B, T, A).
      tags: int32 (B, T).
      lengths: words of each sentence, 0 in a row that only fills the batch, int32 (B,).
      weights: 1 at every word and 0 in the padding, float32 (B, T).
    """

    words: Any
    characters: Any
    word_lengths: Any
    affixes: Any
    tags: Any
    lengths: Any
    weights: Any


class Task(NamedTuple):
    """The data of one run.

    Attributes:
      splits: the sentences, with their name and hash.
      vocabulary: what has a number.
      train: the training part.
      validation: the part that chooses the epoch.
      test: the part that judges.
      buckets: padded lengths.
    """

    splits: TaggedSplits
    vocabulary: Vocabulary
    train: Encoded
    validation: Encoded
    test: Encoded
    buckets: list[int]


def load_task(config: Config) -> Task:
    """Loads or generates the sentences that the settings ask for, and numbers them.

    Raises:
      DataError: if the data is missing or damaged.
    """
    match config.task:
        case "generated":
            splits = generate_tagged(config.train_size)
        case "partut":
            splits = data.load_ud_partut(config.data_dir, column=config.column)
        case _:
            splits = load_conllu(str(config.path), column=config.column)
    vocabulary = build_vocabulary(splits, config.min_count)
    train, validation, test = (
        vocabulary.encode(pieces(part, config.max_length), config.max_characters)
        for part in (splits.train, splits.validation, splits.test)
    )
    lengths = [len(rows) for part in (train, validation, test) for rows in part.sequences]
    buckets = bucket_lengths(lengths, config.num_buckets)
    return Task(splits, vocabulary, train, validation, test, buckets)


def make_batches(
    encoded: Encoded,
    batch_size: int,
    buckets: Sequence[int],
    rng: np.random.Generator | None = None,
) -> list[Batch]:
    """Returns sentences as batches, in random order where a generator is given.

    Args:
      encoded: the sentences.
      batch_size: rows of every batch; the last of a bucket is filled with rows of length 0.
      buckets: padded lengths.
      rng: shuffles.

    Returns:
      The batches of one epoch.
    """
    nothing = np.zeros(len(encoded.sequences), np.int32)
    rows = bucketed_batches(encoded.sequences, nothing, batch_size, buckets, rng=rng)
    return [
        Batch(
            **{name: getattr(encoded, name)[batch.tokens] for name in Encoded._fields[:-1]},
            lengths=batch.lengths,
            weights=(batch.tokens > 0).astype(np.float32),
        )
        for batch in rows
    ]
