"""`pytest -m quick` runs something of every package; lists of marked tests name real ones."""

import ast
import pkgutil
from pathlib import Path

import pytest
from extended import EXTENDED
from quick import QUICK

import seqjax

TESTS = Path(__file__).parent


def test_every_package_has_quick_tests():
    packages = {each.name for each in pkgutil.iter_modules(seqjax.__path__) if each.ispkg}
    assert set(QUICK) == packages | {"experiments"}
    assert all(QUICK.values())


NAMES = [*(name for names in QUICK.values() for name in names), *sorted(EXTENDED)]


@pytest.mark.parametrize("name", NAMES)
def test_a_named_test_exists(name):
    """A test that was renamed would leave its package without one, or run where it should not."""
    file, _, wanted = name.partition("[")[0].partition("::")
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    tests = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert wanted in tests if wanted else any(test.startswith("test_") for test in tests)
