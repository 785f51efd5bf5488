"""Every setting of the generation experiment, and the defaults of its tasks."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments.cells import FEEDFORWARD, cell_setting
from experiments.command_line import ConfigError, setting
from experiments.settings import Settings
from seqjax.cells import CELLS as RECURRENT

CELLS = (*RECURRENT, FEEDFORWARD)
TEXT = ("generated_text", "shakespeare", "text")
TASKS = (*TEXT, "generated_music", "music")


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Every setting of a run; the defaults are those of the task shakespeare. See `configure`."""

    cell: str = cell_setting(
        "gru",
        "recurrent cell; or feedforward, layers that see the last --width steps and no more",
        CELLS,
    )
    task: str = setting(
        "shakespeare",
        "what is to be continued: a text (shakespeare; text, that of --path; generated_text) or "
        "music in four voices (music, Bach's chorales; generated_music)",
        choices=TASKS,
    )
    data_dir: str | None = setting(
        None,
        "folder of published data; default: SEQJAX_DATA_DIR",
        tasks=["shakespeare", "music"],
    )
    path: str | None = setting(None, "the file of --task=text, UTF-8", tasks=["text"], needed=True)
    seeds: int = 1
    epochs: int = 15
    patience: int = 15
    batch_size: int = setting(32, "streams of text, or pieces of music, in a batch", minimum=1)
    length: int = setting(
        64,
        "characters between two updates; states are carried on, gradients are not. Music is "
        "learnt a whole piece at a time",
        minimum=1,
    )
    restart: float = setting(
        0.05,
        "rate at which a stream of text forgets its state before a segment, in training, so that "
        "beginnings are learnt too",
        minimum=0,
        below=1,
    )
    warm_up: int = setting(
        512, "characters that are read before the first that is judged", minimum=0
    )
    transpose: int = setting(
        5, "semitones by which pieces of music are moved in training, at most", minimum=0
    )
    learning_rate: float = 0.004
    ema_decay: float = 0.998
    embedding_size: int = setting(64, "size of a character's vector", minimum=1)
    hidden_size: int = setting(512, "hidden units of a layer", minimum=1)
    num_layers: int = setting(1, "recurrent layers", minimum=1)
    width: int = setting(16, "steps that --cell=feedforward sees", minimum=1)
    tie_weights: bool = setting(
        False, "whether the characters' vectors are the read-out too; sizes must be equal"
    )
    input_dropout: float = setting(0.0, "rate of the dropout before the recurrent layers", below=1)
    dropout: float = 0.3
    sample_length: int = setting(500, "characters or steps of a sample", minimum=1, names_run=False)
    temperature: float = setting(
        0.8, "of a sample: 0 takes the likeliest, 1 draws as learnt", minimum=0, names_run=False
    )
    top_k: int = setting(
        0, "a sample takes one of so many likeliest characters; 0 for any", minimum=0,
        names_run=False,
    )  # fmt: skip
    top_p: float = setting(
        1.0, "a sample takes one of the likeliest characters that have this probability together",
        names_run=False,
    )  # fmt: skip

    def __post_init__(self):
        """Refuses settings that cannot be used."""
        super().__post_init__()
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"--top_p must lie in (0, 1], got {self.top_p}.")
        if self.tie_weights and not (self.text and self.embedding_size == self.hidden_size):
            raise ConfigError(
                "--tie_weights needs a text and --embedding_size equal to --hidden_size, got "
                f"--task={self.task}, {self.embedding_size} and {self.hidden_size}."
            )
        if not self.text and (self.top_k or self.top_p < 1):
            raise ConfigError("--top_k and --top_p choose among characters; music has none.")

    @property
    def text(self) -> bool:
        """Whether characters are predicted, not notes."""
        return self.task in TEXT

    @classmethod
    def defaults(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the defaults of the task."""
        return DEFAULTS.get(given.get("task", cls.task), {})


MUSIC = {
    "batch_size": 8, "hidden_size": 400, "dropout": 0.5, "weight_decay": 0.05, "seeds": 3,
    "epochs": 150, "patience": 150, "sample_length": 64, "temperature": 1.0,
}  # fmt: skip
DEFAULTS: dict[str, dict[str, Any]] = {
    "shakespeare": {},
    "text": {},
    "music": MUSIC,
    "generated_text": {
        "hidden_size": 64, "embedding_size": 16, "epochs": 10, "dropout": 0.0, "seeds": 3,
        "batch_size": 16, "length": 32, "warm_up": 64, "learning_rate": 1e-2, "ema_decay": 0.99,
    },
    "generated_music": {
        **MUSIC, "batch_size": 16, "hidden_size": 64, "epochs": 30, "dropout": 0.1,
        "learning_rate": 5e-3, "input_dropout": 0.2, "weight_decay": 0.01,
    },
}  # fmt: skip
