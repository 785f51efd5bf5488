"""The regression experiment, end to end, on data that is drawn or written here."""

import dataclasses
import json
import os
import sys
from pathlib import Path

import jax
import numpy as np
import programs
import pytest

from experiments import command_line, regression
from experiments.regression.model import make_loss, model_functions
from experiments.regression.scoring import errors_by_step, scores
from experiments.regression.task import load_task
from seqjax import data, floors, train

SMALL = {
    "hidden_size": 6, "batch_size": 16, "lookback": 12, "train_size": 40, "epochs": 3, "seeds": 2,
    "ridge_lags": 5,
}  # fmt: skip


def small(**changes):
    return regression.configure(**{**SMALL, **changes})


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A series of two waves and their sum, rows with numbers to predict, and rows of classes."""
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    time = np.arange(300)
    first, second = np.sin(time / 3), 5 + 3 * np.cos(time / 5)
    lines = zip(time, first, second, first + second, strict=True)
    text = "\n".join(f"2020-{t},{a:.5f},{b:.5f},{c:.5f}" for t, a, b, c in lines)
    (folder / "series.csv").write_text("date,a,b,c\n" + text)
    rows = rng.normal(size=(150, 10)).round(4)
    answers = {"numeric": 3 + rows.sum(1), "binary": (rows[:, :3].sum(1) > 0).astype(int)}
    for name, answer in answers.items():
        lines = [",".join(map(str, [*row, y])) for row, y in zip(rows, answer, strict=True)]
        (folder / f"{name}.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    lines = []
    config = small(task="sine", horizon=4)
    result = regression.run(config, workdir=path, notify=lines.append)
    return config, result, "\n".join(lines)


def run_on(tmp_path, config):
    return regression.run(config, workdir=tmp_path / "run", notify=lambda line: None)


@pytest.mark.extended
def test_the_mesh_of_one_run_is_not_that_of_the_next(tmp_path, monkeypatch):
    made, make = [], train.make_train_step

    def make_train_step(*args, mesh, **options):
        made.append(dict(mesh.shape))
        return make(*args, mesh=mesh, **options)

    monkeypatch.setattr(train, "make_train_step", make_train_step)
    config = small(task="sine", epochs=1, seeds=1)
    with pytest.raises(train.RunError, match="--mesh must be auto"):
        regression.run(config, workdir=tmp_path / "first", mesh="1by2")
    linear = dataclasses.replace(config, cell="lru")
    newton = dataclasses.replace(config, executor="newton")
    for path, each, options in (
        ("first", config, {"mesh": "1x2"}),
        ("second", config, {}),
        ("third", linear, {"mesh": "time2"}),
        ("fourth", newton, {"mesh": "time2"}),
    ):
        regression.run(each, workdir=tmp_path / path, notify=lambda line: None, **options)
    time = {"batch": 1, "time": 2}
    assert made == [{"batch": 1, "hidden": 2}, {"batch": 2}, time, time]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"cell": "gru"}, "--cell=gru is not linear in its state"),
        ({"cell": "feedforward"}, "--cell=feedforward is not linear in its state"),
        (
            {"cell": "gru", "executor": "newton", "hidden_size": 80},
            "its backward pass then needs the whole Jacobian, in blocks of 80 x 80.*; lower",
        ),
        ({"cell": "mlstm", "executor": "chunked"}, "--executor=chunked runs on one device"),
        ({"cell": "lru", "executor": "sequential"}, "--executor=sequential runs on one device"),
        ({"cell": "lru", "gradient": "rtrl"}, "--gradient=rtrl goes step by step"),
    ],
)
def test_time_is_split_only_where_the_cell_can_be(tmp_path, settings, reason):
    config = small(task="sine", epochs=1, seeds=1, **settings)
    with pytest.raises(
        command_line.ConfigError, match=f"--mesh=time2 splits time over devices, but {reason}"
    ):
        regression.run(config, workdir=tmp_path / "run", mesh="time2")


def test_run_folder(finished):
    config, (path, result), _ = finished
    assert json.loads((path / "result.json").read_text()) == result
    assert json.loads((path / "config.json").read_text()) == dataclasses.asdict(config)
    assert result["experiment"] == "regression"
    assert result["dataset"] == "sine"
    assert set(result["metrics"]) >= {"test_mse", "test_mae", "validation_mse"}
    assert len(result["metrics"]["test_mse"]["per_seed"]) == result["seeds"] == 2
    assert set(result["floors"]) == {"mean", "persistence", "ridge_5"}
    for name in ("training", "predictions", "errors_by_step"):
        assert (path / "figures" / f"{name}.png").exists()
    errors = json.loads((path / "errors_by_step.json").read_text())
    assert set(errors) == {"network", *result["floors"]}
    for name, value in [
        ("network", result["metrics"]["test_mse"]["mean"]),
        *result["floors"].items(),
    ]:
        assert len(errors[name]) == 4
        assert np.mean(errors[name]) == pytest.approx(value)
    assert "test_mse" in (path / "summary.md").read_text()


def test_report(finished):
    _, (path, result), report = finished
    assert report.splitlines()[-1].startswith("test_mse ")
    assert report.splitlines()[-1].endswith(str(path / "result.json"))
    for part in ("RNN(gru(6)", "cost ", "baseline: persistence", f"{result['num_params']:,}"):
        assert part in report


@pytest.mark.extended
def test_same_settings_same_bits(finished, tmp_path):
    config, (_, result), _ = finished
    again = run_on(tmp_path, config).result
    assert again["params_sha256"] == result["params_sha256"]
    assert again["data_sha256"] == result["data_sha256"]
    assert again["metrics"]["test_mse"] == result["metrics"]["test_mse"]


def test_finished_run(finished):
    config, (path, result), _ = finished
    with pytest.raises(train.RunError, match="already holds a run; continue it with --resume"):
        regression.run(config, workdir=path)
    again = regression.run(config, workdir=path, resume=True, notify=lambda line: None)
    assert again.result == result


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(
            {"task": "lorenz", "cell": "min_gru", "horizon": 3}, marks=pytest.mark.extended
        ),
        pytest.param(
            {"task": "mackey_glass", "cell": "lstm", "horizon": 7, "model": "segments",
             "segment_length": 4},
            marks=pytest.mark.extended,
        ),
        pytest.param(
            {"task": "adding", "cell": "bilstm", "ridge_lags": 3, "num_layers": 2},
            marks=pytest.mark.extended,
        ),
        {"task": "sine", "cell": "feedforward", "horizon": 2},
    ],
)  # fmt: skip
def test_every_parameter_moves_and_the_loss_falls(settings, tmp_path):
    config = small(**settings, seeds=1, epochs=6, ema_decay=0.0, learning_rate=0.02)
    path, result = run_on(tmp_path, config)
    task = load_task(config)
    functions = model_functions(config, task.scales, task.num_classes, task.sample.targets.shape)
    before = functions.init(jax.random.split(jax.random.key(0))[0])
    folder = train.open_run(path, dataclasses.asdict(config), resume=True)
    after = train.best_params(folder, 0, before)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before, after)
    assert all(jax.tree.leaves(moved)), moved
    losses = [row["val_loss"] for row in folder.metrics() if row["kind"] == "epoch"]
    assert losses[-1] < losses[0]  # of examples that do not change
    assert result["num_params"] == sum(leaf.size for leaf in jax.tree.leaves(before))


def test_filler_rows_do_not_count():
    config = small(task="narma10", dropout=0.0)
    task = load_task(config)
    functions = model_functions(config, task.scales, task.num_classes, task.sample.targets.shape)
    params = functions.init(jax.random.key(0))
    loss = jax.jit(make_loss(config, functions, task))
    values = []
    for size in (None, 9):
        batch = task.test.take(np.arange(5), size)
        if size:
            batch.targets[5:] = 1e6
        values.append(loss(params, jax.random.key(1), batch))
    for first, second in zip(*map(jax.tree.leaves, values), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-5)


def test_training_draws_anew_for_every_epoch_and_the_same_for_the_same():
    task = load_task(small(task="adding"))
    first, again, second = (task.train(0, epoch) for epoch in (1, 1, 2))
    np.testing.assert_array_equal(first.inputs, again.inputs)
    assert (first.inputs != second.inputs).any()
    assert (first.inputs != task.sample.inputs).any()


def test_a_residual_forecast_starts_from_the_last_observation():
    config = small(task="lorenz", horizon=3)
    task = load_task(config)
    functions = model_functions(config, task.scales, task.num_classes, task.sample.targets.shape)
    zero = jax.tree.map(np.zeros_like, functions.init(jax.random.key(0)))
    found = functions.apply(zero, task.test)
    wanted = floors.persistence(task.test.inputs, 3) + task.scales.output_mean
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_steps_do_not_look_ahead():
    config = small(task="narma10", dropout=0.5)
    task = load_task(config)
    functions = model_functions(config, task.scales, task.num_classes, task.sample.targets.shape)
    params = functions.init(jax.random.key(0))
    batch = task.test.take(np.arange(3))
    before = functions.apply(params, batch)
    batch.inputs[:, 7:] += 1
    after = functions.apply(params, batch)
    np.testing.assert_array_equal(before[:, :7], after[:, :7])
    assert (before[:, 7:] != after[:, 7:]).all()


def test_scores():
    truth = data.make_sequences(np.ones((2, 2, 1)), np.zeros((2, 2, 1)), every_step=True)
    truth = truth._replace(weights=np.array([[1, 1], [1, 0.0]], np.float32))
    predictions = np.array([[1, 2], [3, 100.0]])[..., None]
    found = scores(predictions, truth, 0)
    assert found == {"loss": 14 / 3, "mse": 14 / 3, "mae": 2.0, "median": (2.5 + 9) / 2}
    np.testing.assert_allclose(errors_by_step(predictions, truth), [5, 4])
    classes = data.make_sequences(np.ones((2, 2, 1)), np.array([1, 0], np.int32))
    found = scores(np.array([2.0, 2.0]), classes, 1)
    assert found["accuracy"] == 0.5
    assert found["loss"] == pytest.approx((np.log1p(np.exp(-2)) + np.log1p(np.exp(2))) / 2)
    found = scores(np.array([[0.0, 1.0], [0.0, 1.0]]), classes, 10)
    assert found["accuracy"] == 0.5


def test_series_of_a_file(files, tmp_path):
    series = str(files / "series.csv")
    config = small(
        task="csv", path=series, columns="a,b,c", target_columns="c", horizon=3,
        learning_rate=0.02, epochs=8, patience=8, seeds=1, period=10,
    )  # fmt: skip
    path, result = run_on(tmp_path, config)
    assert set(result["floors"]) == {"mean", "persistence", "seasonal", "ridge_5"}
    assert result["metrics"]["test_mse"]["mean"] < result["floors"]["persistence"]
    rows = regression.predict(path, series)
    assert [list(row) for row in rows] == [["c"]] * 3
    time = np.arange(300, 303)
    truth = np.sin(time / 3) + 5 + 3 * np.cos(time / 5)
    assert np.mean((np.array([row["c"] for row in rows]) - truth) ** 2) < 2
    short = tmp_path / "short.csv"
    short.write_text("a,b,c\n1,2,3\n")
    with pytest.raises(data.DataError, match="at least --lookback=12 rows, got 1"):
        regression.predict(path, short)
    short.write_text("a,b\n1,2\n")
    with pytest.raises(data.DataError, match="must have the column 'c'"):
        regression.predict(path, short)


@pytest.mark.extended
def test_segments_of_a_file_predict_the_chosen_columns(files, tmp_path):
    config = small(
        task="csv", path=str(files / "series.csv"), columns="a,b,c", target_columns="c,a",
        model="segments", segment_length=4, horizon=6, seeds=1, epochs=1,
    )  # fmt: skip
    path, _ = run_on(tmp_path, config)
    assert [list(row) for row in regression.predict(path, files / "series.csv")] == [["c", "a"]] * 6


def write(path, lines):
    path.write_text("\n".join(lines))
    return str(path)


def test_two_columns_of_one_name_are_refused(tmp_path):
    lines = [f"{i},{5000 + i}" for i in range(100)]
    config = small(task="csv", path=write(tmp_path / "x.csv", ["temp,temp", *lines]))
    with pytest.raises(data.DataError, match=r"columns 1 and 2 must have different names.* 'temp'"):
        load_task(config)


def test_empty_cells_of_a_series_take_the_mean_of_the_rows_that_train(tmp_path):
    values = ["0"] * 140 + ["1000"] * 60
    values[150] = ""
    config = small(task="csv", path=write(tmp_path / "x.csv", ["x,y", *(f"{v},1" for v in values)]),
                   missing="mean", model="last")  # fmt: skip
    task = load_task(config, lambda line: None)
    assert task.fill == (0.0, 1.0)
    assert set(np.unique(task.validation.inputs[..., 0])) == {0, 1000}  # and not 305


def test_an_answer_that_is_missing_is_refused(tmp_path):
    lines = ["x,y", *(f"{i % 7},{i % 3}" for i in range(40)), "3,"]
    config = small(task="csv", csv_layout="rows", path=write(tmp_path / "x.csv", lines),
                   missing="mean", residual=False)  # fmt: skip
    with pytest.raises(
        data.DataError, match="an answer is required, got an empty cell in column y"
    ):
        load_task(config, lambda line: None)


@pytest.mark.extended
def test_series_of_several_groups(tmp_path):
    lines = [f"p{g},{t},{np.sin(t / 3) + g:.4f}" for t in range(99, -1, -1) for g in (1, 2)]
    config = small(
        task="csv", path=write(tmp_path / "x.csv", ["id,t,x", *lines]), group_column="id",
        time_column="t", horizon=2, epochs=1, seeds=1,
    )  # fmt: skip
    task = load_task(config)
    assert task.input_names == ("x",)
    first = np.concatenate([task.sample.inputs[0], task.sample.targets[0]])[:, 0]
    np.testing.assert_allclose(first, np.sin(np.arange(14) / 3) + 1, atol=1e-3)
    path, _ = run_on(tmp_path, config)
    assert len(regression.predict(path, tmp_path / "x.csv")) == 2 * 2
    short = write(tmp_path / "y.csv", ["id,t,x", "a,1,1", *lines[:60]])
    with pytest.raises(data.DataError, match="--lookback=12 rows of each sequence, got 1"):
        regression.predict(path, short)


@pytest.mark.extended
def test_long_format_is_one_answer_for_each_sequence(tmp_path):
    rng = np.random.default_rng(0)
    lines, lengths = ["id,t,x,y"], 3 + np.arange(80) % 4
    for number, length in enumerate(lengths.tolist()):
        steps = rng.normal(size=length).round(3)
        lines += [f"{number},{t},{x},{steps.sum():.3f}" for t, x in enumerate(steps.tolist())]
    config = small(
        task="csv", csv_layout="rows", path=write(tmp_path / "x.csv", lines), group_column="id",
        time_column="t", residual=False, model="last", seeds=1, epochs=30, patience=30,
        learning_rate=0.02, hidden_size=8,
    )  # fmt: skip
    task = load_task(config)
    assert set(task.sample.lengths.tolist()) == {3, 4, 5, 6}
    real = np.arange(6) < task.sample.lengths[:, None]
    np.testing.assert_allclose(task.scales.input_mean, [task.sample.inputs[real].mean()], rtol=1e-4)
    path, result = run_on(tmp_path, config)
    assert result["metrics"]["test_mse"]["mean"] < result["floors"]["mean"] / 2
    asked = write(tmp_path / "asked.csv", ["id,t,x", "a,1,1.0", "b,1,-1.0", "b,2,-1.0", "b,3,-0.5"])
    first, second = (row["y"] for row in regression.predict(path, asked))
    assert second < 0 < first
    # Padding counts for nothing: alone, the short sequence gets the same answer.
    alone = write(tmp_path / "alone.csv", ["id,t,x", "a,1,1.0"])
    assert regression.predict(path, alone)[0]["y"] == pytest.approx(first, abs=1e-5)


@pytest.mark.extended
def test_the_classic_binary_script(files, tmp_path):
    config = regression.configure(
        task="csv", preset="keras", cell="lstm", csv_layout="rows", target_kind="binary",
        path=str(files / "binary.csv"), seeds=1,
    )  # fmt: skip
    path, result = run_on(tmp_path, config)
    # LSTM(128) on one number a step, and one logit.
    assert result["num_params"] == 4 * 128 * (1 + 128 + 1) + 129
    assert set(result["metrics"]) >= {"test_accuracy", "test_nll", "validation_accuracy"}
    assert set(result["floors"]) == {"majority", "ridge"}
    asked = tmp_path / "asked.csv"
    lines = (files / "binary.csv").read_text().split("\n")[:3]
    asked.write_text("\n".join(line.rsplit(",", 1)[0] for line in lines))
    rows = regression.predict(path, asked)
    assert len(rows) == 3
    assert all(0 < row["11"] < 1 for row in rows)


@pytest.mark.extended
def test_the_classic_regressor(files, tmp_path):
    config = regression.configure(
        task="csv", preset="keras", cell="gru", csv_layout="rows", features=10, seeds=1,
        path=str(files / "numeric.csv"),
    )  # fmt: skip
    path, result = run_on(tmp_path, config)
    # GRU(128) with its second bias on steps of ten numbers, and one output.
    assert result["num_params"] == 3 * 128 * (10 + 128 + 1) + 128 + 129
    assert result["metrics"]["test_mse"]["mean"] < result["floors"]["mean"]
    assert (path / "figures" / "predictions.png").exists()
    rows = regression.predict(path, files / "numeric.csv")
    assert len(rows) == 150


@pytest.mark.parametrize("task", regression.TASKS)
def test_every_task_has_defaults_and_a_command(task):
    given = {"path": "x.csv"} if task == "csv" else {}
    config = regression.configure(task=task, **given)
    assert config.task == task
    file = " --path=x.csv" if task == "csv" else ""
    start = f"python -m experiments.regression --cell={config.cell} --task={task}"
    assert config.command("regression") == start + file
    assert dataclasses.replace(config, seeds=9).command("regression") == f"{start}{file} --seeds=9"


def loss_gradients(changes):
    """Gradients of the training loss at the first parameters."""
    config = small(task="narma10", hidden_size=3, **changes)
    task = load_task(config)
    functions = model_functions(config, task.scales, task.num_classes, task.sample.targets.shape)
    params = functions.init(jax.random.key(0))
    loss = make_loss(config, functions, task)
    batch = task.test.take(np.arange(3))
    return jax.jit(jax.grad(lambda params: loss(params, jax.random.key(1), batch)[0]))(params)


@pytest.mark.extended
def test_the_gradient_that_is_named_trains():
    """RTRL is back-propagation; UORO draws with the key of the step; RFLO has other feedback."""
    full, exact, drawn = (loss_gradients({"gradient": name}) for name in ("bptt", "rtrl", "uoro"))
    for one, other in zip(*map(jax.tree.leaves, (full, exact)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)
    weights = [each["recurrent"]["weights"] for each in (full, drawn)]
    assert not np.allclose(*(jax.tree.leaves(each)[0] for each in weights), rtol=0.1)
    full, local = (loss_gradients({"cell": "rnn", "gradient": name}) for name in ("eprop", "rflo"))
    for one, other in zip(*(jax.tree.leaves(each["head"]) for each in (full, local)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    weights = [each["recurrent"]["weights"] for each in (full, local)]
    assert not np.allclose(*(jax.tree.leaves(each)[0] for each in weights), rtol=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "weather"}, "--task must be one of narma10, "),
        ({"cell": "bigru"}, "--cell=bigru looks ahead, which --model=steps may not"),
        ({"task": "half_cheetah", "cell": "bilstm"}, "looks ahead"),
        ({"model": "last"}, "--task=narma10 needs --model=steps, got last"),
        ({"task": "ett", "model": "steps"}, "--task=ett needs --model=last or segments"),
        ({"task": "adding", "model": "segments"}, "--model=segments needs a forecast"),
        ({"task": "ett", "lookback": 100}, "must be a multiple of --segment_length=24, got 100"),
        ({"task": "adding", "residual": True}, "--residual needs a forecast"),
        ({"task": "narma10", "horizon": 5}, "--horizon needs a forecast"),
        ({"task": "sine", "period": 65}, "--period must be at most --lookback=64, got 65"),
        ({"task": "csv"}, "--task=csv needs --path"),
        ({"data_dir": "x"}, "--data_dir needs --task=half_cheetah or ett or smnist or psmnist, "),
        ({"columns": "a"}, "--columns needs --task=csv, got --task=narma10"),
        ({"missing": "mean"}, "--missing needs --task=csv, got --task=narma10"),
        (
            {"task": "csv", "path": "x", "csv_layout": "rows", "time_column": "t"},
            "--csv_layout=rows needs --group_column",
        ),
        (
            {"task": "csv", "path": "x", "group_column": "g", "features": 2},
            "Leave out --features=2",
        ),
        (
            {"task": "csv", "path": "x", "csv_layout": "rows", "target_columns": "t"},
            "--target_columns needs --csv_layout=series",
        ),
        ({"path": "x.csv"}, "--path needs --task=csv, got --task=narma10"),
        ({"target_kind": "binary"}, "--target_kind=binary needs --task=csv --csv_layout=rows"),
        ({"task": "smnist", "monitor": "mae"}, "--monitor=mae needs numbers"),
        ({"dropout": 1.0}, r"--dropout must lie in \[0, 1\), got 1.0"),
        ({"ema_decay": 1.0}, r"--ema_decay must lie in \[0, 1\), got 1.0"),
        ({"hidden_size": 0}, "--hidden_size must be at least 1, got 0"),
        ({"cell": "rnn", "max_timescale": 9}, "--max_timescale needs a cell with gates, got"),
        ({"cell": "feedforward", "max_timescale": 9}, "--max_timescale needs a cell with gates"),
        ({"task": "ett", "cell": "feedforward"}, "--cell=feedforward needs --model=last or steps"),
        ({"max_timescale": 2}, "--max_timescale must be 0 or above 2, got 2"),
        ({"gradient": "bp"}, "--gradient must be one of bptt, rtrl, snap1, uoro, eprop, rflo"),
        (
            {"gradient": "rtrl", "task": "adding", "cell": "bigru"},
            "--gradient=rtrl goes forwards with the steps; --cell=bigru reads its sequences backw",
        ),
        ({"gradient": "rtrl", "cell": "feedforward"}, "--cell=feedforward has no state"),
        ({"gradient": "snap1", "num_layers": 2}, "--gradient=snap1 needs --num_layers=1, got 2"),
        ({"gradient": "uoro", "executor": "scan"}, "leave out --executor=scan"),
        ({"gradient": "rflo"}, "--gradient=rflo cannot train --cell=gru: it is for networks wi"),
        ({"gradient": "rflo", "cell": "rnn", "head_size": 3}, "leave out --head_size=3"),
        ({"gradient": "uoro", "task": "ett"}, "--gradient=uoro needs --model=steps or last"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(command_line.ConfigError, match=message):
        regression.configure(**changes)


@pytest.mark.parametrize("horizon", [96, 192, 336, 500, 720])
def test_the_command_repeats_settings_that_hang_on_the_horizon(horizon):
    for given in ({}, {"hidden_size": 128}, {"hidden_size": 256}, {"epochs": 7}):
        config = regression.configure(task="ett", horizon=horizon, **given)
        flags = [
            part.removeprefix("--").split("=") for part in config.command("regression").split()[3:]
        ]
        kinds = {
            field.name: type(getattr(config, field.name)) for field in dataclasses.fields(config)
        }
        again = regression.configure(**{name: kinds[name](value) for name, value in flags})
        assert again == config
    assert regression.configure(task="ett", horizon=336).command("regression") == (
        "python -m experiments.regression --cell=gru --task=ett --horizon=336"
    )


def test_gates_remember_where_the_answer_is_far_back():
    config = small(task="adding", lookback=50)
    assert config.max_timescale == 50
    assert small(task="adding", lookback=50, cell="rnn").max_timescale == 0
    task = load_task(config)

    def biases(config):
        functions = model_functions(
            config, task.scales, task.num_classes, task.sample.targets.shape
        )
        params = functions.init(jax.random.key(0))
        return np.asarray(params["recurrent"]["weights"]["bias"][...])

    chrono, plain = biases(config), biases(small(task="adding", lookback=50, max_timescale=0))
    update = chrono[: config.hidden_size]
    assert (update <= 0).all()
    assert (update >= -np.log(49)).all()
    assert (update < 0).any()
    assert not plain.any()


def test_predict_needs_a_finished_csv_run(finished, tmp_path):
    with pytest.raises(train.RunError, match=r"needs a run of --task=csv, and that .* is of sine"):
        regression.predict(finished[1].path, "x.csv")
    with pytest.raises(train.RunError, match="needs a finished run"):
        regression.predict(tmp_path, "x.csv")


def test_divergence_names_step_and_parameter(tmp_path):
    config = small(task="narma10", learning_rate=1e18, clip_norm=0.0, seeds=1, schedule="constant")
    with pytest.raises(
        train.DivergedError, match=r"diverged at step \d+ .* (largest number in|gradient of) \['"
    ):
        run_on(tmp_path, config)


def test_real_half_cheetah_learns(tmp_path):
    root = os.environ.get("SEQJAX_DATA_DIR", "")
    if not (Path(root) / "half_cheetah").exists():
        pytest.skip("SEQJAX_DATA_DIR holds no half_cheetah")
    config = regression.configure(task="half_cheetah", seeds=1, epochs=3, hidden_size=32)
    _, result = run_on(tmp_path, config)
    assert result["metrics"]["test_mse"]["mean"] < result["floors"]["mean"]
    assert result["floors"]["linear_4"] == pytest.approx(3.138, abs=0.001)


def test_a_mistake_is_one_line_and_status_2(tmp_path, files):
    runs = {
        ("--task=half_cheetah",): "--data_dir or SEQJAX_DATA_DIR",
        ("--task=csv", f"--path={files / 'series.csv'}"): "row 2, column 1 (date)",
    }
    for i, (flags, part) in enumerate(runs.items()):
        flags = (*flags, f"--workdir={tmp_path / 'run'}")
        line = programs.refusal(
            "regression", *flags, said=tmp_path / f"said_{i}", SEQJAX_DATA_DIR=None
        )
        assert part in line
    assert not (tmp_path / "run").exists()


@pytest.mark.extended
def test_interrupted_and_resumed_to_the_same_bits(tmp_path, monkeypatch):
    module = sys.modules["experiments.regression.study"]
    config = small(task="adding", dropout=0.2, input_noise=0.1)
    whole = run_on(tmp_path / "whole", config).result
    make = module.epoch_batches

    def interrupted(config, task, seed, epoch):
        for number, batch in enumerate(make(config, task, seed, epoch)):
            if (seed, epoch, number) == (1, 2, 1):
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(module, "epoch_batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_on(tmp_path / "killed", config)
    assert not (tmp_path / "killed" / "run" / "result.json").exists()
    monkeypatch.setattr(module, "epoch_batches", make)
    path = tmp_path / "killed" / "run"
    resumed = regression.run(config, workdir=path, resume=True, notify=lambda line: None).result
    assert resumed["params_sha256"] == whole["params_sha256"]
    assert resumed["metrics"]["test_mse"] == whole["metrics"]["test_mse"]
