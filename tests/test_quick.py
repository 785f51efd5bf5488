"""`pytest -m quick` runs something of every package."""

import ast
import pkgutil
from pathlib import Path

import pytest
from quick import QUICK

import seqjax

TESTS = Path(__file__).parent


def test_every_package_has_quick_tests():
    packages = {each.name for each in pkgutil.iter_modules(seqjax.__path__) if each.ispkg}
    assert set(QUICK) == packages | {"experiments"}
    assert all(QUICK.values())


@pytest.mark.parametrize("name", [name for names in QUICK.values() for name in names])
def test_a_quick_test_exists(name):
    """A test that was renamed would leave its package without one."""
    file, _, wanted = name.partition("::")
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    tests = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert wanted in tests if wanted else any(test.startswith("test_") for test in tests)
