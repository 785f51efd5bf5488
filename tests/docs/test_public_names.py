"""Every public name of the library says what it is, and links between pages lead somewhere."""

import importlib
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


def test_a_name_without_docstring_is_found(public_names, tmp_path, monkeypatch):
    """The check itself, on a package with one fault of each kind."""
    package = tmp_path / "seqjax"
    package.mkdir()
    package.joinpath("__init__.py").write_text(
        "from seqjax.a import LIMIT, Thing, said, silent\nfrom seqjax.a import gone\n"
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
