"""The tutorial runs from its first block to its last, and then its commands."""

import runpy
import shlex
import sys

import pytest
from absl import app, flags
from pages import TUTORIAL, examples
from running import run_python


def test_tutorial(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_python(TUTORIAL)
    programs = [shlex.split(example.code) for example in examples(TUTORIAL, "sh")]
    assert programs
    for words in programs:
        assert words[:2] == ["python", "-m"]
        run_program(words[2:], monkeypatch)
    assert (tmp_path / "runs" / "waves" / "result.json").exists()


def run_program(words, monkeypatch):
    """Runs the program of an experiment in this process, and takes its flags back."""
    app.define_help_flags()  # which absl does once a process: these stay
    known = set(flags.FLAGS)
    monkeypatch.setattr(sys, "argv", words)
    try:
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        assert not ended.value.code, words
    finally:
        for flag in set(flags.FLAGS) - known:
            delattr(flags.FLAGS, flag)
        flags.FLAGS.unparse_flags()
