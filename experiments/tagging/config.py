"""Every setting of the tagging experiment."""

import dataclasses

from experiments.cells import FEEDFORWARD, cell_setting
from experiments.command_line import setting
from experiments.settings import Settings
from seqjax.cells import CELLS as ONE_WAY
from seqjax.data._conllu import CONLLU_COLUMNS

CELLS = (*ONE_WAY, *(f"bi{name}" for name in ONE_WAY), FEEDFORWARD)
TASKS = ("partut", "generated", "conllu")


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Every setting of a run; see `configure`."""

    cell: str = cell_setting(
        "bilstm",
        "recurrent cell; or feedforward, a network that sees each word and its neighbours",
        CELLS,
    )
    task: str = setting(
        "partut",
        "partut, UD English-ParTUT; generated, sentences of a small grammar; conllu, a folder of "
        "your own",
        choices=TASKS,
    )
    data_dir: str | None = setting(
        None, "folder of published data; default: SEQJAX_DATA_DIR", tasks=["partut"]
    )
    path: str | None = setting(
        None,
        "the folder of --task=conllu: files that end in train, dev and test.conllu",
        tasks=["conllu"],
        needed=True,
    )
    column: str = setting(
        "upos", "the field of a CoNLL-U file that is the tag", choices=tuple(CONLLU_COLUMNS)
    )
    train_size: int = setting(1000, "training sentences of --task=generated", minimum=1)
    epochs: int = 20
    patience: int = 20
    select: str = setting(
        "best",
        "which epoch is tested: best, by validation accuracy, or last, of a schedule fixed "
        "beforehand",
        choices=("best", "last"),
    )
    batch_size: int = setting(32, "sentences in a batch", minimum=1)
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
    dropout: float = 0.4
