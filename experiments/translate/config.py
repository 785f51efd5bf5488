"""Every setting of the translation experiment, and the defaults of its tasks."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, Self

from experiments.cells import cell_setting
from experiments.command_line import ConfigError, setting
from experiments.settings import Settings
from seqjax.cells import CELLS as CELLS_BY_NAME
from seqjax.data._data_dir import DATA_DIR_VARIABLE
from seqjax.nn._attention import ATTENTIONS

CELLS = tuple(CELLS_BY_NAME)
TASKS = ("auto", "multi30k", "generated", "folder")


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Every setting of a run; the defaults are those of the task multi30k. See `configure`."""

    cell: str = cell_setting("gru", "recurrent cell of encoder and decoder", CELLS)
    task: str = setting(
        "auto",
        "what is translated: multi30k, English captions into German; generated, a made-up "
        "language; folder, your own pairs; auto is multi30k where a folder of data is named, and "
        "generated elsewhere",
        choices=TASKS,
    )
    data_dir: str | None = setting(
        None,
        "folder of published data; default: the environment's SEQJAX_DATA_DIR",
        tasks=["auto", "multi30k"],
    )
    path: str | None = setting(
        None,
        "of --task=folder: the folder with {train,val,test}.{source,target suffix}",
        tasks=["folder"],
        needed=True,
    )
    source_suffix: str = setting("src", "of --task=folder: how names of source files end")
    target_suffix: str = setting("tgt", "of --task=folder: how names of target files end")
    train_size: int = setting(2000, "pairs of --task=generated to train on", minimum=1)
    test_size: int = setting(
        200, "pairs of --task=generated to choose the epoch, and as many to test", minimum=1
    )
    segmentation: str = setting(
        "bpe",
        "tokens: bpe, pieces of words (byte-pair encoding), or words",
        choices=("bpe", "words"),
    )
    vocab_size: int = setting(2500, "pieces in each language, of bpe", minimum=5)
    min_frequency: int = setting(2, "rarer words are unknown, of words", minimum=1)
    seeds: int = 1
    epochs: int = 7
    patience: int = 7
    monitor: str = setting(
        "loss",
        "what chooses the epoch, in validation: loss, nats a token, or bleu, of greedy search",
        choices=("loss", "bleu"),
    )
    batch_size: int = setting(64, "pairs in a batch", minimum=1)
    learning_rate: float = 0.004
    weight_decay: float = 0.0
    ema_decay: float = 0.995
    label_smoothing: float = setting(
        0.1, "part of a target's probability that is spread over all tokens", minimum=0, below=1
    )
    embedding_dropout: float = setting(
        0.1, "rate at which numbers of embeddings are dropped", below=1
    )
    token_dropout: float = setting(0.0, "rate at which whole tokens are dropped", below=1)
    dropout: float = 0.2
    sampling_rate: float = setting(
        0.0,
        "scheduled sampling: rate at which a step is given the model's own token; steps are then "
        "taken one after the other",
        minimum=0,
        below=1,
    )
    embedding_size: int = setting(
        192, "size of an embedding, and of the decoder's output", minimum=1
    )
    hidden_size: int = setting(
        128, "hidden units of a layer and direction of the encoder", minimum=1
    )
    encoder_layers: int = setting(1, "bidirectional layers of the encoder", minimum=1)
    decoder_size: int = setting(192, "hidden units of a layer of the decoder", minimum=1)
    decoder_layers: int = setting(1, "layers of the decoder", minimum=1)
    attention: str = setting("general", "how queries are compared with states", choices=ATTENTIONS)
    attend_from: str = setting(
        "bottom",
        "the decoder's layer that asks; those above it read what it found",
        choices=("bottom", "top"),
    )
    input_feeding: bool = setting(
        False,
        "whether the decoder reads its last output too; steps are then taken one after the other",
    )
    target_buckets: int = setting(4, "padded lengths of targets", minimum=1)
    source_buckets: int = setting(1, "padded lengths of sources, for each of targets", minimum=1)
    beam_width: int = setting(5, "hypotheses of the beam search", minimum=1)
    length_penalty: float = setting(1.0, "exponent of its length penalty; 0 for none", minimum=0)
    bleu_sentences: int = setting(
        200, "validation sentences that are translated after each epoch", minimum=1
    )

    def __post_init__(self):
        """Refuses settings that cannot be used."""
        super().__post_init__()
        if self.source_suffix == self.target_suffix:
            raise ConfigError(
                "--source_suffix and --target_suffix must differ, got "
                f"{self.source_suffix!r} for both."
            )
        if self.attention == "dot" and self.decoder_size != 2 * self.hidden_size:
            raise ConfigError(
                "--attention=dot needs --decoder_size to be twice --hidden_size, got "
                f"{self.decoder_size} and {self.hidden_size}."
            )

    @classmethod
    def defaults(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the defaults of the task."""
        return DEFAULTS.get(given.get("task", cls.task), {})

    @classmethod
    def configure(cls, **given: Any) -> Self:
        """As that of `Settings`; the task "auto" becomes what it stands for."""
        if given.get("task", "auto") == "auto":
            named = given.get("data_dir") or os.environ.get(DATA_DIR_VARIABLE)
            given["task"] = "multi30k" if named else "generated"
        return super().configure(**given)


DEFAULTS: dict[str, dict[str, Any]] = {
    "multi30k": {},
    "folder": {},
    "generated": {
        "embedding_size": 32, "hidden_size": 32, "decoder_size": 64, "segmentation": "words",
        "min_frequency": 1, "epochs": 15, "patience": 15, "learning_rate": 1e-2,
        "batch_size": 32, "ema_decay": 0.98, "dropout": 0.1, "target_buckets": 2,
        "source_buckets": 1, "label_smoothing": 0.05,
    },
}  # fmt: skip
