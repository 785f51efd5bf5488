"""A grid of settings: what is run, what the table says, and that nothing is run twice."""

import json

import numpy as np
import pytest
from scipy import stats

from experiments import regression, sweep
from experiments.command_line import ConfigError
from experiments.intervals import summarise
from seqjax import train

GIVEN = {
    "task": "sine", "seeds": 1, "epochs": 1, "train_size": 64, "lookback": 12, "horizon": 4,
    "ridge_lags": 5,
}  # fmt: skip


def test_the_grid():
    members = sweep.parse(" learning_rate = 1e-3, 3e-3 ;cell=gru;residual=true", regression.Config)
    assert members == [
        {"learning_rate": rate, "cell": "gru", "residual": True} for rate in (1e-3, 3e-3)
    ]
    assert type(members[0]["learning_rate"]) is float


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hidden=4", "There is no setting 'hidden'; there are cell, cell_options"),
        ("hidden_size=a", "--hidden_size must be of type int, got 'a'"),
        ("hidden_size=4;hidden_size=8", "each name once, got 'hidden_size=8'"),
        ("hidden_size", "must be written name=value"),
        ("hidden_size=4,4", "must name each value once"),
        (
            ";".join(
                f"{name}={','.join(map(str, range(1, 40)))}"
                for name in ("epochs", "patience", "period")
            ),
            "at most 10,000 members, got 59,319",
        ),
        ("seeds=1,2", "other than seed and seeds"),
        ("", "other than seed and seeds"),
    ],
)
def test_mistakes(text, message):
    with pytest.raises(ConfigError, match=message):
        sweep.parse(text, regression.Config)


def test_a_member_that_cannot_be_used_is_refused_before_any_is_trained(tmp_path):
    with pytest.raises(ConfigError, match="--cell must be one of"):
        sweep.run_sweep(regression.EXPERIMENT, GIVEN, "cell=gru,nru", workdir=tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()


@pytest.mark.extended
def test_in_turn_members_come_to_the_same(tmp_path):
    grid = "learning_rate=1e-3,3e-3"
    together, in_turn = (
        sweep.run_sweep(
            regression.EXPERIMENT, GIVEN | {"seeds": 2}, grid,
            workdir=tmp_path / mesh, notify=len, mesh=mesh,
        )
        for mesh in ("members", "batch")
    )  # fmt: skip
    for one, other in zip(together, in_turn, strict=True):
        of_one, of_other = (each.result["metrics"]["test_mse"]["per_seed"] for each in (one, other))
        assert of_one == pytest.approx(of_other, rel=1e-5)


@pytest.mark.extended
def test_members_are_runs_and_none_is_run_twice(tmp_path, monkeypatch):
    folder, said = tmp_path / "sweep", []
    # Members share the devices, as they do on accelerators.
    options = {"workdir": folder, "notify": said.append, "mesh": "members"}
    grid = "learning_rate=1e-3,3e-3;hidden_size=4,5"
    plain, begun = train.fit_together, []

    def stopping(members, **kwargs):
        begun.append([(member.run.path.name, member.seed) for member in members])
        if len(begun) == 2:
            raise KeyboardInterrupt
        return plain(members, **kwargs)

    monkeypatch.setattr(train, "fit_together", stopping)
    with pytest.raises(KeyboardInterrupt):
        sweep.run_sweep(regression.EXPERIMENT, GIVEN, grid, **options)
    with pytest.raises(train.RunError, match="already holds a run; continue it with --resume"):
        sweep.run_sweep(regression.EXPERIMENT, GIVEN, grid, **options)
    members = sweep.run_sweep(regression.EXPERIMENT, GIVEN, grid, resume=True, **options)
    rates = (0.001, 0.003)
    names = [f"learning_rate={rate},hidden_size={size}" for rate in rates for size in (4, 5)]
    assert [member.name for member in members] == names
    # What differs in the rate alone is one program; what had finished is not begun again.
    first, second = (
        [(f"learning_rate={rate},hidden_size={size}", 0) for rate in rates] for size in (4, 5)
    )
    assert begun == [first, second, second]
    assert json.loads((folder / "sweep.json").read_text())[1]["result"] == members[1].result
    report = (folder / "sweep.md").read_text()
    assert report in "".join(said)
    assert report.count("preferred by validation") == 1


def member(name, validation, test, metric="mse"):
    metrics = {f"test_{metric}": summarise(test)}
    metrics[f"validation_{metric}"] = summarise(validation)
    return sweep.Member(name, {}, {"metrics": metrics, "num_params": 1000, "seeds": len(test)})


def test_the_comparison_is_paired_and_chosen_by_validation():
    first = member("a", [1.0, 1.0, 1.0], [0.5, 0.6, 0.9])
    second = member("b", [2.0, 2.0, 2.0], [0.4, 0.45, 0.7])
    rows = sweep.compare([first, second]).splitlines()
    assert rows[2].startswith("| a | 1,000 | 1 | 0.6667")
    assert "preferred by validation" in rows[2]
    p = stats.ttest_rel([0.4, 0.45, 0.7], [0.5, 0.6, 0.9]).pvalue
    assert rows[3].startswith("| b | 1,000 | 2 | 0.5167")
    assert rows[3].endswith(f"| -0.15 (-0.2742 to -0.02579) | {p:.3f} |")
    # Where larger is better the other one is preferred.
    first = member("a", [0.7, 0.7], [0.7, 0.8], "accuracy")
    second = member("b", [0.8, 0.8], [0.6, 0.7], "accuracy")
    assert "preferred by validation" in sweep.compare([first, second]).splitlines()[3]


def test_the_paired_test_is_students():
    rng = np.random.default_rng(0)
    for size in (2, 3, 10):
        one, other = rng.normal(size=(2, size))
        expected = stats.ttest_rel(one, other).pvalue
        assert sweep.paired_p(one - other) == pytest.approx(expected, rel=1e-9)
    assert sweep.paired_p([0.0, 0.0]) == 1.0
    assert sweep.paired_p([0.5, 0.5]) == 0.0
    assert sweep.paired_p([0.8 - 0.7, 0.7 - 0.6]) == 0.0  # but for rounding
