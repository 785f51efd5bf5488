"""A user's questions are answered at most two clicks from the index, without scrolling.

A click follows a link, or an entry of the table of contents. The first screen is the first lines of
the page, or of the section that a link leads to.
"""

import re
from typing import NamedTuple

import pytest
from pages import ROOT

DOCS = ROOT / "docs"
CLICKS = 2
SCREEN = 40  # lines


class Question(NamedTuple):
    """A question, where it is answered, and a phrase of the answer."""

    text: str
    target: str
    phrase: str


QUESTIONS = [
    Question("How do I install it?", "tutorial.md#install", "pip install -e ."),
    Question("What is the licence?", "index.md", "Apache 2.0"),
    Question("Which cells are there?", "cells.md", "[`lstm`](#lstm)"),
    Question("How do I use my own cell?", "howto/own_cell.md", "`gated_cell`"),
    Question("What do I do with different lengths?", "howto/lengths.md", "pass `lengths`"),
    Question(
        "How do I read the last output?", "howto/lengths.md#in-modules", "to get each sequence"
    ),
    Question("Can a layer be bidirectional?", "howto/layers.md", "`seqjax.nn.Bidirectional`"),
    Question(
        "How do I stack layers?",
        "howto/layers.md#layers-on-top-of-each-other",
        "A `Stack` runs layers on top",
    ),
    Question("How do I add dropout?", "howto/transforms.md", "recurrent_dropout"),
    Question("How do I train on my own CSV?", "howto/own_data.md", "classify --task=csv --path="),
    Question("How do I continue an interrupted run?", "howto/runs.md", "--resume"),
    Question("How do I query a finished run?", "howto/runs.md", "--predict="),
    Question("How do I compare settings?", "howto/sweeps.md", '--sweep="hidden_size=32,64'),
    Question("How do I use all cores?", "howto/devices.md", "train.use_all_cores()"),
    Question("How do I run on several GPUs?", "many_devices.md", "all devices that JAX sees"),
    Question("How do I save memory?", "howto/memory.md#memory", '`"boundaries"`'),
    Question(
        "Why does the gradient vanish?",
        "background.md#vanishing-and-exploding-gradients",
        "the gradient vanishes at least as fast",
    ),
    Question("How do I load PyTorch weights?", "convert.md#from-pytorch", "convert.load(model,"),
    Question("How do I run one step at a time?", "convert.md#step-by-step", "seqjax.step("),
    Question("How fast is it?", "benchmarks.md", "times as fast as these libraries"),
]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.text)
def test_question(question):
    assert clicks_to(question.target) <= CLICKS
    path, _, anchor = question.target.partition("#")
    assert question.phrase in first_screen((DOCS / path).read_text("utf-8"), anchor)


def test_there_are_twenty():
    assert len({question.text for question in QUESTIONS}) == 20


def test_a_far_page_and_a_late_answer_are_found(tmp_path, monkeypatch):
    """The check itself: three clicks are too many, and so are forty lines above the answer."""
    monkeypatch.setitem(globals(), "DOCS", tmp_path)
    (tmp_path / "index.md").write_text("```{toctree}\none\n```\n")
    (tmp_path / "one.md").write_text("[two](two.md)\n")
    (tmp_path / "two.md").write_text("[three](three.md#end)\n")
    (tmp_path / "three.md").write_text("# Three\n" + "\n" * SCREEN + "late\n\n## End\nsoon\n")
    assert [clicks_to(f"{name}.md") for name in ("index", "one", "two")] == [0, 1, 2]
    assert clicks_to("three.md#end") == 3
    text = (tmp_path / "three.md").read_text()
    assert "late" not in first_screen(text, "")
    assert "soon" in first_screen(text, "end")


def clicks_to(target):
    """Returns the least number of clicks from the index that lead to a page, or to its section."""
    reached, clicks = {"index.md"}, 0
    while target not in reached:
        found = {link for page in pages_of(reached) for link in links(page)}
        assert not found <= reached, f"no link leads to {target}"
        reached, clicks = reached | found, clicks + 1
    return clicks


def pages_of(targets):
    """Returns the pages of targets that are written by hand, not made when the site is built."""
    names = {target.partition("#")[0] for target in targets}
    return [DOCS / name for name in sorted(names) if (DOCS / name).is_file()]


def links(page):
    """Returns the pages and sections to which a page leads, as paths below `docs`."""
    text = page.read_text("utf-8")
    targets = re.findall(r"\]\(([^)\s:]*)\)", text)
    for body in re.findall(r"^```\{toctree\}\n((?:.*\n)*?)```$", text, re.M):
        entries = [line for line in body.split("\n") if line and line[0] != ":"]
        targets += [f"{entry.removesuffix('*')}.md" for entry in entries]
    for target in targets:
        path, hash_, anchor = target.partition("#")
        path = (page.parent / path).resolve() if path else page
        if path.is_relative_to(DOCS):
            yield f"{path.relative_to(DOCS).as_posix()}{hash_}{anchor}"


def first_screen(text, anchor):
    """Returns the words of the first lines of a page, or of the section with an anchor."""
    lines = text.split("\n")
    start = 0
    if anchor:
        (start, *_) = (
            number
            for number, line in enumerate(lines)
            if line.startswith("#") and slug(line) == anchor
        )
    return " ".join(" ".join(lines[start : start + SCREEN]).split())


def slug(heading):
    """Returns the anchor of a heading, as GitHub and MyST make it."""
    words = re.sub(r"[^\w\s-]", "", heading.lstrip("#").strip().lower())
    return words.replace(" ", "-")
