"""Sentiment of film reviews: a recurrent classifier on the Large Movie Review Dataset.

    python -m experiments.imdb --cell=bigru

Papers: Maas et al. (2011), Learning word vectors for sentiment analysis (the data); Wang and
Manning (2012), Baselines and bigrams (the linear floor printed beside the result).

A run prints what it will do and what it will cost, trains one seed after the other, and leaves a
folder (docs/howto/runs.md). Kill it at any time and continue with --resume.
`--predict="text"` asks a finished run. Notebooks and tests call `run(configure(...))`.
"""

from experiments.imdb.config import CELLS, PRESETS, Config
from experiments.imdb.predict import ASKS, answer_lines, predict
from experiments.imdb.study import prepare
from experiments.study import Experiment

__all__ = ["CELLS", "EXPERIMENT", "PRESETS", "Config", "configure", "predict", "prepare", "run"]

EXPERIMENT = Experiment(
    "imdb",
    Config,
    prepare,
    ASKS,
    answer_lines,
    {"cache_dir": "where encoded data is kept (default: ~/.cache/seqjax)"},
)
configure, run = Config.configure, EXPERIMENT.run
