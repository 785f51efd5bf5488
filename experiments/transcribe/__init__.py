"""Unaligned labels: which digits are said, without being told when.

    python -m experiments.transcribe --task=digits --data_dir=FOLDER

Recordings of single digits are strung together with pauses, in new strings every epoch. The network
learns by connectionist temporal classification: it says a digit or nothing at every step, and the
loss sums over all alignments with the string. The task generated (the default) needs no data: tones
of a telephone's keys.

Papers: Graves et al. (2006), Connectionist temporal classification: labelling unsegmented sequence
data with recurrent neural networks; Jackson et al. (2018), Free Spoken Digit Dataset (digits).

A run prints what it will do and what it will cost, trains one seed after the other, and leaves a
folder (docs/howto/runs.md). Kill it at any time and continue with --resume.
`--predict=FILE.wav` asks a finished run. Notebooks and tests call `run(configure(...))`.
"""

from experiments.study import Experiment
from experiments.transcribe.config import CELLS, TASKS, Config
from experiments.transcribe.predict import ASKS, answer_lines, predict
from experiments.transcribe.study import prepare

__all__ = ["CELLS", "EXPERIMENT", "TASKS", "Config", "configure", "predict", "prepare", "run"]

EXPERIMENT = Experiment("transcribe", Config, prepare, ASKS, answer_lines)
configure, run = Config.configure, EXPERIMENT.run
