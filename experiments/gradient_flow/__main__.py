"""Measures and trains a grid of recurrent cells, and says what was found."""

import dataclasses

from absl import flags

from experiments import command_line, gradient_flow
from experiments.cells import load
from seqjax import train

FLAGS = flags.FLAGS


def define() -> None:
    """Defines the flags."""
    command_line.define_flags(gradient_flow.Config, shown=gradient_flow.Config())
    flags.DEFINE_string("cell", None, "one cell: the same as --cells with one name")
    flags.DEFINE_string("workdir", None, "the run folder (default: runs/gradient_flow/<hash>)")
    flags.DEFINE_boolean(
        "resume", False, "start the unfinished run in the run folder again, from its beginning"
    )


def body() -> None:
    """Runs the experiment."""
    train.use_all_cores()  # first: a module of the user's own may start JAX
    given = command_line.given_settings(gradient_flow.Config)
    if FLAGS.cell is not None:
        if "cells" in given:
            raise command_line.ConfigError("--cell and --cells say the same; give one of them.")
        load(FLAGS.cell)
        given["cells"] = FLAGS.cell
    config = dataclasses.replace(gradient_flow.Config(), **given)
    gradient_flow.run(config, workdir=FLAGS.workdir, resume=FLAGS.resume)


if __name__ == "__main__":
    command_line.run_program(define, body)
