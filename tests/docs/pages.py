"""Reads the code of a Markdown page: Python to be run, what it prints, commands."""

import itertools
import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/howto").glob("*.md")),
]
TUTORIAL = ROOT / "docs" / "tutorial.md"
NOT_RUN = "<!-- not run:"
_FENCE = re.compile(r"^(?P<fence>`{3,})(?P<info>.*)\n(?P<body>(?:.*\n)*?)(?P=fence)\s*$", re.M)


class Block(NamedTuple):
    """A fenced block of a page.

    Attributes:
      info: what stands behind the fence, such as `python`.
      body: its text.
      line: number of its first line in the page.
      before: the text between the block before it and this one.
    """

    info: str
    body: str
    line: int
    before: str


class Example(NamedTuple):
    """Code to be run.

    Attributes:
      code: the text.
      line: number of its first line in the page.
      printed: what it must print, or None where the page does not say.
    """

    code: str
    line: int
    printed: str | None


def blocks(page: Path) -> list[Block]:
    """Returns the fenced blocks of a page, in order."""
    text, end, found = page.read_text(encoding="utf-8"), 0, []
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("body")) + 1
        before = text[end : match.start()]
        found.append(Block(match["info"].strip(), match["body"], line, before))
        end = match.end()
    return found


def examples(page: Path, kind: str) -> list[Example]:
    """Returns the blocks of a kind that are to be run.

    A block without a kind, or of the kind `text`, right behind one says what that prints. A comment
    `<!-- not run: why -->` right before a block excepts it.
    """
    found = []
    for block, after in itertools.pairwise([*blocks(page), None]):
        assert block is not None
        excepted = block.before.rstrip().rpartition("\n")[2].startswith(NOT_RUN)
        if block.info != kind or excepted:
            continue
        code = block.body.replace("\\\n", " ") if kind == "sh" else block.body
        says = after and after.info in ("", "text") and not after.before.strip()
        found.append(Example(code, block.line, after.body if after and says else None))
    return found


def commands(page: Path) -> list[list[str]]:
    """Returns the commands of a page that run an experiment, as words, wherever they stand."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.strip().partition("  #")[0] for line in text.splitlines()]
    found = [line for line in lines if line.startswith("python -m experiments.")]
    # The last command of a script in quotes ends with theirs; what a shell computes is its own.
    found = [line.removesuffix("'") if line.count("'") % 2 else line for line in found]
    return [shlex.split(line) for line in found if "$(" not in line]
