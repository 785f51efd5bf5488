"""One to many: a text, or music in four voices, continued step by step.

    python -m experiments.generate --cell=lstm --data_dir=FOLDER
    python -m experiments.generate --cell=gru --task=music --data_dir=FOLDER
    python -m experiments.generate --cell=lstm --task=text --path=FILE

Tasks that need no data are generated: generated_text and generated_music.

Papers: Graves (2013), Generating sequences with recurrent neural networks; Karpathy (2015), The
unreasonable effectiveness of recurrent neural networks (the text); Boulanger-Lewandowski et al.
(2012), Modeling temporal dependencies in high-dimensional sequences (the music and its measure).

A run prints what it will do and what it will cost, trains one seed after the other, and leaves a
folder (docs/howto/runs.md) with a sample of what was learnt. Kill it at any time and continue with
--resume. `--predict=PROMPT` continues a text as it is written, `--predict=FILE` writes new music;
--temperature, --top_k, --top_p and --sample_length say how. Notebooks and tests call
`run(configure(...))`.
"""

from experiments.generate.config import CELLS, TASKS, Config
from experiments.generate.predict import ASKS, answer_lines, compose, continue_text
from experiments.generate.study import prepare
from experiments.study import Experiment

__all__ = [
    "CELLS",
    "EXPERIMENT",
    "TASKS",
    "Config",
    "compose",
    "configure",
    "continue_text",
    "prepare",
    "run",
]

EXPERIMENT = Experiment("generate", Config, prepare, ASKS, answer_lines)
configure, run = Config.configure, EXPERIMENT.run
