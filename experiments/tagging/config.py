"""Every setting of the tagging experiment."""

import dataclasses
from typing import Any

from experiments import command_line, report
from experiments.cells import (
    FEEDFORWARD,
    cell_options_setting,
    cell_setting,
    check_cell,
    executor_setting,
)
from experiments.command_line import setting
from seqjax.cells import CELLS as ONE_WAY
from seqjax.data._conllu import CONLLU_COLUMNS

CELLS = (*ONE_WAY, *(f"bi{name}" for name in ONE_WAY), FEEDFORWARD)
TASKS = ("partut", "generated", "conllu")


@dataclasses.dataclass(frozen=True)
class Config:
    """Every setting of a run; see `configure`."""

    cell: str = cell_setting(
        "bilstm",
        "recurrent cell; or feedforward, a network that sees each word and its neighbours",
        CELLS,
    )
    cell_options: str = cell_options_setting()
    executor: str = executor_setting()
    task: str = setting(
        "partut",
        "partut, UD English-ParTUT; generated, sentences of a small grammar; conllu, a folder of "
        "your own",
        choices=TASKS,
    )
    data_dir: str | None = setting(None, "folder of published data; default: SEQJAX_DATA_DIR")
    path: str | None = setting(
        None, "the folder of --task=conllu: files that end in train, dev and test.conllu"
    )
    column: str = setting(
        "upos", "the field of a CoNLL-U file that is the tag", choices=tuple(CONLLU_COLUMNS)
    )
    train_size: int = setting(1000, "training sentences of --task=generated", minimum=1)
    seeds: int = setting(3, "number of seeds, trained one after the other", minimum=1, below=2**31)
    seed: int = setting(0, "the first seed", minimum=0, below=2**31)
    epochs: int = setting(20, "epochs at most", minimum=1)
    patience: int = setting(20, "stop after this many epochs without improvement", minimum=1)
    select: str = setting(
        "best",
        "which epoch is tested: best, by validation accuracy, or last, of a schedule fixed "
        "beforehand",
        choices=("best", "last"),
    )
    batch_size: int = setting(32, "sentences in a batch", minimum=1)
    learning_rate: float = setting(5e-3, "peak learning rate", minimum=0)
    schedule: str = setting(
        "cosine", "learning rate after a short warm-up", choices=("cosine", "constant")
    )
    weight_decay: float = setting(0.01, "decoupled weight decay of the kernels", minimum=0)
    clip_norm: float = setting(1.0, "the gradient's global norm is clipped to this", minimum=0)
    ema_decay: float = setting(
        0.99, "decay of the moving average of the weights; 0 for none", minimum=0, below=1
    )
    min_count: int = setting(
        2, "words and affixes that training holds less often are unknown", minimum=1
    )
    max_length: int = setting(
        48, "words of a sentence that are read in one go; a longer one is cut in pieces", minimum=1
    )
    max_characters: int = setting(
        12, "characters of a word that are read, of a longer one both ends", minimum=1
    )
    num_buckets: int = setting(2, "padded lengths, hence compiled programs", minimum=1)
    crf: bool = setting(
        True, "whether a conditional random field joins the tags, or each is chosen by itself"
    )
    embedding_size: int = setting(64, "size of a word vector", minimum=1)
    affix_size: int = setting(
        12, "size of the vector of a suffix, prefix or shape; 0 for none", minimum=0
    )
    character_size: int = setting(16, "size of the vector of a character", minimum=1)
    char_hidden_size: int = setting(
        16,
        "hidden units, in each direction, of the recurrent layer over the characters of a word; 0 "
        "for none",
        minimum=0,
    )
    hidden_size: int = setting(64, "hidden units of a layer and direction", minimum=1)
    num_layers: int = setting(1, "recurrent layers", minimum=1)
    window: int = setting(2, "neighbours on each side that --cell=feedforward sees", minimum=0)
    word_dropout: float = setting(
        0.1, "rate at which words become the unknown word", minimum=0, below=1
    )
    embedding_dropout: float = setting(
        0.3,
        "rate at which numbers of the vectors of words, affixes and characters are dropped",
        below=1,
    )
    dropout: float = setting(
        0.4, "rate of the dropout between layers and before the read-out", below=1
    )

    def __post_init__(self):
        """Refuses settings that cannot be used."""
        command_line.check_settings(self)
        check_cell(self, self.hidden_size)
        command_line.check_task_reads(self, "data_dir", ["partut"])
        command_line.check_task_reads(self, "path", ["conllu"], needed=["conllu"])


def configure(**given: Any) -> Config:
    """Returns the configuration, the defaults changed where a setting is given.

    Args:
      **given: settings by name.

    Returns:
      The configuration.

    Raises:
      ConfigError: if a setting cannot be used.

    Example:
      >>> configure(cell="gru", crf=False).cell
      'gru'
    """
    return Config(**given)


def command(config: Config) -> str:
    """Returns the command that repeats a run."""
    given = {"path": config.path} if config.task == "conllu" else {}
    return report.command(
        "tagging",
        config,
        configure(task=config.task, **given),
        first=("cell", "task"),
        choosing={"path": None},
    )
