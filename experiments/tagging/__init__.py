"""Part-of-speech tagging: one answer at every word, by recurrent layers that read both ways.

    python -m experiments.tagging --cell=bilstm --data_dir=FOLDER

The data is UD English-ParTUT (--task=partut), a folder of CoNLL-U files of your own
(--task=conllu --path=FOLDER), or sentences of a small grammar, for which nothing need be there
(--task=generated).

Papers: Lample et al. (2016), Neural architectures for named entity recognition, and Huang, Xu and
Yu (2015), Bidirectional LSTM-CRF models for sequence tagging (the model); Nivre et al. (2020),
Universal Dependencies v2 (the tags).

A run prints what it will do and what it will cost, trains one seed after the other, and leaves a
folder (docs/howto/runs.md) with a report of every tag. Kill it at any time and continue with
--resume. `--predict="A sentence."` asks a finished run. Notebooks and tests call
`run(configure(...))`.
"""

from experiments.study import Experiment
from experiments.tagging.config import CELLS, TASKS, Config
from experiments.tagging.predict import ASKS, answer_lines, predict
from experiments.tagging.study import prepare

__all__ = ["CELLS", "EXPERIMENT", "TASKS", "Config", "configure", "predict", "prepare", "run"]

EXPERIMENT = Experiment("tagging", Config, prepare, ASKS, answer_lines)
configure, run = Config.configure, EXPERIMENT.run
