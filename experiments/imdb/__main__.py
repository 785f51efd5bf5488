"""Trains a recurrent classifier of film reviews, or asks one that has been trained."""

import dataclasses

from absl import flags

from experiments import command_line, imdb
from seqjax import train

FLAGS = flags.FLAGS


def define() -> None:
    """Defines the flags."""
    command_line.define_flags(imdb.Config, shown=imdb.PRESETS["best"])
    flags.adopt_module_key_flags(command_line)  # so that --help lists them
    flags.DEFINE_string("workdir", None, "the run folder (default: runs/imdb/<cell>-<hash>)")
    flags.DEFINE_boolean("resume", False, "continue the run in the run folder, if there is one")
    flags.DEFINE_string("cache_dir", None, "where encoded data is kept (default: ~/.cache/seqjax)")
    flags.DEFINE_string("predict", None, "a text whose sentiment the finished run is asked for")


def body() -> None:
    """Trains, or predicts."""
    given = command_line.given_settings(imdb.Config)
    config = dataclasses.replace(imdb.PRESETS[given.get("preset", "best")], **given)
    workdir = FLAGS.workdir or train.default_workdir(
        "imdb", config.cell, dataclasses.asdict(config)
    )
    if FLAGS.predict is not None:
        positive = imdb.predict(workdir, FLAGS.predict)
        sentiment = "positive" if positive > 0.5 else "negative"
        print(f"{sentiment}: the probability of positive is {positive:.3f}")
        return
    train.use_all_cores()
    imdb.run(config, workdir=workdir, resume=FLAGS.resume, cache_dir=FLAGS.cache_dir)


if __name__ == "__main__":
    command_line.main(define, body)
