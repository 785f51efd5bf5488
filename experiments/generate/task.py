"""The data of the generation experiment, what is judged, and what must be beaten."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from experiments.batches import bucket_lengths
from experiments.generate.characters import split_characters
from experiments.generate.chord_progressions import chord_progressions
from experiments.generate.config import Config
from experiments.generate.grammar_text import grammar_text
from experiments.generate.note_baselines import note_rates, note_repetition
from experiments.generate.pieces import sequence_segments, transposed
from seqjax import data, floors
from seqjax.data._chorales import NUM_NOTES, Rolls
from seqjax.data._text_file import read_text

ORDERS = (1, 2, 3, 5)  # of the n-gram floors
SENTENCES = 2000
PIECES = (100, 25, 25)
_BUCKETS = 2


class Task(NamedTuple):
    """The data of one run.

    Attributes:
      name: what results call it.
      about: the data in a line.
      num_kinds: characters of the alphabet, or notes.
      train: `train(seed, epoch)`, the segments of an epoch.
      validation: those that choose the epoch.
      test: those that judge.
      floors: `floors()`, what must be beaten: name to nats a step.
      alphabet: of a text; None of music.
      sha256: hash of the data.
    """

    name: str
    about: str
    num_kinds: int
    train: Callable[[int, int], Sequence[data.Segment]]
    validation: Sequence[data.Segment]
    test: Sequence[data.Segment]
    floors: Callable[[], dict[str, float]]
    alphabet: data.Alphabet | None
    sha256: str


def load_task(config: Config) -> Task:
    """Loads or generates what the settings ask for.

    Raises:
      DataError: if the data is missing or damaged, or too short.
    """
    match config.task:
        case "shakespeare":
            return text_task(config, data.load_shakespeare(config.data_dir))
        case "text":
            return text_task(config, read_text(config.path or ""))
        case "generated_text":
            return text_task(config, grammar_text(np.random.default_rng(0), SENTENCES))
        case "music":
            return music_task(config, data.load_chorales(config.data_dir))
    rng = np.random.default_rng(0)
    return music_task(config, Rolls(*(chord_progressions(rng, n) for n in PIECES)))


def text_task(config: Config, text: str) -> Task:
    """Makes the task of a text: the first 5 % choose the epoch, the last 10 % judge."""
    split = split_characters(text)
    ids, alphabet = split.ids, split.alphabet
    # The first characters have no past to be predicted from; they are read, and not counted.
    first = min(config.warm_up, split.learnt // 2) + 1

    def train(seed: int, epoch: int) -> list[data.Segment]:
        # Streams begin elsewhere in every epoch, so that gradients are cut elsewhere.
        rng = np.random.default_rng([seed, epoch])
        return data.training_segments(
            split.train,
            config.batch_size,
            config.length,
            offset=int(rng.integers(len(split.train))),
            restart=config.restart,
            rng=rng,
        )

    def scored(first: int, last: int) -> list[data.Segment]:
        return data.scoring_segments(
            ids, first, last, config.batch_size, config.length, warm_up=config.warm_up
        )

    def ngrams() -> dict[str, float]:
        model = floors.fit_ngrams(split.train, max(ORDERS), len(alphabet.characters))
        return {
            f"{order}_gram": -float(model.up_to(order).log_probabilities(ids)[split.test :].mean())
            for order in ORDERS
        }

    return Task(
        name=config.task,
        about=f"{config.task}: {len(split.train):,} characters to learn, "
        f"{split.learnt:,} to choose the epoch, {len(ids) - split.test:,} to "
        f"test; {len(alphabet.characters)} kinds",
        num_kinds=len(alphabet.characters),
        train=train,
        validation=scored(first, split.learnt),
        test=scored(split.test, len(ids)),
        floors=ngrams,
        alphabet=alphabet,
        sha256=split.sha256,
    )


def music_task(config: Config, rolls: Rolls) -> Task:
    """Makes the task of some pieces of music, each of which is learnt as a whole."""
    lengths = [len(roll) for part in rolls for roll in part]
    buckets = bucket_lengths(lengths, _BUCKETS)

    def train(seed: int, epoch: int) -> list[data.Segment]:
        rng = np.random.default_rng([seed, epoch])
        moved = transposed(rolls.train, rng, config.transpose)
        return sequence_segments(moved, config.batch_size, buckets, rng)

    numbers = [f"{len(part)} pieces of {sum(map(len, part)):,} steps" for part in rolls]
    return Task(
        name=config.task,
        about="{}: {} to learn, {} to choose the epoch, {} to test".format(config.task, *numbers),
        num_kinds=NUM_NOTES,
        train=train,
        validation=sequence_segments(rolls.validation, config.batch_size, buckets),
        test=sequence_segments(rolls.test, config.batch_size, buckets),
        floors=lambda: {
            "note_rates": note_rates(rolls.train, rolls.test),
            "note_repetition": note_repetition(rolls.train, rolls.test),
        },
        alphabet=None,
        sha256=rolls.sha256,
    )
