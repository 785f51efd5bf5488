"""Formulas are MathML in the pages themselves: no script, no network."""

import importlib
import re
import sys

import pytest
from pages import PAGES, ROOT

pytest.importorskip("sphinx")


@pytest.fixture
def formulas(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    yield importlib.import_module("formulas")
    sys.modules.pop("formulas")


def test_every_formula_can_be_drawn(formulas):
    """The translator knows fewer commands than MathJax: for one, ldots must stand for dots."""
    code = re.compile(r"^(`{3,}).*?^\1|`[^`\n]*`|^ {4}.*?$", re.S | re.M)
    notebooks = sorted((ROOT / "notebooks").glob("*.md"))
    drawn = 0
    for page in [*PAGES, *notebooks]:
        text = code.sub("", page.read_text("utf-8"))
        for block, inline in re.findall(r"\$\$(.+?)\$\$|\$([^$\n]+)\$", text, re.S):
            drawn += "<math" in formulas.tex2mathml((block or inline).strip(), as_block=bool(block))
    assert drawn > 100


def test_what_cannot_be_drawn_is_a_warning(formulas, monkeypatch):
    """And a warning ends the build."""
    warned = []
    monkeypatch.setattr(formulas._LOGGER, "warning", lambda *args, **kwargs: warned.append(args))
    node = formulas.nodes.math("", r"\nosuchcommand")
    assert formulas._mathml(node, as_block=False) == ""
    assert "nosuchcommand" in str(warned[0][1])
