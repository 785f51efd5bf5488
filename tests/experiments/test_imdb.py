"""The sentiment experiment, end to end, on a folder of a hundred small reviews."""

import dataclasses
import json
import subprocess
import sys
import time

import jax
import numpy as np
import programs
import pytest

from experiments import command_line, imdb, program
from experiments.batches import bucketed_batches
from experiments.imdb.linear import fit_linear, linear_logits
from experiments.imdb.model import make_predict, model_functions
from experiments.imdb.task import load_task
from seqjax import data, train

SMALL = {
    "dataset": "folder",
    "seeds": 2,
    "epochs": 3,
    "learning_rate": 0.03,
    "token_dropout": 0.0,
    "embedding_dropout": 0.1,
    "dropout": 0.0,
    "batch_size": 16,
    "embedding_size": 6,
    "pair_size": 2,
    "pair_buckets": 32,
    "hidden_size": 5,
    "segment_length": 10,
    "max_length": 40,
    "num_buckets": 2,
    "vocab_size": 200,
}


@pytest.fixture(scope="module")
def reviews_folder(tmp_path_factory):
    """Generated reviews, written as a user would lay out their own."""
    root = tmp_path_factory.mktemp("reviews")
    reviews = data.generate_reviews(num_train=120, num_test=40)
    for split, texts, labels in (
        ("train", reviews.train_texts, reviews.train_labels),
        ("test", reviews.test_texts, reviews.test_labels),
    ):
        for i, (text, label) in enumerate(zip(texts, labels, strict=True)):
            file = root / split / ("neg", "pos")[label] / f"{i}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


ONE_WAY = ", ".join(name for name in imdb.CELLS if not name.startswith("bi"))


def small(reviews_folder, **changes):
    return imdb.Config(**{**SMALL, "data_dir": str(reviews_folder), **changes})


@pytest.fixture(scope="module")
def finished(reviews_folder, cache, tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    lines = []
    config = small(reviews_folder)
    result = imdb.run(config, workdir=path, cache_dir=str(cache), notify=lines.append)
    return config, result, "\n".join(lines)


def test_run_folder(finished):
    config, (path, result), _ = finished
    assert json.loads((path / "result.json").read_text()) == result
    assert json.loads((path / "config.json").read_text()) == dataclasses.asdict(config)
    assert list(result) == [
        "experiment", "cell", "dataset", "num_params", "seeds", "epochs_run", "wall_s", "versions",
        "devices", "data_sha256", "params_sha256", "floors", "metrics",
        "whose",
    ]  # fmt: skip
    assert result["experiment"] == "imdb"
    assert result["seeds"] == 2
    accuracy = result["metrics"]["test_accuracy"]
    assert accuracy["mean"] == pytest.approx(np.mean(accuracy["per_seed"]))
    assert accuracy["ci95"][0] <= accuracy["mean"] <= accuracy["ci95"][1]
    assert set(result["floors"]) >= {"majority_class", "nb_logistic_trigram"}
    assert (path / "figures" / "training.png").exists()
    assert "test_accuracy" in (path / "summary.md").read_text()
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [(row["seed"], row["epoch"]) for row in rows if row["kind"] == "epoch"] == [
        (0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3),
    ]  # fmt: skip


def test_report(finished):
    _, (path, result), report = finished
    assert report.splitlines()[-1].startswith("test_accuracy 0.")
    assert report.splitlines()[-1].endswith(str(path / "result.json"))
    for part in (
        "Embedding(",
        "Bidirectional(gru(5)",
        "cost ",
        "of compiling",
        "baseline: nb_logistic_bigram",
        "bigru (mixture)",
        "bigru (network)",
        f"figure    {path / 'figures' / 'training.png'}",
        f"summary   {path / 'summary.md'}",
        f"experiments.imdb --workdir={path} --predict='Not a masterpiece",
    ):
        assert part in report
    assert f"{result['num_params']:,}" in report


def test_validation_and_test_are_scored_by_one_rule(finished, cache):
    """Found as 0.931 in validation beside 0.999 in test: the sum had other weights there."""
    config, (path, result), _ = finished
    task = load_task(config, str(cache), lambda line: None)
    functions = model_functions(config, len(task.vocabulary))
    run = train.open_run(path, dataclasses.asdict(config), resume=True)
    params = train.best_params(run, 0, functions.init(jax.random.key(0)))
    parts = [part.batches(config.batch_size, task.buckets) for part in (task.validation, task.test)]
    validation, test = (make_predict(functions, train.data_mesh(1))(params, part) for part in parts)
    weights = validation.weights()
    for name, answers in (("validation", validation), ("test", test)):
        for whose, used in (("", weights), ("_network", [1, 0])):
            logits = used[0] * answers.network + used[1] * answers.linear
            expected = np.mean((logits > 0) == answers.positive)
            assert result["metrics"][f"{name}_accuracy{whose}"]["per_seed"][0] == expected


def test_every_score_says_whose_it_is(finished):
    _, (path, result), _ = finished
    assert result["whose"] == {
        "test_accuracy": "mixture",
        "test_nll": "mixture",
        "test_accuracy_network": "network",
        "test_nll_network": "network",
        "validation_accuracy_network": "network",
        "validation_accuracy": "mixture",
    }
    assert "| test_accuracy | mixture |" in (path / "summary.md").read_text()
    for name, metric in result["metrics"].items():
        low, high = metric["ci95"]
        if name in result["whose"]:
            assert 0 <= low <= high, name
            assert high <= 1 or "nll" in name
        else:  # epochs, seconds and weights estimate nothing
            assert (low, high) == (None, None), name


def test_predict_says_what_the_model_has_seen(tmp_path, capsys):
    (tmp_path / "result.json").write_text('{"dataset": "generated_reviews"}')
    program.say_if_generated(tmp_path)
    assert "NO REAL DATA: this model has seen generated reviews alone" in capsys.readouterr().err
    (tmp_path / "result.json").write_text('{"dataset": "imdb_reviews"}')
    program.say_if_generated(tmp_path)
    program.say_if_generated(tmp_path / "nothing")
    assert capsys.readouterr().err == ""


def test_every_parameter_moves_and_the_loss_falls(finished):
    config, (path, _), _ = finished
    vocabulary = data.Vocabulary.load(path / "vocabulary.json")
    functions = model_functions(config, len(vocabulary))
    before = functions.init(jax.random.split(jax.random.key(0))[0])
    run = train.open_run(path, dataclasses.asdict(config), resume=True)
    after = train.best_params(run, 0, before)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before, after)
    assert all(jax.tree.leaves(moved)), moved
    losses = [
        row["train_loss"] for row in run.metrics() if row["kind"] == "epoch" and row["seed"] == 0
    ]
    assert losses[-1] < losses[0]


@pytest.mark.extended
def test_same_settings_same_bits(finished, cache, tmp_path):
    config, (_, result), _ = finished
    again = imdb.run(config, workdir=tmp_path, cache_dir=str(cache), notify=lambda line: None)
    assert again.result["params_sha256"] == result["params_sha256"]
    assert again.result["metrics"]["test_nll"] == result["metrics"]["test_nll"]


def test_finished_run(finished, cache):
    config, (path, result), _ = finished
    with pytest.raises(train.RunError, match="already holds a run; continue it with --resume"):
        imdb.run(config, workdir=path, cache_dir=str(cache))
    lines = []
    again = imdb.run(config, workdir=path, resume=True, cache_dir=str(cache), notify=lines.append)
    assert again.result == result
    assert "finished already" in lines[0]
    other = dataclasses.replace(config, hidden_size=7)
    with pytest.raises(train.RunError, match="hidden_size was 5, is now 7"):
        imdb.run(other, workdir=path, resume=True, cache_dir=str(cache))


def test_predict(finished, tmp_path):
    _, (path, _), _ = finished
    assert 0 < imdb.predict(path, "The plot was good but the ending was not good.") < 1
    with pytest.raises(data.DataError, match="a text with a word the run has seen, got '###'"):
        imdb.predict(path, "###")
    with pytest.raises(train.RunError, match="needs a finished run"):
        imdb.predict(tmp_path, "good")


def test_linear_path(reviews_folder, cache):
    reviews = data.load_reviews("folder", data_dir=reviews_folder)
    fresh = fit_linear(reviews, str(cache / "fresh"), lambda line: None)
    cached = fit_linear(reviews, str(cache / "fresh"), lambda line: pytest.fail(line))
    np.testing.assert_array_equal(fresh.train_logits, cached.train_logits)
    assert fresh.floors == cached.floors
    again = linear_logits(cached.arrays, reviews.test_texts)
    np.testing.assert_allclose(again, fresh.test_logits, rtol=1e-5, atol=1e-6)
    accuracy = np.mean((fresh.test_logits > 0) == reviews.test_labels)
    assert fresh.floors["nb_logistic_trigram"] == pytest.approx(accuracy)


def test_without_the_linear_path_only_the_answer_changes(reviews_folder, cache):
    tasks = [
        load_task(small(reviews_folder, linear_path=used), str(cache), lambda line: None)
        for used in (True, False)
    ]
    np.testing.assert_array_equal(tasks[0].train.offsets, tasks[1].train.offsets)
    for task, used in zip(tasks, (True, False), strict=True):
        assert task.train.offsets.all()  # the soft labels
        assert task.validation.offsets.any() == task.test.offsets.any() == used


# A tenth of the names stands for all, in the order of the table.
@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(cell, marks=() if i % 10 == 0 else pytest.mark.extended)
        for i, cell in enumerate(imdb.CELLS)
        if cell != "bigru"
    ],
)
def test_every_cell_has_a_model(cell, reviews_folder):
    """Traced, not compiled: what cells compute is the matter of their own suites."""
    config = small(reviews_folder, cell=cell, num_layers=2, linear_path=False)
    functions = model_functions(config, vocab_size=20)
    (batch,) = bucketed_batches([np.array([3, 4])], [1], 1, [10], rng=None)
    params = jax.eval_shape(functions.init, jax.random.key(0))
    logits = jax.eval_shape(functions.apply, params, batch)
    assert (logits.shape, logits.dtype) == ((1,), np.float32)


def test_keras_preset_is_the_classic_script():
    functions = model_functions(imdb.configure(preset="keras"), vocab_size=10_000)
    shapes = jax.eval_shape(functions.init, jax.random.key(0))
    sizes = [leaf.size for leaf in jax.tree.leaves(shapes)]
    # Embedding, two LSTMs, Dense(128), Dense(1), as Keras counts them.
    assert sum(sizes) == 10_000 * 128 + 2 * 4 * 128 * (128 + 128 + 1) + 257 * 128 + 129


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"cell": "transformer"},
            f"--cell must be one of {ONE_WAY}, or bi before one for both .*; got",
        ),
        ({"hidden_size": 0}, "--hidden_size must be at least 1, got 0"),
        ({"dropout": 1.0}, r"--dropout must lie in \[0, 1\), got 1.0"),
        ({"pooling": "last"}, "--pooling=last needs --segment_length=0"),
        ({"validation_fraction": 0.0}, "--validation_fraction must be above 0"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(command_line.ConfigError, match=message):
        imdb.Config(**changes)


def test_command_repeats_the_run():
    config = dataclasses.replace(imdb.configure(preset="keras"), seeds=1, cell="lstm")
    assert (
        config.command("imdb") == "python -m experiments.imdb --cell=lstm --preset=keras --seeds=1"
    )


def test_a_mistake_is_one_line_and_status_2(tmp_path, reviews_folder, cache):
    empty = tmp_path / "empty"
    empty.mkdir()
    torn = tmp_path / "torn"
    (torn / "imdb_reviews" / "plain_text" / "1.0.0").mkdir(parents=True)
    runs = {
        ("--cell=transformer",): ONE_WAY,
        ("--hiden_size=3",): "hiden_size",
        ("--epochs=many",): "epochs",
        ("--dataset=folder", f"--data_dir={empty}"): "train",
        ("--dataset=imdb_reviews", f"--data_dir={torn}"): "dataset_info.json",
        ("--predict=good", f"--workdir={tmp_path / 'nothing'}"): "needs a finished run",
    }
    for i, (flags, part) in enumerate(runs.items()):
        flags = (f"--cache_dir={cache}", *flags)
        assert part in programs.refusal("imdb", *flags, said=tmp_path / f"said_{i}")


def test_help_lists_the_settings():
    """In a new process, as a shell starts it; the other programs here are forks, see `programs`."""
    words = [sys.executable, "-m", "experiments.imdb", "--help"]
    done = subprocess.run(words, cwd=programs.ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0
    assert "  --hidden_size     hidden units of a layer and direction (default: 64)" in done.stdout
    assert "rnn, lstm, gru, " in done.stdout
    assert "\nOther:" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not done.stderr


@pytest.mark.extended
def test_killed_and_resumed_to_the_same_bits(finished, tmp_path, cache):
    """Killed in a process of its own; taken up here, where the whole run was made."""
    config, (_, result), _ = finished
    flags = [f"--{name}={value}" for name, value in dataclasses.asdict(config).items()]
    path = tmp_path / "killed"
    killed = programs.start(
        "imdb", *flags, f"--cache_dir={cache}", f"--workdir={path}", said=tmp_path / "said"
    )
    metrics = path / "metrics.jsonl"
    deadline = time.monotonic() + 400
    while not (metrics.exists() and '"epoch": 2' in metrics.read_text()):
        assert time.monotonic() < deadline
        assert killed.process.is_alive(), killed.wait()
        time.sleep(0.02)
    killed.process.kill()
    killed.wait()
    assert not (path / "result.json").exists()
    resumed = imdb.run(
        config, workdir=path, resume=True, cache_dir=str(cache), notify=lambda line: None
    ).result
    assert resumed["params_sha256"] == result["params_sha256"]
    assert resumed["metrics"]["test_accuracy"] == result["metrics"]["test_accuracy"]
