"""Sentiment of film reviews: a recurrent classifier on the Large Movie Review Dataset.

    python -m experiments.imdb --cell=bigru

Papers: Maas et al. (2011), Learning word vectors for sentiment analysis (the data); Wang and
Manning (2012), Baselines and bigrams (the linear floor printed beside the result).

A run prints what it will do and what it will cost, trains one seed after the other, and leaves a
folder (docs/howto/runs.md). Kill it at any time and continue with --resume.
`--predict="text"` asks a finished run. Notebooks and tests call `run(configure(...))`.
"""

from experiments.imdb.config import CELLS as CELLS
from experiments.imdb.config import PRESETS as PRESETS
from experiments.imdb.config import Config as Config
from experiments.imdb.predict import answer_lines
from experiments.imdb.predict import predict as predict
from experiments.imdb.study import prepare as prepare
from experiments.study import Experiment

EXPERIMENT = Experiment(
    "imdb",
    Config,
    prepare,
    "a text whose sentiment the finished run is asked for",
    answer_lines,
    {"cache_dir": "where encoded data is kept (default: ~/.cache/seqjax)"},
)
configure, run = Config.configure, EXPERIMENT.run
