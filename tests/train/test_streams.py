"""Training goes on where nobody can receive what it says."""

import os
import subprocess
import sys

import pytest
import toy
from fresh import ROOT

from seqjax.train._record import params_sha256
from seqjax.train._streams import Harmless


def closed(tmp_path):
    with open(tmp_path / "closed", "w") as stream:
        return stream


def without_reader(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    return open(writer, "w", buffering=1)


def full(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no device that is always full")
    return open("/dev/full", "w", buffering=1)


def none(tmp_path):
    return None


BROKEN = pytest.mark.parametrize("broken", [closed, without_reader, full, none])


@BROKEN
def test_what_cannot_be_written_is_dropped(tmp_path, broken):
    stream = broken(tmp_path)
    for _ in range(2):
        print("to nobody", file=Harmless(stream), flush=True)
    said = Harmless(stream)
    print("to nobody", file=said, flush=True)
    said.write("more")
    said.flush()
    assert said.isatty() in (True, False)
    if stream is not None:
        stream.close()  # what it held has gone


def test_what_can_be_written_is(capsys):
    print("to someone", file=Harmless(sys.stderr))
    assert capsys.readouterr().err == "to someone\n"


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    """A run that somebody listens to."""
    return toy.train(tmp_path_factory.mktemp("heard"), epochs=1, checkpoint_every=None)


@BROKEN
def test_training_goes_on(tmp_path, broken, monkeypatch, heard):
    stream = broken(tmp_path)
    monkeypatch.setattr(sys, "stderr", stream)
    found = toy.train(tmp_path / "run", epochs=1, checkpoint_every=None)
    monkeypatch.undo()
    assert params_sha256(found.params) == params_sha256(heard.params)
    if stream is not None:
        stream.close()


TALKS = """
import sys
from experiments import command_line

def body():
    for number in range(3000):
        print("line", number, flush=number % 100 == 0)
        print("warning", number, file=sys.stderr)
    with open(sys.argv[1], "w") as file:
        file.write("done")

argv = sys.argv
sys.argv = argv[:1]
command_line.run_program(lambda: None, lambda: (sys.argv.append(argv[1]), body()))
"""


@pytest.mark.parametrize(
    "shell",
    [
        "{} | head -1",
        pytest.param("{} >&- 2>&-", marks=pytest.mark.extended),
        pytest.param("{} >/dev/full 2>/dev/full", marks=pytest.mark.extended),
    ],
)
def test_a_program_ends_well(tmp_path, shell):
    program = f"{sys.executable} -c '{TALKS}' {tmp_path / 'done'}"
    script = f"set -o pipefail; {shell.format(program)}"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "done").read_text() == "done"
    assert "Error" not in done.stderr
