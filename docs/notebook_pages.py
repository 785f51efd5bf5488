"""Makes pages of the notebooks, which are Markdown, where the checkout has some."""

import re
from pathlib import Path

from api_pages import replace

SOURCES = Path(__file__).resolve().parents[1] / "notebooks"
INDEX = """\
# Notebooks

They lie in the folder `notebooks/` of the repository, in Markdown that
[Jupytext](https://jupytext.readthedocs.io) pairs with notebooks of the same name. These pages show
text and code, not what the cells print.

"""


def write_pages(folder: Path) -> None:
    """Writes a page for every notebook, and one that lists them.

    Args:
      folder: where they go; it is made, and holds nothing else afterwards.
    """
    folder.mkdir(exist_ok=True)
    pages = {path.name: page(path.read_text("utf-8")) for path in sorted(SOURCES.glob("*.md"))}
    listed = "\n".join(["```{toctree}", *pages, "```"]) if pages else "This checkout has none."
    pages["index.md"] = f"{INDEX}{listed}\n"
    for old in set(folder.iterdir()) - {folder / name for name in pages}:
        old.unlink()
    for name, text in pages.items():
        replace(folder / name, text)


def page(text: str) -> str:
    """Returns a notebook as a page: cells as code, links to the other pages as links among them."""
    text = re.sub(r"\]\((\w+)\.ipynb", r"](\1.md", text.replace("](../docs/", "](../"))
    return re.sub(r"^```\{code-cell\}.*\n(:.*\n)*", "```python\n", text, flags=re.MULTILINE)
