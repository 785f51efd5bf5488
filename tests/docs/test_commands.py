"""The settings of every command in README and the documentation exist, and go together."""

import importlib

import pytest
from pages import PAGES, commands

from experiments import command_line

COMMANDS = {" ".join(words): words for page in PAGES for words in commands(page)}
OF_EVERY_RUN = ("resume", "help", "predict", "workdir", "cache_dir")


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
        kind = command_line.field_type(experiment.Config, setting)
        given[setting] = value == "True" if kind is bool else kind(value)
    make = getattr(experiment, "configure", experiment.Config)
    make(**given)


def test_commands_are_found():
    assert "python -m experiments.imdb --cell=bigru" in COMMANDS
