"""Programs in processes of their own, as `python -m` starts them, without the time to import.

Python's fork server has imported the experiments, and has started no JAX; each program is a fork of
it. What a program is given, does and leaves is its own: arguments, folder, environment, status.
"""

import dataclasses
import multiprocessing
import os
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.parent.name for path in ROOT.glob("experiments/*/__main__.py"))
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([f"experiments.{name}" for name in NAMES])


@dataclasses.dataclass
class Program:
    """A program that was started."""

    process: multiprocessing.Process
    said: Path

    def wait(self):
        """Returns exit status, standard output and standard error."""
        self.process.join(400)
        out, err = ((self.said / name).read_text("utf-8") for name in ("out", "err"))
        return self.process.exitcode, out, err


def start(name, *flags, said, cwd=ROOT, **environment):
    """Starts `python -m experiments.NAME` with flags.

    Args:
      name: the experiment.
      *flags: its flags.
      said: an empty folder for what it prints.
      cwd: the folder that it runs in.
      **environment: variables that differ from those here; those that are None it does not have.
    """
    said.mkdir(parents=True)
    given = {k: v for k, v in {**os.environ, **environment}.items() if v is not None}
    process = FORKS.Process(target=_run, args=(name, flags, said, cwd, given))
    process.start()
    return Program(process, said)


def run(name, *flags, **options):
    """Runs a program to its end, see `start`; returns status, standard output and error."""
    return start(name, *flags, **options).wait()


def refusal(name, *flags, said, **options):
    """Returns the line with which a program refuses its flags, its status being 2."""
    status, out, err = run(name, *flags, said=said, **options)
    assert status == 2, (flags, status, out, err)
    assert "Traceback" not in out + err
    (line,) = err.strip().splitlines()
    return line


def _run(name, flags, said, cwd, environment):
    for number, file in enumerate(("out", "err"), start=1):
        os.dup2(os.open(said / file, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path[0:0] = [str(cwd), str(ROOT)]
    sys.argv = [name, *flags]
    runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)
