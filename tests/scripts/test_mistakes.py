"""A user's mistake with a script of measurements is one line, and it comes before the minutes."""

import argparse
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from seqjax import train

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import imdb_table
import scaling


def test_shapes():
    assert scaling.parsed("lstm:5x8x16,gru:9x16x8") == [("lstm", 5, 8, 16), ("gru", 9, 16, 8)]
    for wrong in ("5x8x16", "lstm:5x8", "abacus:5x8x16", "lstm:5x8x12", "lstm:0x8x16", ""):
        with pytest.raises(argparse.ArgumentTypeError, match=f"got {wrong!r}"):
            scaling.parsed(wrong)


@pytest.mark.parametrize("flags", [["--table=nowhere.md"], ["--shapes=5"], ["--rounds=0"]])
def test_scaling_refuses(flags, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["scaling.py", *flags])
    with pytest.raises(SystemExit) as ended:
        scaling.main()
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


# JAX, started by a neighbour's test, warns of any process that is begun by a fork.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
def test_a_row_that_fails_is_told_in_its_own_words(monkeypatch, tmp_path):
    fails = "import sys; print('much'); sys.exit('error: no such folder')"
    monkeypatch.setattr(imdb_table, "arguments", lambda *_: [sys.executable, "-c", fails])
    flags = SimpleNamespace(rows=["rnn"], workdir=str(tmp_path))
    monkeypatch.setattr(imdb_table, "FLAGS", flags)
    with pytest.raises(train.RunError, match=r"row rnn ended with 1; .*rnn\.log: error: no such"):
        imdb_table.body()
