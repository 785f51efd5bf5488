"""The script that times executors: what it compares, what it leaves out, what it refuses."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import time_parallel

QUICK = ["--quick", "--rounds=1"]


@pytest.mark.extended
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")
def test_every_program_gives_the_same_results_and_is_timed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: time_peers -->\nold\n<!-- end -->\nafter\n")
    flags = ["--peers=torch,flax", "--dtypes=bfloat16", f"--table={page}"]
    time_parallel.main([*QUICK, *flags])
    text = page.read_text()
    assert "old" not in text
    rows = {}
    for line in text.splitlines():
        name, *entries = (entry.strip() for entry in line.strip("| ").split(" | "))
        rows[name.partition(",")[0]] = entries
    # Sequential, associative, over time, Newton, PyTorch, Flax.
    for cell, timed in (("gru", [1, 0, 0, 1, 1, 1]), ("min_gru", [1, 1, 1, 0, 0, 0])):
        dtype, *entries = [*rows[cell], "", "", ""][:7]
        assert dtype == "bfloat16"
        assert [bool(entry) and float(entry) > 0 for entry in entries] == timed


def test_a_program_with_other_results_is_not_timed(monkeypatch):
    def programs(case, dtype, peers):
        for name, value in (("right", 1.0), ("wrong", 1.1)):
            yield name, lambda value=value: lambda: {"ys": np.full(2, 1.0) * value}
        yield "broken", lambda: 1 / 0

    monkeypatch.setattr(time_parallel, "programs_of", programs)
    case = time_parallel.QUICK[0]
    found = time_parallel.measure(case, "float32", [], 1)
    assert float(found.pop("right")) >= 0
    assert found == {"wrong": "differs by 1e-01", "broken": "failed"}
    assert time_parallel.relative_difference(np.ones(2), np.ones(3)) == np.inf
    assert time_parallel.relative_difference(np.ones(2), np.array([1, np.nan])) == np.inf


def test_figures():
    found = [time_parallel.figures(x) for x in (0.0012345, 9.999, 99.96, 8712.3)]
    assert found == ["0.00123", "10", "100", "8,710"]


def test_what_there_is_no_time_for_is_named(capsys):
    time_parallel.main([*QUICK, "--seconds=-1"])
    assert "Not run, for lack of time: gru, 12 x 2 x 4 in float32;" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--table=nowhere.md", "must be a page"),
        ("--rounds=0", "at least 1"),
        ("--peers=abacus", "must be some of torch, flax; got 'abacus'"),
        ("--compile=abacus", "must be some of h200, v5e, v6e; got 'abacus'"),
    ],
)
def test_refuses(flag, message, capsys):
    with pytest.raises(SystemExit) as ended:
        time_parallel.main([flag])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
