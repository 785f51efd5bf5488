"""The settings of every command in README and the documentation exist, and go together."""

import importlib

import pytest
from pages import PAGES, commands

from experiments import command_line, sweep

COMMANDS = {" ".join(words): words for page in PAGES for words in commands(page)}
OF_EVERY_RUN = ("resume", "help", "predict", "workdir", "cache_dir", "mesh", "coordinator")
OF_EVERY_RUN += ("num_processes", "process_id")


@pytest.mark.parametrize("command", COMMANDS)
def test_flags(command):
    words = COMMANDS[command]
    experiment = importlib.import_module(words[2])
    given = {}
    for word in words[3:]:
        setting, equals, value = word.removeprefix("--").partition("=")
        assert word.startswith("--"), word
        if setting in OF_EVERY_RUN:
            continue
        assert equals, word
        if setting == "sweep":
            sweep.parse(value, experiment.Config)
        elif not (":" in value or "$" in value):  # a cell of the reader's own, a shell's variable
            given[setting] = command_line.parse_setting(experiment.Config, setting, value)
    make = getattr(experiment, "configure", experiment.Config)
    make(**given)


def test_commands_are_found():
    assert "python -m experiments.imdb --cell=bigru" in COMMANDS
