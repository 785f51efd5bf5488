"""The classification experiment, end to end, on data that is drawn or written here."""

import dataclasses
import json
import os
import sys
from pathlib import Path

import jax
import numpy as np
import programs
import pytest
from scipy.io import wavfile

from experiments import classify, command_line
from experiments.classify.inputs import Inputs
from experiments.classify.model import make_loss, model_functions
from experiments.classify.motifs import MOTIF_CLASSES, generate_motifs
from experiments.classify.scoring import nearest_mean, scores
from experiments.classify.task import READERS, load_task, split
from experiments.functions import make_answers
from experiments.transcribe.tones import generate_tones
from seqjax import data, train

SMALL = {
    "cell": "rnn", "hidden_size": 5, "batch_size": 16, "train_size": 60, "num_buckets": 1,
    "epochs": 3, "seeds": 2, "test_fraction": 0.2, "validation_fraction": 0.2,
}  # fmt: skip


def small(**changes):
    return classify.configure(**{**SMALL, **changes})


def run_on(path, config):
    return classify.run(config, workdir=path, notify=lambda line: None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    lines = []
    config = small(
        cell="birnn", pooling="attention", stack=3, stride=2, head_size=4, dropout=0.2, noise=0.1,
        time_masks=1, feature_masks=1, feature_mask_size=1, learning_rate=0.02,
    )  # fmt: skip
    result = classify.run(config, workdir=path, notify=lines.append)
    return config, result, "\n".join(lines)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Rows of two kinds of wave, texts on two subjects, and tones named as spoken digits are."""
    root = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 2, 60)
    time = np.arange(8)
    rows = [
        np.sin((1 + kind) * time + rng.uniform(0, 6)) + 0.1 * rng.normal(size=8) for kind in kinds
    ]
    lines = [",".join([("slow", "fast")[k], *(f"{v:.3f}" for v in row)])
             for k, row in zip(kinds, rows, strict=True)]  # fmt: skip
    header = ",".join(["kind", *(f"x{i}" for i in time)])
    (root / "rows.csv").write_text("\n".join([header, *lines]))
    bare = [line.split(",", 1)[1] for line in [header, *lines[:3]]]
    (root / "bare.csv").write_text("\n".join(bare))
    subjects = {"sea": ["wave", "salt", "fish", "ship"], "sky": ["cloud", "wing", "wind", "sun"]}
    for subject, words in subjects.items():
        (root / "texts" / subject).mkdir(parents=True)
        for i in range(20):
            text = " ".join(rng.choice(words, rng.integers(3, 8)))
            (root / "texts" / subject / f"{i}.txt").write_text(text)
    (root / "fsdd" / "recordings").mkdir(parents=True)
    tones = generate_tones(rng, 120)
    for i, samples in enumerate(tones.samples):
        name = f"{tones.digits[i]}_tone_{(tones.digits[:i] == tones.digits[i]).sum()}.wav"
        values = np.round(32767 * np.clip(samples, -1, 1)).astype(np.int16)
        wavfile.write(root / "fsdd" / "recordings" / name, 8000, values)
    return root


def test_run_folder(finished):
    config, (path, result), _ = finished
    assert json.loads((path / "result.json").read_text()) == result
    assert json.loads((path / "config.json").read_text()) == dataclasses.asdict(config)
    assert result["experiment"] == "classify"
    assert result["dataset"] == "generated motifs"
    assert set(result["metrics"]) >= {
        "test_accuracy", "test_balanced_accuracy", "test_nll", "validation_accuracy",
    }  # fmt: skip
    assert set(result["floors"]) == {"majority", "nearest_mean", "ridge"}
    for name in ("training", "confusion"):
        assert (path / "figures" / f"{name}.png").exists()
    about = json.loads((path / "report.json").read_text())
    counts = np.array(about["confusion"])
    assert set(about["names"]) == set(MOTIF_CLASSES)
    assert np.trace(counts) / counts.sum() == pytest.approx(
        result["metrics"]["test_accuracy"]["mean"]
    )
    assert counts.sum() == 2 * 12  # every test sequence, by two seeds
    assert "test_accuracy" in (path / "summary.md").read_text()


def test_report(finished):
    _, (path, result), report = finished
    assert report.startswith("Reading the data")  # said before anything that takes time
    assert report.splitlines()[-1].startswith("test_accuracy ")
    assert report.splitlines()[-1].endswith(str(path / "result.json"))
    for part in (
        "Bidirectional(elman(5), 12)",
        "cost ",
        "baseline: ridge",
        f"{result['num_params']:,}",
    ):
        assert part in report


def test_finished_run(finished):
    config, (path, result), _ = finished
    with pytest.raises(train.RunError, match="already holds a run; continue it with --resume"):
        classify.run(config, workdir=path)
    again = classify.run(config, workdir=path, resume=True, notify=lambda line: None)
    assert again.result == result


def test_predict_dna(finished, tmp_path):
    _, (path, _), _ = finished
    motifs = generate_motifs(np.random.default_rng(5), 4).sequences
    (asked,) = classify.predict(path, motifs[0])
    assert list(asked) == list(MOTIF_CLASSES)
    assert sum(asked.values()) == pytest.approx(1)
    (tmp_path / "asked.txt").write_text("\n".join([*motifs, ""]))
    rows = classify.predict(path, tmp_path / "asked.txt")
    assert len(rows) == 4
    assert rows[0] == pytest.approx(asked, abs=1e-5)  # whatever stands beside it
    with pytest.raises(data.DataError, match=r"no file of that name.*: letter 1 must be a base"):
        classify.predict(path, "photo.wav")
    with pytest.raises(train.RunError, match="needs a finished run"):
        classify.predict(tmp_path, "ACGT")


def check_learnt(config, path, result):
    """Every parameter has moved, and the loss fell."""
    functions = model_functions(config, Inputs.load(path))
    before = functions.init(jax.random.split(jax.random.key(0))[0])
    folder = train.open_run(path, dataclasses.asdict(config), resume=True)
    after = train.best_params(folder, 0, before)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before, after)
    assert all(jax.tree.leaves(moved)), moved
    rows = [row for row in folder.metrics() if row["kind"] == "epoch" and row["seed"] == 0]
    losses = [row["train_loss"] for row in rows]
    assert losses[-1] < losses[0]
    assert result["num_params"] == sum(leaf.size for leaf in jax.tree.leaves(before))


def test_every_parameter_moves_and_the_loss_falls(finished):
    config, (path, result), _ = finished
    check_learnt(config, path, result)


def test_filler_rows_do_not_count_and_padding_is_not_read():
    config = small(dropout=0.0, pooling="mean_max")
    task = load_task(config)
    functions = model_functions(config, task.inputs)
    params = functions.init(jax.random.key(0))
    loss = jax.jit(make_loss(functions, 0.1))
    few = task.test.take(np.arange(5))
    values = []
    for size, bound in ((5, max(few.lengths)), (9, 60)):
        (batch,) = data.ragged_batches(few, size, [bound])
        batch.inputs[np.arange(batch.inputs.shape[1])[None] >= batch.lengths[:, None]] = 1e3
        values.append(loss(params, jax.random.key(1), batch))
    for first, second in zip(*map(jax.tree.leaves, values), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-5)


def test_answers_come_in_the_order_of_the_sequences():
    config = small(cell="feedforward")
    task = load_task(config)
    functions = model_functions(config, task.inputs)
    params = functions.init(jax.random.key(0))
    answer = make_answers(functions.apply, train.data_mesh(4))
    lengths = sorted(set(task.test.lengths.tolist()))
    shuffled = data.ragged_batches(
        task.test, 4, [lengths[len(lengths) // 2], 40], np.random.default_rng(0)
    )
    apply = jax.jit(functions.apply)
    for row, steps in zip(answer(params, shuffled), task.test.inputs, strict=True):
        alone = data.Sequences(steps[None], np.zeros(1, int), np.ones(1), np.array([len(steps)]))
        np.testing.assert_allclose(row, apply(params, alone)[0], rtol=1e-4, atol=1e-5)


def test_copies_stay_on_one_side_and_every_class_is_in_every_part(tmp_path):
    letters = generate_motifs(np.random.default_rng(0), 60, length=30)
    (tmp_path / "splice").mkdir()
    rows = [f"{('EI', 'IE', 'N')[label]},x,{(text * 3)[:60]}"
            for text, label in zip(letters.sequences, letters.labels, strict=True)]  # fmt: skip
    text = "\n".join(["Class,Donor,Sequence", *rows, *rows])
    (tmp_path / "splice" / "splice.csv").write_text(text)
    config = small(task="splice", cell="bigru", data_dir=str(tmp_path))
    task = load_task(config)
    parts = [{steps.tobytes() for steps in part.inputs} for part in
             (task.train, task.validation, task.test)]  # fmt: skip
    assert sum(map(len, parts)) == len(set.union(*parts)) == 60
    for part in (task.train, task.validation, task.test):
        assert set(part.targets.tolist()) == {0, 1, 2}
    assert task.inputs.steps == 60
    other = load_task(dataclasses.replace(config, split_seed=1))
    assert other.sha256 != task.sha256
    whole = np.concatenate(task.train.inputs)
    np.testing.assert_allclose(whole.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(whole.std(0), 1, atol=1e-3)


def test_rows_of_a_file(files, tmp_path):
    config = small(
        task="csv", path=str(files / "rows.csv"), label_column="kind", features=2, seeds=1,
        cell="feedforward", learning_rate=0.02,
    )  # fmt: skip
    path, result = run_on(tmp_path / "run", config)
    check_learnt(config, path, result)
    # Four steps of two numbers at once, then two classes.
    assert result["num_params"] == (8 + 1) * 5 + (5 + 1) * 2
    assert json.loads((path / "report.json").read_text())["names"] == ["fast", "slow"]
    rows = classify.predict(path, files / "bare.csv")
    assert [set(row) for row in rows] == [{"fast", "slow"}] * 3
    with pytest.raises(data.DataError, match="must have the column 'x0'"):
        classify.predict(path, write(tmp_path / "other.csv", "a,b\n1,2\n"))


def write(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("a,b\n1,x\n2,x\n", {}, "must hold two classes or more, got x alone"),
        (
            "a,b\n1,x\n2,y\n",
            {"features": 2},
            "must make steps of --features=2 numbers, got 1 columns",
        ),
        ("a,b\n1,x\nq,y\n", {}, r"row 3, column 1 \(a\): a number is required, got 'q'"),
        ("a,b\nx,1\ny,2\n", {}, r"got 'x'.* from b, the last; --label_column names another"),
        ("a,b\n1,x\n2,\n", {}, r"row 3, column 2 \(b\): a class is required"),
        ("a,b\n1,x\n2,y\n", {"label_column": "c"}, "must have the column 'c', got 'a', 'b'"),
        ("a,b\n1,x\n2,y\n", {}, "side would lack a label"),
    ],
)
def test_faults_of_a_file_are_named(tmp_path, text, settings, message):
    path = write(tmp_path / "rows.csv", text)
    with pytest.raises(data.DataError, match=message):
        load_task(small(task="csv", path=str(path), **settings))


def long_format(root, *, names=("subject", "t", "x", "kind"), seed=0):
    """Writes 40 sequences of 3 to 6 steps in no order; the sign of a kind is that of its steps."""
    rng = np.random.default_rng(seed)
    lines = [
        f"p{number},{step},{(1 - 2 * (number % 2)) * (2 + rng.random()):.3f},{'ab'[number % 2]}"
        for number in range(40)
        for step in range(3 + number % 4)
    ]
    head, *rest = lines  # the first stays, so that the order of the sequences is known
    text = "\n".join([",".join(names), head, *rng.permutation(rest).tolist()])
    return write(root / "long.csv", text)


LONG = {"group_column": "subject", "time_column": "t", "label_column": "kind"}


def test_long_format(tmp_path):
    file = long_format(tmp_path)
    config = small(
        task="csv", path=str(file), **LONG, seeds=1, epochs=4, learning_rate=0.05, num_buckets=1
    )
    task = load_task(config, lambda line: None)
    lengths = np.concatenate([part.lengths for part in (task.train, task.validation, task.test)])
    assert len(lengths) == 40
    assert set(lengths.tolist()) == {3, 4, 5, 6}
    assert task.inputs.columns == ("x",)
    path, result = run_on(tmp_path / "run", config)
    check_learnt(config, path, result)
    asked = write(tmp_path / "asked.csv", "subject,t,x\nv,1,2.5\nw,2,-2.2\nv,2,2.1\nw,1,-2.9\n")
    rows = classify.predict(path, asked)
    assert [max(row, key=row.get) for row in rows] == ["a", "b"]


def test_long_format_needs_one_class_a_sequence(tmp_path):
    file = long_format(tmp_path)
    file.write_text(file.read_text() + "\np0,99,1.0,b")
    with pytest.raises(data.DataError, match="one answer, got a and b in those of p0"):
        load_task(small(task="csv", path=str(file), **LONG))


def test_a_column_that_looks_like_an_id_is_told_of(tmp_path):
    lines = [f"{i // 4},{i % 4},{i * 7 % 5},{'ab'[i % 2]}" for i in range(40)]
    file = write(tmp_path / "long.csv", "subject,t,x,kind\n" + "\n".join(lines))
    heard = []
    load_task(small(task="csv", path=str(file)), heard.append)
    (line,) = heard
    assert "WARNING: column subject looks like an id" in line
    assert "--group_column=subject" in line
    assert "--drop_columns=subject" in line
    heard.clear()
    task = load_task(small(task="csv", path=str(file), drop_columns="subject"), heard.append)
    assert (heard, task.inputs.columns) == ([], ("t", "x"))


def test_empty_cells_take_the_mean_of_the_training_rows(tmp_path):
    values = np.arange(60.0) ** 2
    lines = [f"{v:g},{'ab'[i % 2]}" for i, v in enumerate(values)]
    lines[7] = ",b"
    file = write(tmp_path / "rows.csv", "x,kind\n" + "\n".join(lines))
    config = small(task="csv", path=str(file), missing="mean")
    found = READERS["csv"](config, print)
    train, *_ = split(config, found)
    known = [i for i in train.tolist() if i != 7]
    task = load_task(config)
    np.testing.assert_allclose(task.inputs.fill, [values[known].mean()])


@pytest.mark.parametrize(("rate", "advice"), [(500, "12"), (1000, "23"), (2000, "39"), (45, "")])
def test_bands_that_do_not_fit_a_low_rate(rate, advice, tmp_path):
    rng = np.random.default_rng(0)
    for number in range(12):
        folder = tmp_path / "ab"[number % 2]
        folder.mkdir(exist_ok=True)
        wavfile.write(folder / f"{number}.wav", rate, rng.normal(size=rate).astype(np.float32))
    message = f"Use --num_mels={advice}" if advice else "No band does: resample them"
    settings = {"task": "folder", "path": str(tmp_path), "test_fraction": 0.2}
    with pytest.raises(data.DataError, match=f"=40 bands do not fit sounds of {rate} .*{message}"):
        load_task(small(**settings, num_mels=40))
    if advice:
        task = load_task(small(**settings, num_mels=int(advice)))
        assert task.inputs.in_size == int(advice)


def test_a_folder_of_texts(files, tmp_path):
    config = small(
        task="folder", path=str(files / "texts"), seeds=1, embedding_size=4, dropout=0.0,
        learning_rate=0.1, epochs=4, cell="feedforward", ema_decay=0.0,
    )  # fmt: skip
    path, result = run_on(tmp_path / "run", config)
    check_learnt(config, path, result)
    assert result["metrics"]["test_accuracy"]["mean"] > result["floors"]["majority"]
    (sea,) = classify.predict(path, "salt ship fish")
    (sky,) = classify.predict(path, "wind wing sun")
    assert sea["sea"] > sky["sea"]


@pytest.mark.extended
def test_spoken_digits_in_the_published_layout(files, tmp_path):
    config = small(
        task="digits", data_dir=str(files), num_mels=12, feature_mask_size=2, batch_size=32,
        seeds=1, num_buckets=1, learning_rate=0.02, epochs=2, cell="feedforward",
    )  # fmt: skip
    path, result = run_on(tmp_path / "run", config)
    inputs = Inputs.load(path)
    assert inputs.classes == tuple("0123456789")
    assert inputs.rate == 8000
    assert len(inputs.mean) == 12 * config.stack
    recording = files / "fsdd" / "recordings" / "7_tone_1.wav"
    (row,) = classify.predict(path, recording)
    assert sum(row.values()) == pytest.approx(1)
    with pytest.raises(data.DataError, match="no such file: seven"):
        classify.predict(path, "seven")
    assert result["floors"]["majority"] == pytest.approx(0.1)


@pytest.mark.extended
def test_same_settings_same_bits_and_resumed_too(finished, tmp_path, monkeypatch):
    config, (_, result), _ = finished
    module = sys.modules["experiments.classify.study"]
    make = module.epoch_batches

    def interrupted(config, task, seed, epoch):
        batches = make(config, task, seed, epoch)
        return stopped(batches) if (seed, epoch) == (1, 2) else batches

    def stopped(batches):
        yield from list(batches)[:1]
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "epoch_batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_on(tmp_path / "killed", config)
    assert not (tmp_path / "killed" / "result.json").exists()
    monkeypatch.setattr(module, "epoch_batches", make)
    again = classify.run(
        config, workdir=tmp_path / "killed", resume=True, notify=lambda line: None
    ).result
    assert again["params_sha256"] == result["params_sha256"]
    assert again["data_sha256"] == result["data_sha256"]
    assert again["metrics"]["test_nll"] == result["metrics"]["test_nll"]


def test_nearest_mean_is_the_nearest():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(60) % 3)
    x = 8 * rng.normal(size=(3, 4))[labels] + rng.normal(size=(60, 4))
    standard = (x - x.mean(0)) / x.std(0)
    means = np.stack([standard[labels == c].mean(0) for c in range(3)])
    wanted = np.linalg.norm(standard[:, None] - means[None], axis=2).argmin(1)
    np.testing.assert_array_equal(nearest_mean(x, labels, x), wanted)
    # A feature that is constant but for rounding says nothing, whatever a test example has there.
    constant, moved = (np.column_stack([x, np.full(60, value)]) for value in (0.1, 0.2))
    assert constant.std(axis=0)[-1] > 0
    np.testing.assert_array_equal(nearest_mean(constant, labels, moved), wanted)


def test_scores():
    logits = np.array([[2.0, 0.0], [2.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    found = scores(logits, np.array([0, 0, 1, 1]))
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == 0.75
    losses = [np.log1p(np.exp(-2)), np.log1p(np.exp(-2)), np.log1p(np.exp(-1)), np.log1p(np.exp(2))]
    assert found["loss"] == pytest.approx(np.mean(losses))
    # A class that does not occur has no recall, though it is guessed.
    assert scores(np.eye(3)[[0, 1, 2]], np.array([0, 1, 1]))["balanced_accuracy"] == 0.75


@pytest.mark.parametrize("task", classify.TASKS)
@pytest.mark.parametrize("cell", ["lstm", "bigru", "feedforward"])
def test_every_task_has_defaults_and_a_command(task, cell):
    given = {"path": "x"} if task in ("csv", "ts", "folder") else {}
    config = classify.configure(task=task, cell=cell, **given)
    path = " --path=x" if given else ""
    start = f"python -m experiments.classify --cell={cell} --task={task}"
    assert config.command("classify") == start + path
    assert config.pooling != "middle" or cell != "lstm"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "weather"}, "--task must be one of splice, digits"),
        ({"task": "csv"}, "--task=csv needs --path"),
        ({"path": "x"}, "--path needs --task=csv or ts or folder, got --task=generated"),
        ({"label_column": "a"}, "--label_column needs --task=csv"),
        ({"data_dir": "x"}, "--data_dir needs --task=splice or digits, got --task=generated"),
        ({"group_column": "a"}, "--group_column needs --task=csv, got --task=generated"),
        ({"task": "csv", "path": "x", "time_column": "t"}, "--time_column needs --group_column"),
        ({"cell": "gru", "pooling": "middle"}, "--pooling=middle needs both directions"),
        ({"cell": "feedforward", "pooling": "last"}, "--pooling=last needs a recurrent cell"),
        ({"dropout": 1.0}, r"--dropout must lie in \[0, 1\), got 1.0"),
        ({"test_fraction": 0.0}, r"--test_fraction must be at least 0.001, got 0.0"),
        ({"stack": 0}, "--stack must be at least 1, got 0"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(command_line.ConfigError, match=message):
        classify.configure(**changes)


def test_real_splice_learns(tmp_path):
    if not (Path(os.environ.get("SEQJAX_DATA_DIR", "")) / "splice").exists():
        pytest.skip("SEQJAX_DATA_DIR holds no splice")
    config = classify.configure(task="splice", cell="feedforward", seeds=1, epochs=4)
    _, result = run_on(tmp_path / "run", config)
    assert result["metrics"]["test_accuracy"]["mean"] > 0.9


def test_a_mesh_that_does_not_fit_is_refused_before_the_data_is_read(tmp_path):
    config = classify.configure(task="splice", data_dir=str(tmp_path / "nowhere"))
    with pytest.raises(train.RunError, match="--mesh=64x3 needs 192 devices"):
        classify.run(config, workdir=tmp_path / "run", mesh="64x3")
    with pytest.raises(data.DataError, match="nowhere"):
        classify.run(config, workdir=tmp_path / "run")


def test_a_mistake_is_one_line_and_status_2(tmp_path):
    line = programs.refusal(
        "classify", "--task=splice", f"--workdir={tmp_path / 'run'}",
        said=tmp_path / "said", SEQJAX_DATA_DIR=None,
    )  # fmt: skip
    assert "--data_dir or SEQJAX_DATA_DIR" in line
    assert not (tmp_path / "run").exists()


def write_ts(folder, name, *, channels=2, gap="", size=24):
    """Waves of two frequencies, of 5 to 8 steps."""
    folder.mkdir(exist_ok=True)
    lines = [f"@problemName {name}", "@classLabel true slow fast", "@data"]
    rng = np.random.default_rng(len(name))
    for number in range(size):
        time = np.arange(rng.integers(5, 9))[:, None] + rng.uniform(0, 6, channels)
        waves = np.sin((1 + number % 2) * time).T
        numbers = ":".join(",".join(f"{value:.3f}" for value in wave) for wave in waves)
        lines.append(f"{numbers}:{('slow', 'fast')[number % 2]}")
    lines[-1] = lines[-1].replace(lines[-1].partition(",")[0], gap or "0.5")
    path = folder / f"{name}.ts"
    path.write_text("\n".join(lines))
    return path


def test_ts_files_train_and_answer(tmp_path):
    folder = tmp_path / "waves"
    train_file = write_ts(folder, "Waves_TRAIN")
    test_file = write_ts(folder, "Waves_TEST", size=10)
    config = small(task="ts", path=str(folder), epochs=1, seeds=1)
    task = load_task(config)
    assert [len(part.targets) for part in (task.train, task.validation, task.test)] == [20, 4, 10]
    written = data.read_ts(test_file).sequences
    scaled = [(steps - task.inputs.mean) / task.inputs.std for steps in written]
    np.testing.assert_allclose(np.concatenate(task.test.inputs), np.concatenate(scaled), rtol=1e-5)
    workdir = tmp_path / "run"
    lines, heard = [], []
    listener = train.Callback()
    listener.on_row = heard.append
    classify.run(config, workdir=workdir, notify=lines.append, callbacks=[listener])
    assert heard == train.open_run(workdir, dataclasses.asdict(config), resume=True).metrics()
    assert f"--predict={test_file}" in "\n".join(lines)
    answers = classify.predict(workdir, test_file)
    assert len(answers) == 10
    assert list(answers[0]) == ["slow", "fast"]
    other = write_ts(tmp_path / "other", "Other", channels=3)
    with pytest.raises(data.DataError, match=r"Other\.ts must have 2 channels, .* got 3"):
        classify.predict(workdir, other)
    gaps = write_ts(tmp_path / "gaps", "Gaps", gap="?")
    with pytest.raises(data.DataError, match=r"Gaps\.ts must have no missing numbers"):
        classify.predict(workdir, gaps)

    # One file is split; a gap takes the channel's mean over the training part.
    with pytest.raises(
        data.DataError, match=r"1 of the 24 sequences in .*gaps.* lack numbers\. --missing"
    ):
        load_task(small(task="ts", path=str(gaps)))
    filled = load_task(small(task="ts", path=str(gaps), missing="mean"))
    assert sum(len(part.targets) for part in (filled.train, filled.validation, filled.test)) == 24
    assert all(np.isfinite(steps).all() for steps in filled.test.inputs)

    train_file.unlink()
    with pytest.raises(data.DataError, match=r"in _TRAIN\.ts and one in _TEST\.ts, got Waves_TEST"):
        load_task(config)
    write_ts(folder, "Waves_TRAIN", channels=1)
    with pytest.raises(data.DataError, match=r"Waves_TEST\.ts must have 1 channels, .* got 2"):
        load_task(config)
