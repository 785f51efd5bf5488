"""The code of README and of the documentation runs, and prints what the pages say."""

import contextlib
import doctest
import importlib
import io
import os
import runpy
import shlex
import sys

import jax
import pytest
from absl import flags
from pages import PAGES, ROOT, commands, examples

from experiments import command_line, sweep

os.environ.setdefault("KERAS_BACKEND", "jax")
CHECKER = doctest.OutputChecker()
LENIENT = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
RUN = [page for page in PAGES if examples(page, "python")]
TUTORIAL = ROOT / "docs" / "tutorial.md"


def name(page):
    return str(page.relative_to(ROOT))


def check_printed(page, example, printed):
    wanted = example.printed
    if wanted is not None and not CHECKER.check_output(wanted, printed, LENIENT):
        pytest.fail(f"{name(page)}:{example.line} must print\n{wanted}\nand printed\n{printed}")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
@pytest.mark.parametrize("page", RUN, ids=name)
def test_python(page, tmp_path, monkeypatch):
    """The blocks of a page run in order, in one namespace and an empty folder."""
    peers = [p for p in ("keras", "torch") if f"import {p}\n" in page.read_text("utf-8")]
    for peer in peers:
        pytest.importorskip(peer, reason=f"{peer} is not installed", exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    # Others promote ranks silently, which our own code may not.
    with jax.numpy_rank_promotion("allow" if peers else "raise"):
        for example in examples(page, "python"):
            # Lines are counted as in the page, for the traceback of a block that fails.
            code = compile("\n" * (example.line - 1) + example.code, page, "exec")
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(code, namespace)
            check_printed(page, example, output.getvalue())
    if page == TUTORIAL:
        for example in examples(page, "sh"):
            run_program(example.code, monkeypatch)


def run_program(command, monkeypatch):
    """Runs `python -m experiments...` in this process, and takes its flags back."""
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:2] == ["python", "-m"], f"cannot run {command}"
    known = set(flags.FLAGS)
    monkeypatch.setattr(sys, "argv", words[2:])
    try:
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(words[2], run_name="__main__", alter_sys=True)
        assert not ended.value.code, command
    finally:
        for flag in set(flags.FLAGS) - known:
            delattr(flags.FLAGS, flag)
        flags.FLAGS.unparse_flags()


COMMANDS = {" ".join(words): words for page in PAGES for words in commands(page)}


@pytest.mark.parametrize("command", COMMANDS)
def test_flags(command):
    """The settings of every command in the pages exist, and go together."""
    words = COMMANDS[command]
    experiment = importlib.import_module(words[2])
    given = {}
    for word in words[3:]:
        setting, equals, value = word.removeprefix("--").partition("=")
        assert word.startswith("--"), word
        if setting in ("resume", "help", "predict", "workdir", "cache_dir"):
            continue
        assert equals, word
        if setting == "sweep":
            sweep.parse(value, experiment.Config)
        elif not (":" in value or "$" in value):  # a cell of the reader's own, a shell's variable
            given[setting] = command_line.parse_setting(experiment.Config, setting, value)
    make = getattr(experiment, "configure", experiment.Config)
    make(**given)


def test_a_wrong_output_is_found(tmp_path):
    """The check itself: a page that promises what its code does not print fails."""
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n```text\n2\n```\n")
    (example,) = examples(page, "python")
    with pytest.raises(pytest.fail.Exception, match="must print"):
        check_printed(ROOT / "page.md", example, "1\n")


def test_blocks_not_run(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: no network -->\n```python\n1/0\n```\nText.\n```python\n2\n```\n")
    assert [example.code for example in examples(page, "python")] == ["2\n"]
