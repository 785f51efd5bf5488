"""The data of the sentiment experiment: reviews as token ids, split and batched."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from experiments.batches import Batch, bucket_lengths, bucketed_batches, truncate
from experiments.imdb.cache import encode_reviews
from experiments.imdb.config import Config
from experiments.imdb.linear import Linear, fit_linear
from experiments.splitting import split_validation, text_hashes
from seqjax import data


class Split(NamedTuple):
    """Examples of one split.

    Attributes:
      sequences: token ids of each review, cut to length.
      labels: 1 for positive, int32.
      offsets: logit of the linear model, which has not seen the review, float32; zeros where the
        answer is to be the network's alone.
    """

    sequences: list[np.ndarray]
    labels: np.ndarray
    offsets: np.ndarray

    def take(self, indices: np.ndarray) -> "Split":
        """Returns the examples at `indices`."""
        sequences = [self.sequences[i] for i in indices.tolist()]
        return Split(sequences, self.labels[indices], self.offsets[indices])

    def batches(
        self, batch_size: int, buckets: Sequence[int], rng: np.random.Generator | None = None
    ) -> list[Batch]:
        """Returns the examples as batches, in random order where a generator is given."""
        return bucketed_batches(
            self.sequences, self.labels, batch_size, buckets, rng=rng, offsets=self.offsets
        )


class Task(NamedTuple):
    """The data of one run.

    Attributes:
      reviews: the texts, with their name and hash.
      vocabulary: words to ids.
      train: the training reviews.
      validation: those held out of training to choose the epoch.
      test: the test reviews.
      buckets: padded lengths.
      linear: the linear model on n-grams, and the floors.
    """

    reviews: data.Reviews
    vocabulary: data.Vocabulary
    train: Split
    validation: Split
    test: Split
    buckets: list[int]
    linear: Linear


def load_task(config: Config, cache_dir: str | None, notify: Callable[[str], None]) -> Task:
    """Loads and encodes the reviews, cuts them to length and splits off the validation part.

    Raises:
      DataError: if the data is missing or damaged.
    """
    reviews = data.load_reviews(config.dataset, data_dir=config.data_dir, notify=notify)
    reviews = dataclasses.replace(reviews, unlabelled=[])  # nothing here learns from them
    encoded = encode_reviews(
        reviews,
        config.vocab_size,
        cache_dir=cache_dir,
        notify=notify,
        punctuation=config.punctuation,
    )
    linear = fit_linear(reviews, cache_dir, notify)
    everything = Split(cut(encoded.train, config), encoded.train_labels, linear.train_logits)
    train, validation = split_validation(
        everything.labels,
        config.validation_fraction,
        config.split_seed,
        groups=text_hashes(reviews.train_texts),
    )
    buckets = bucket_lengths(
        [config.max_length, *(len(ids) for ids in everything.sequences)],
        config.num_buckets,
        multiple=config.segment_length or 8,
    )
    # Training takes its soft labels from the offsets whether or not the answer adds them.
    used = np.float32(config.linear_path)
    held_out = everything.take(validation)
    return Task(
        reviews=reviews,
        vocabulary=encoded.vocabulary,
        train=everything.take(train),
        validation=held_out._replace(offsets=used * held_out.offsets),
        test=Split(cut(encoded.test, config), encoded.test_labels, used * linear.test_logits),
        buckets=buckets,
        linear=linear,
    )


def cut(sequences: Sequence[np.ndarray], config: Config) -> list[np.ndarray]:
    """Cuts sequences to the words that are read."""
    return [truncate(ids, config.max_length, config.keep) for ids in sequences]
