"""Every public name of the library says what it is, and links between pages lead somewhere."""

import importlib
import inspect
import pkgutil
import re
import sys

import pytest
from pages import PAGES, ROOT


@pytest.fixture
def public_names(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    yield importlib.import_module("public_names")
    sys.modules.pop("public_names")


def test_every_public_name_has_a_docstring(public_names):
    assert public_names.undocumented() == []


def test_names_are_those_of_the_packages(public_names):
    """What is read from the source is what a user finds after the import."""
    for package in public_names.packages():
        module = importlib.import_module(package)
        names = [public.name for public in public_names.public_names(package)]
        assert names, package
        assert [name for name in names if not hasattr(module, name)] == []


def test_no_name_is_both_a_module_and_something_else(public_names):
    """`seqjax.x.y` then means the same thing whatever has been imported before."""
    for package in public_names.packages():
        names = {public.name for public in public_names.public_names(package)}
        module = importlib.import_module(package)
        inner = {found.name for found in pkgutil.iter_modules(module.__path__)}
        shadowed = {
            name for name in inner & {*vars(module)} if not inspect.ismodule(vars(module)[name])
        }
        assert shadowed == set(), package
        public = {name for name in inner if not name.startswith("_")}
        assert public <= names, (
            f"{package}: {public - names} must be exported, or have an underscore"
        )
        below = {f"{package}.{name}" for name in public}
        assert below <= {*public_names.packages()}, f"{package}: a public module is a package"


def test_a_name_without_docstring_is_found(public_names, tmp_path, monkeypatch):
    """The check itself, on a package with one fault of each kind."""
    names = ("LIMIT", "Thing", "said", "silent", "gone")
    package = tmp_path / "seqjax"
    package.mkdir()
    package.joinpath("__init__.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "from seqjax.a import hidden\n"
        + "".join(f"from seqjax.a import {name} as {name}\n" for name in names[:-1])
        + f"if TYPE_CHECKING:\n    from seqjax.a import {names[-1]} as {names[-1]}\n"
    )
    package.joinpath("a.py").write_text(
        "LIMIT = 1\n"
        "def said():\n    'Says.'\n"
        "def silent(): ...\n"
        "class Thing:\n    'Says.'\n    def method(self): ...\n    def _private(self): ...\n"
    )
    monkeypatch.setattr(public_names, "ROOT", tmp_path)
    public_names.parse.cache_clear()
    missing = ["LIMIT", "Thing.method", "silent", "gone"]
    assert public_names.undocumented() == [f"seqjax.{name}" for name in missing]
    public_names.parse.cache_clear()


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_links(page):
    """Relative links lead to files; those of the site alone are checked when it is built."""
    targets = re.findall(r"\]\(([^)#\s:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []
