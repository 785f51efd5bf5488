"""Regression on sequences: forecasts, imitation of systems, and a user's own table.

    python -m experiments.regression --cell=lstm --task=half_cheetah --data_dir=FOLDER

Tasks that need no data are generated: narma10 (the default), mackey_glass, lorenz, sine, adding.
Published ones are half_cheetah, ett, smnist and psmnist; csv is a file of your own:

    python -m experiments.regression --task=csv --path=data.csv --horizon=24
    python -m experiments.regression --task=csv --csv_layout=rows --target_kind=binary \
        --path=data.csv --preset=keras --cell=lstm

Papers: Hasani et al. (2021), Liquid time-constant networks (half_cheetah, and the numbers to beat);
Lin et al. (2023), SegRNN (the model of ett, and the numbers to beat); Zhou et al. (2021), Informer
(the data of ett).

A run prints what it will do and what it will cost, trains one seed after the other, and leaves a
folder (docs/howto/runs.md). Kill it at any time and continue with --resume.
`--predict=FILE` asks a finished run of the task csv. Notebooks and tests call
`run(configure(...))`.
"""

from experiments.regression.config import CELLS, TASKS, Config
from experiments.regression.predict import ASKS, answer_lines, predict
from experiments.regression.study import prepare
from experiments.study import Experiment

__all__ = ["CELLS", "EXPERIMENT", "TASKS", "Config", "configure", "predict", "prepare", "run"]

EXPERIMENT = Experiment("regression", Config, prepare, ASKS, answer_lines)
configure, run = Config.configure, EXPERIMENT.run
