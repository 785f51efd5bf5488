"""Every flag of every program stands in one group of its help page."""

import dataclasses
import importlib

import pytest

from experiments import help_page

PROGRAMS = (
    "classify", "generate", "gradient_flow", "imdb", "regression", "tagging", "transcribe",
    "translate",
)  # fmt: skip
NAMES = [name for names in help_page.GROUPS.values() for name in names.split()]


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_setting_has_a_group(program):
    config = importlib.import_module(f"experiments.{program}").Config
    assert {field.name for field in dataclasses.fields(config)} <= set(NAMES)


def test_a_flag_stands_once():
    assert len(NAMES) == len(set(NAMES))
