"""Every setting of the sentiment experiment, and the presets."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments.cells import cell_setting
from experiments.command_line import ConfigError, setting
from experiments.settings import Settings
from seqjax.cells import CELLS as ONE_WAY
from seqjax.data._reviews import DATASETS

CELLS = (*ONE_WAY, *(f"bi{name}" for name in ONE_WAY))


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Every setting of a run; the defaults are the preset "best"."""

    cell: str = cell_setting("bigru", "recurrent cell", CELLS)
    preset: str = setting(
        "best",
        "where the defaults of the other settings come from: best, or keras, the classic script",
        choices=("best", "keras"),
    )
    dataset: str = setting(
        "auto",
        "auto is the real reviews, or without a network generated ones",
        choices=DATASETS,
    )
    data_dir: str | None = setting(
        None,
        "folder of the reviews: prepared by TFDS, the published archive, or what it unpacks to; "
        "default: TFDS_DATA_DIR, then ~/tensorflow_datasets",
    )
    split_seed: int = setting(0, "draws which reviews choose the epoch", minimum=0)
    epochs: int = 3
    patience: int = 2
    batch_size: int = setting(96, "reviews in a batch", minimum=1)
    learning_rate: float = 0.003
    ema_decay: float = 0.995
    vocab_size: int = setting(
        20_000, "words, the most frequent ones of the training set", minimum=3
    )
    punctuation: bool = setting(
        True, "whether the marks ! ? . , are read as words, or dropped like all others"
    )
    max_length: int = setting(400, "words of a review that are read", minimum=1)
    keep: str = setting(
        "both", "which end of a longer review is read", choices=("first", "last", "both")
    )
    num_buckets: int = setting(8, "padded lengths, hence compiled programs", minimum=1)
    linear_path: bool = setting(
        True,
        "whether the answer is a weighted sum of the network's logit and that of a logistic "
        "regression on n-grams, or the network's alone; the network is trained alone either way",
    )
    soft_labels: float = setting(
        0.4,
        "how much of a training label is the probability that the logistic regression gives the "
        "review without having seen it",
        minimum=0,
        below=1,
    )
    embedding_size: int = setting(100, "size of a word vector", minimum=1)
    pair_size: int = setting(
        32, "size of the vector of a pair of adjacent words; 0 for none", minimum=0
    )
    pair_buckets: int = setting(65_536, "rows of the table pairs are hashed into", minimum=1)
    num_layers: int = setting(1, "recurrent layers", minimum=1)
    segment_length: int = setting(
        50,
        "reviews are read in segments of this many words side by side; 0 for in one go",
        minimum=0,
    )
    pooling: str = setting(
        "mean_max",
        "from the outputs at every word to one vector",
        choices=("last", "mean", "max", "mean_max", "attention"),
    )
    head_size: int = setting(0, "units of a ReLU layer before the read-out; 0 for none", minimum=0)
    token_dropout: float = setting(0.1, "rate at which words are dropped", minimum=0, below=1)
    embedding_dropout: float = setting(
        0.2, "rate at which numbers of word vectors are dropped", below=1
    )
    dropout: float = 0.3
    validation_fraction: float = setting(
        0.1, "part of the training reviews that chooses the epoch", minimum=0, below=1
    )

    def __post_init__(self):
        """Refuses settings that cannot be used."""
        super().__post_init__()
        if self.validation_fraction == 0:
            raise ConfigError("--validation_fraction must be above 0: it chooses the epoch.")
        if self.segment_length and self.pooling == "last":
            raise ConfigError(
                "--pooling=last needs --segment_length=0: the last segment alone would decide."
            )

    @classmethod
    def defaults(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the defaults of the preset."""
        return PRESETS.get(given.get("preset", cls.preset), {})

    @property
    def choosing(self) -> Mapping[str, Any]:
        """Settings that bring other defaults with them; and their own."""
        return {"preset": "best"}


PRESETS: dict[str, dict[str, Any]] = {
    "best": {},
    # The script of a thousand tutorials: 10,000 words, the last 200, no regularisation.
    "keras": {
        "cell": "bilstm",
        "epochs": 10,
        "patience": 3,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "schedule": "constant",
        "weight_decay": 0.0,
        "clip_norm": 0.0,
        "ema_decay": 0.0,
        "vocab_size": 10_000,
        "punctuation": False,
        "max_length": 200,
        "keep": "last",
        "linear_path": False,
        "soft_labels": 0.0,
        "embedding_size": 128,
        "pair_size": 0,
        "hidden_size": 128,
        "segment_length": 0,
        "pooling": "last",
        "head_size": 128,
        "token_dropout": 0.0,
        "embedding_dropout": 0.0,
        "dropout": 0.0,
    },
}
