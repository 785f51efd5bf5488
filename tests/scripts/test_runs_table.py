"""The table of finished runs."""

import sys
from pathlib import Path

import pytest

from experiments.intervals import summarise
from experiments.summary import write_summary
from seqjax import train

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import runs_table


def finish(path, cell, per_seed, *, sha="a", headline="test_mse"):
    run = train.open_run(path, {"cell": cell, "seed": 0}, resume=False)
    result = {
        "experiment": "regression", "cell": cell, "dataset": "waves", "num_params": 1234,
        "seeds": len(per_seed), "epochs_run": 2, "wall_s": 240.0,
        "versions": {"python": "3.11", "jax": "0.10"},
        "devices": {"platform": "cpu", "kind": "cpu", "count": 1},
        "data_sha256": sha, "params_sha256": "p", "floors": {"mean": 0.5}, "whose": {},
        "metrics": {
            "validation_mse": summarise([9.0] * len(per_seed)),
            headline: summarise(per_seed),
            "seed_wall_s": summarise([120.0] * len(per_seed)),
        },
    }  # fmt: skip
    command = f"python -m experiments.regression --cell={cell} --data_dir=/secret"
    write_summary(run, result, command=command)
    run.write_result(result)
    return str(path)


def test_runs_of_one_data_set_share_floors(tmp_path):
    paths = [
        finish(tmp_path / "a", "lstm", [0.1, 0.2]),
        finish(tmp_path / "b", "gru", [0.3]),
        finish(tmp_path / "c", "rnn", [0.9123], sha="b", headline="test_accuracy"),
    ]
    text = runs_table.report(paths)
    first, second = text.split("\n\n")[:2]
    assert "| lstm | 0.1500 (-0.4853 to 0.7853) | 0.1000, 0.2000 | 1,234 | 2.0 |" in first
    assert "| gru | 0.3000 | 0.3000 | 1,234 | 2.0 |" in first
    assert first.count("| baseline: mean | 0.5000 |") == 1
    assert "| rnn | 91.23 | 91.23 |" in second
    assert "| baseline: mean | 50.00 |" in second
    assert "--cell=lstm --data_dir=DIR" in text
    assert "/secret" not in text


def test_an_unfinished_or_absent_run_is_refused(tmp_path):
    with pytest.raises(train.RunError, match="holds no run"):
        runs_table.report([str(tmp_path / "none")])
    train.open_run(tmp_path / "begun", {}, resume=False)
    with pytest.raises(train.RunError, match="has no result yet"):
        runs_table.report([str(tmp_path / "begun")])
