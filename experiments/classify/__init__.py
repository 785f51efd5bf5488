"""Many to one: what a sequence is, of a number of classes.

    python -m experiments.classify --task=splice --data_dir=FOLDER
    python -m experiments.classify --task=digits --data_dir=FOLDER

Published tasks are splice (does an exon end, begin or neither, in the middle of 60 letters of DNA)
and digits (which digit one of six speakers says). The task generated (the default) needs no data:
the order of two motifs in DNA. Data of your own is csv, a row a sequence; ts, the format of the UEA
and UCR archives; or folder, a WAV or text file each in a folder for each class:

    python -m experiments.classify --task=csv --path=data.csv --label_column=kind
    python -m experiments.classify --task=ts --path=NATOPS
    python -m experiments.classify --task=folder --path=sounds

Papers: Noordewier et al. (1991), Training knowledge-based neural networks to recognize genes in DNA
sequences (splice); Jackson et al. (2018), Free Spoken Digit Dataset (digits); Park et al. (2019),
SpecAugment (the masks).

A run prints what it will do and what it will cost, trains one seed after the other, and leaves a
folder (docs/howto/runs.md). Kill it at any time and continue with --resume.
`--predict=FILE` asks a finished run. Notebooks and tests call `run(configure(...))`.
"""

from experiments.classify.config import CELLS, TASKS, Config
from experiments.classify.predict import ASKS, answer_lines, predict
from experiments.classify.study import prepare
from experiments.study import Experiment

__all__ = ["CELLS", "EXPERIMENT", "TASKS", "Config", "configure", "predict", "prepare", "run"]

EXPERIMENT = Experiment("classify", Config, prepare, ASKS, answer_lines)
configure, run = Config.configure, EXPERIMENT.run
