"""The program of an experiment that trains a model: it trains, sweeps, or asks a finished run."""

import dataclasses
import sys
from pathlib import Path
from typing import NoReturn

from absl import flags

from experiments import command_line, sweep
from experiments.study import Experiment
from seqjax import train
from seqjax.train._mesh import check_mesh
from seqjax.train._run_folder import read_object

FLAGS = flags.FLAGS
flags.disclaim_key_flags()  # --help lists them as the program's own


def main(experiment: Experiment) -> NoReturn:
    """Runs an experiment's program: trains, or asks a finished run."""
    name, config_type = experiment.name, experiment.config

    def define() -> None:
        command_line.define_flags(config_type, shown=config_type.configure())
        flags.DEFINE_string("workdir", None, f"the run folder (default: runs/{name}/<cell>-<hash>)")
        flags.DEFINE_boolean("resume", False, "continue the run in the run folder, if there is one")
        flags.DEFINE_string(
            "sweep",
            None,
            "a grid of settings, each of which is run: name=value,value;name=value,... (default "
            f"of its folder: runs/{name}/sweep-<hash>)",
        )
        command_line.define_device_flags()
        for flag, help in {**experiment.options, "predict": experiment.asks}.items():
            flags.DEFINE_string(flag, None, help)

    def body() -> None:
        if FLAGS.predict is None:
            # First: a module of the user's own may start JAX.
            train.use_all_cores()
            check_mesh(FLAGS.mesh)
            train.join_processes(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id)
        settings = command_line.given_settings(config_type)
        how = {"workdir": FLAGS.workdir, "resume": FLAGS.resume, "mesh": FLAGS.mesh}
        how |= {flag: FLAGS[flag].value for flag in experiment.options}
        if FLAGS.sweep is not None:
            sweep.run_sweep(experiment, settings, FLAGS.sweep, **how)
            return
        config = config_type.configure(**settings)
        if FLAGS.predict is None:
            experiment.run(config, **how)
            return
        fields = dataclasses.fields(config)
        asking = {field.name for field in fields if not field.metadata["names_run"]}
        workdir = FLAGS.workdir or command_line.default_workdir(name, config)
        say_if_generated(Path(workdir))
        given = {name: settings[name] for name in asking & set(settings)}
        for line in experiment.answer(str(workdir), FLAGS.predict, **given):
            print(line)

    command_line.run_program(define, body)


def say_if_generated(path: Path) -> None:
    """Says on standard error that a finished run has seen generated data alone, if it has."""
    file = path / "result.json"
    dataset = str(read_object(file).get("dataset")) if file.exists() else ""
    if dataset.startswith("generated"):
        print(
            f"NO REAL DATA: this model has seen {dataset.replace('_', ' ')} alone; its answer says "
            "nothing of real data.",
            file=sys.stderr,
        )
