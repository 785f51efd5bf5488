"""Trains a recurrent network on a task of numbers, or asks one that has been trained."""

import dataclasses

from absl import flags

from experiments import command_line, regression
from seqjax import train

FLAGS = flags.FLAGS


def define() -> None:
    """Defines the flags."""
    command_line.define_flags(regression.Config, shown=regression.configure())
    flags.adopt_module_key_flags(command_line)  # so that --help lists them
    flags.DEFINE_string("workdir", None, "the run folder (default: runs/regression/<cell>-<hash>)")
    flags.DEFINE_boolean("resume", False, "continue the run in the run folder, if there is one")
    flags.DEFINE_string("predict", None, "a file to ask a finished run of --task=csv about")


def body() -> None:
    """Trains, or predicts."""
    config = regression.configure(**command_line.given_settings(regression.Config))
    workdir = FLAGS.workdir or train.default_workdir(
        "regression", config.cell, dataclasses.asdict(config)
    )
    if FLAGS.predict is not None:
        rows = regression.predict(workdir, FLAGS.predict)
        print(",".join(rows[0]))
        for row in rows:
            print(",".join(f"{value:.6g}" for value in row.values()))
        return
    train.use_all_cores()
    regression.run(config, workdir=workdir, resume=FLAGS.resume)


if __name__ == "__main__":
    command_line.main(define, body)
