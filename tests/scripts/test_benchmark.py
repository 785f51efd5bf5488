"""The benchmark: what it writes, what it compares, what it refuses."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import benchmark  # noqa: E402


def run(*flags):
    command = [sys.executable, str(SCRIPTS / "benchmark.py"), *flags]
    return subprocess.run(command, capture_output=True, text=True)


def test_rows_and_table(tmp_path):
    page, rows = tmp_path / "page.md", tmp_path / "rows.json"
    page.write_text("before\n<!-- table: benchmark -->\nold\n<!-- end -->\nafter\n")
    done = run(
        "--peers=scan",
        "--cells=bilstm,own",
        "--shapes=6x4x3x5",
        "--rounds=2",
        f"--json={rows}",
        f"--table={page}",
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(rows.read_text())["rows"]
    assert [(row["cell"], row["mode"]) for row in found] == [
        (cell, mode) for cell in ("bilstm", "own") for mode in ("train", "inference")
    ]
    for row in found:
        assert (row["T"], row["B"], row["in_size"], row["hidden_size"]) == (6, 4, 3, 5)
        assert row["peer"] == "scan"
        assert row["ratio"] == pytest.approx(row["peer_ms"] / row["ours_ms"], rel=1e-2)
        assert row["difference"] < benchmark.TOLERANCE
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| bilstm | 6 | 4 | 3 | 5 |" in text


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--peers=theano", "--peers must be among .*theano"),
        ("--table=nowhere.md", "--table must be a page, got 'nowhere.md'"),
        ("--shapes=2x3", "a shape must be four numbers like 200x64x128x128, got '2x3'"),
    ],
)
def test_refuses(flag, message):
    done = run(flag)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert re.search(message, done.stderr)


def test_a_difference_is_seen():
    ours = {"ys": np.ones(4), "0.bias": np.ones(3)}
    assert benchmark.largest_difference(ours, ours) == 0
    wrong = {**ours, "0.bias": np.array([1.0, 1.0, 1.1])}
    assert benchmark.largest_difference(ours, wrong) > benchmark.TOLERANCE
    with pytest.raises(RuntimeError, match="are not ours"):
        benchmark.largest_difference(ours, {"ys": np.ones(4)})
