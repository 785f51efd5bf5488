"""The benchmark: what it writes, what it compares, what it refuses."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = REPOSITORY / "scripts"
sys.path.insert(0, str(SCRIPTS))

import benchmark  # noqa: E402


def run(*flags):
    command = [sys.executable, str(SCRIPTS / "benchmark.py"), *flags]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.extended
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


@pytest.mark.extended
def test_an_earlier_commit():
    done = run(
        f"--baseline={REPOSITORY}",
        "--peers=baseline",
        "--cells=lstm",
        "--shapes=6x4x3x5",
        "--rounds=1",
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^lstm 6x4x3x5 train: ours .* baseline .* ratio", done.stdout, re.M)
    *_, train, inference = done.stdout.splitlines()
    assert re.fullmatch(r"smallest ratio to baseline, train: [\d.]+, lstm 6x4x3x5", train)
    assert re.fullmatch(r"smallest ratio to baseline, inference: [\d.]+, lstm 6x4x3x5", inference)


# The repository's seqjax, but for a minGRU whose input counts twice.
WRONG = """
from pathlib import Path
__path__ = [{package!r}]
exec(Path({package!r}, "__init__.py").read_text())
right = min_gru

def min_gru(hidden_size):
    cell = right(hidden_size)

    def coefficients(params, x):
        a, b = cell.coefficients(params, x)
        return a, 2 * b

    return linear_cell("min_gru", hidden_size, init=cell.init, coefficients=coefficients)
"""


@pytest.mark.extended
def test_a_wrong_commit_is_not_timed(tmp_path):
    (tmp_path / "seqjax").mkdir()
    wrong = WRONG.format(package=str(REPOSITORY / "seqjax"))
    (tmp_path / "seqjax" / "__init__.py").write_text(wrong)
    rows = tmp_path / "rows.json"
    done = run(
        f"--baseline={tmp_path}",
        "--peers=associative_autodiff,baseline",
        "--cells=min_gru",
        "--shapes=6x4x3x5",
        "--rounds=1",
        f"--json={rows}",
    )
    assert done.returncode == 1
    assert "baseline gives other results, or none: min_gru 6x4x3x5" in done.stderr
    assert "left out: baseline differs by" in done.stdout
    found = json.loads(rows.read_text())["rows"]
    assert [(row["peer"], row["mode"]) for row in found] == [
        ("associative_autodiff", mode) for mode in benchmark.MODES
    ]
    assert all(row["difference"] < benchmark.TOLERANCE for row in found)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--peers=theano", "--peers must be among .*theano"),
        ("--table=nowhere.md", "--table must be a page, got 'nowhere.md'"),
        ("--peers=baseline", "the peer baseline needs --baseline=FOLDER"),
        ("--baseline=nowhere", "--baseline must be a checkout of seqjax, got 'nowhere'"),
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


@pytest.mark.extended
def test_the_drop_in_for_flax():
    """Flax's GRU has no bias on the recurrent candidate: ours is zero there."""
    case = ("--cells=gru", "--shapes=6x4x3x5", "--modes=train", "--rounds=1")
    done = run("--peers=flax,drop_in_cores", *case)
    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stdout
    *_, last = done.stdout.splitlines()
    assert re.fullmatch(r"flax by drop_in_cores, train: [\d.]+ \(6x4x3x5 [\d.]+\)", last)


def test_ratios_of_the_drop_in():
    """Geometric means over the cells of a shape that both have, then over the shapes."""

    def row(peer, steps, ms):
        sizes = {"T": steps, "B": 2, "in_size": 3, "hidden_size": 4}
        return {"mode": "train", "peer": peer, "peer_ms": ms, **sizes}

    rows = [
        row("flax", 5, 4.0),
        row("flax", 5, 9.0),
        row("drop_in", 5, 1.0),
        row("drop_in", 5, 4.0),
    ]
    rows += [row("flax", 6, 2.0), row("drop_in", 6, 6.0), row("flax", 7, 1.0)]
    told = benchmark.drop_in_ratios(rows)
    assert told == "flax by drop_in, train: 1.00 (5x2x3x4 3.00, 6x2x3x4 0.33)"
