"""Notebooks become pages of the site."""

import importlib
import sys

import pytest
from pages import ROOT

NOTEBOOK = """\
# A title

See [the cells](../docs/cells.md) and [another](other.ipynb).

```{code-cell} ipython3
:tags: [remove-output]
:name: first

import jax
```
"""
PAGE = """\
# A title

See [the cells](../cells.md) and [another](other.md).

```python

import jax
```
"""


@pytest.fixture
def notebook_pages(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    yield importlib.import_module("notebook_pages")
    for name in ("notebook_pages", "api_pages", "public_names"):
        sys.modules.pop(name)


def test_pages(notebook_pages, tmp_path, monkeypatch):
    sources, pages = tmp_path / "notebooks", tmp_path / "pages"
    monkeypatch.setattr(notebook_pages, "SOURCES", sources)
    notebook_pages.write_pages(pages)
    assert [path.name for path in pages.iterdir()] == ["index.md"]
    sources.mkdir()
    (sources / "one.md").write_text(NOTEBOOK)
    notebook_pages.write_pages(pages)
    assert (pages / "one.md").read_text() == PAGE
    assert "\none.md\n" in (pages / "index.md").read_text()
    (sources / "one.md").unlink()
    notebook_pages.write_pages(pages)
    assert [path.name for path in pages.iterdir()] == ["index.md"]
