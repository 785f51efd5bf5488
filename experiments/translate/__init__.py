"""Translation of sentences: many to many, unaligned, with attention and beam search.

    python -m experiments.translate --cell=gru --data_dir=FOLDER

reads multi30k, English captions and their German translations (`FOLDER/multi30k/train.en`, ...).
Without a folder a small made-up language is translated, and the run says so. Your own pairs, a
sentence a line, words set apart by spaces:

    python -m experiments.translate --task=folder --path=F --source_suffix=en --target_suffix=fr

Papers: Elliott et al. (2016), Multi30K (the data); Bahdanau, Cho and Bengio (2015), Neural machine
translation by jointly learning to align and translate; Luong, Pham and Manning (2015), Effective
approaches to attention-based neural machine translation (the model).

A run prints what it will do and what it will cost, trains one seed after the other, and leaves a
folder (docs/howto/runs.md) with the translations of the test part. Kill it at any time and continue
with --resume. `--predict="a sentence"` asks a finished run. Notebooks and tests call
`run(configure(...))`.
"""

from experiments.study import Experiment
from experiments.translate.config import CELLS, TASKS, Config
from experiments.translate.predict import ASKS, answer_lines, predict
from experiments.translate.study import prepare

__all__ = ["CELLS", "EXPERIMENT", "TASKS", "Config", "configure", "predict", "prepare", "run"]

EXPERIMENT = Experiment("translate", Config, prepare, ASKS, answer_lines)
configure, run = Config.configure, EXPERIMENT.run
