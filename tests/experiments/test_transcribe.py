"""The transcription experiment, end to end on tones, and its loss against enumeration."""

import dataclasses
import itertools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.io import wavfile

from experiments import command_line, transcribe
from experiments.transcribe.floors import loud_pieces
from experiments.transcribe.model import BLANK, ctc_losses, make_loss, model_functions
from experiments.transcribe.scoring import beam, greedy, scores
from experiments.transcribe.task import load_task, sequences
from experiments.transcribe.tones import generate_tones
from seqjax import data, decode, train

SMALL = {
    "cell": "rnn", "hidden_size": 6, "num_mels": 10, "batch_size": 8, "train_size": 40,
    "num_buckets": 1, "epochs": 3, "seeds": 2, "rounds": 1, "max_digits": 3, "max_pause_s": 0.05,
    "max_seconds": 1.0, "beam_width": 4, "feature_mask_size": 3,
}  # fmt: skip


def small(**changes):
    return transcribe.configure(**{**SMALL, **changes})


def run_on(path, config):
    return transcribe.run(config, workdir=path, notify=lambda line: None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    lines = []
    config = small(cell="birnn", noise=0.1, time_masks=1, feature_masks=1, learning_rate=0.02)
    result = transcribe.run(config, workdir=path, notify=lines.append)
    return config, result, "\n".join(lines)


def labelled(log_probs, digits, lengths, weights=None):
    """A batch whose inputs do not matter."""
    number, steps, _ = log_probs.shape
    weights = np.ones(number, np.float32) if weights is None else weights
    inputs = np.zeros((number, steps, 1), np.float32)
    return data.Sequences(inputs, np.array(digits, np.int32), weights, np.array(lengths))


def enumerated_loss(log_probs, digits):
    """Sums over every alignment, by the definition."""
    wanted = [digit + 1 for digit in digits]
    total = 0.0
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        if decode.ctc_collapse(path, BLANK) == wanted:
            total += np.exp(sum(row[s] for row, s in zip(log_probs, path, strict=True)))
    return -np.log(total)


STRINGS = [[0, 1, -1], [1, 1, -1], [-1, -1, -1], [0, 1, 0], [2, -1, -1]]
LENGTHS = [5, 3, 4, 5, 1]


def test_ctc_sums_over_every_alignment():
    logits = 2 * np.random.default_rng(0).normal(size=(5, 5, 4))
    log_probs = np.array(jax.nn.log_softmax(logits))
    found = ctc_losses(jnp.asarray(log_probs), labelled(log_probs, STRINGS, LENGTHS))
    for row, digits, length, loss in zip(log_probs, STRINGS, LENGTHS, found, strict=True):
        real = [digit for digit in digits if digit >= 0]
        assert float(loss) == pytest.approx(enumerated_loss(row[:length], real), rel=1e-5)


def test_ctc_of_padding_and_filler_rows():
    logits = np.random.default_rng(1).normal(size=(6, 5, 4)).astype(np.float32)
    weights = np.array([1, 1, 1, 1, 1, 0], np.float32)
    batch = labelled(logits, [*STRINGS, [0, 0, 0]], [*LENGTHS, 0], weights)

    def total(logits):
        losses = ctc_losses(jax.nn.log_softmax(logits), batch)
        return losses.sum(), losses

    gradient, losses = jax.grad(total, has_aux=True)(jnp.asarray(logits))
    assert losses[-1] == 0  # a row that fills, whose zeros are no digits
    assert np.isfinite(gradient).all()
    for row, length in zip(np.asarray(gradient), batch.lengths, strict=True):
        assert not row[length:].any()
        assert (np.abs(row[:length]).sum(1) > 0).all()
    changed = logits.copy()
    for row, length in zip(changed, batch.lengths, strict=True):
        row[length:] = 1e4
    np.testing.assert_array_equal(total(jnp.asarray(changed))[1], losses)


@pytest.mark.extended
def test_run_folder(finished):
    config, (path, result), _ = finished
    assert json.loads((path / "result.json").read_text()) == result
    assert json.loads((path / "config.json").read_text()) == dataclasses.asdict(config)
    assert result["experiment"] == "transcribe"
    assert set(result["metrics"]) >= {
        "test_digit_error_rate", "test_string_accuracy", "test_digit_error_rate_greedy",
        "test_string_accuracy_greedy", "test_nll", "validation_digit_error_rate",
    }  # fmt: skip
    assert set(result["floors"]) == {"nothing", "constant", "energy_ridge"}
    assert result["floors"]["energy_ridge"] < result["floors"]["constant"] < 1
    records = json.loads((path / "transcriptions.json").read_text())
    truth = [record["truth"] for record in records]
    for seed in range(2):
        heard = [record["heard"][seed] for record in records]
        rate = scores(heard, truth)["digit_error_rate"]
        assert rate == pytest.approx(result["metrics"]["test_digit_error_rate"]["per_seed"][seed])
    assert "test_digit_error_rate" in (path / "summary.md").read_text()


def test_report(finished):
    _, (path, result), report = finished
    assert report.splitlines()[-1].startswith("test_digit_error_rate ")
    assert report.splitlines()[-1].endswith(str(path / "result.json"))
    for part in (
        "Bidirectional(elman(6), 40)",
        "cost ",
        "baseline: constant",
        f"{result['num_params']:,}",
    ):
        assert part in report


@pytest.mark.extended
def test_same_settings_same_bits_and_resumed_too(finished, tmp_path, monkeypatch):
    config, (path, result), _ = finished
    module = sys.modules["experiments.transcribe.study"]
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
    monkeypatch.setattr(module, "epoch_batches", make)
    again = transcribe.run(
        config, workdir=tmp_path / "killed", resume=True, notify=lambda line: None
    ).result
    assert again["params_sha256"] == result["params_sha256"]
    assert again["data_sha256"] == result["data_sha256"]
    assert again["metrics"]["test_nll"] == result["metrics"]["test_nll"]
    with pytest.raises(train.RunError, match="already holds a run; continue it with --resume"):
        transcribe.run(config, workdir=path)


def check_learnt(config, path, result):
    """Every parameter has moved, and the loss fell."""
    functions = model_functions(config)
    before = functions.init(jax.random.split(jax.random.key(0))[0])
    folder = train.open_run(path, dataclasses.asdict(config), resume=True)
    after = train.best_params(folder, 0, before)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before, after)
    assert all(jax.tree.leaves(moved)), moved
    rows = [row for row in folder.metrics() if row["kind"] == "epoch" and row["seed"] == 0]
    assert rows[-1]["val_loss"] < rows[0]["val_loss"]
    assert result["num_params"] == sum(leaf.size for leaf in jax.tree.leaves(before))


def test_every_parameter_moves_and_the_loss_falls(finished, tmp_path):
    config, (path, result), _ = finished
    check_learnt(config, path, result)
    config = small(cell="feedforward", seeds=1, learning_rate=0.02)
    check_learnt(config, *run_on(tmp_path / "run", config))


def test_filler_rows_do_not_count():
    config = small(cell="feedforward", dropout=0.0)
    task = load_task(config)
    functions = model_functions(config)
    params = functions.init(jax.random.key(0))
    loss = jax.jit(make_loss(functions))
    few = sequences(config, task.scales, task.test).take(np.arange(3))
    values = []
    for size in (3, 5):
        (batch,) = data.ragged_batches(few, size, [40])
        values.append(loss(params, jax.random.key(1), batch))
    for first, second in zip(*map(jax.tree.leaves, values), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-5)


def test_strings_are_drawn_anew_for_every_epoch_and_the_same_for_the_same():
    task = load_task(small())
    first, again, second = (task.train(0, epoch) for epoch in (1, 1, 2))
    np.testing.assert_array_equal(np.concatenate(first.samples), np.concatenate(again.samples))
    assert first.digits.tolist() != second.digits.tolist()
    assert task.train(1, 1).digits.tolist() != first.digits.tolist()
    for strings in (first, second):
        assert (strings.digits >= 0).sum() == 40
    held_out = {samples.tobytes() for samples in task.recordings.test.samples}
    assert not held_out & {samples.tobytes() for samples in task.recordings.train.samples}


def test_more_steps_apart_than_digits_are_refused():
    with pytest.raises(command_line.ConfigError, match=r"--stride must leave .* Lower it"):
        load_task(small(stride=90))


def test_predict(finished, tmp_path):
    _, (path, _), _ = finished
    sound = generate_tones(np.random.default_rng(0), 1).samples[0]
    wavfile.write(tmp_path / "a.wav", 8000, sound)
    answers = transcribe.predict(path, tmp_path / "a.wav")
    assert 1 <= len(answers) <= 5
    probabilities = [probability for _, probability in answers]
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0 < sum(probabilities) < 1 + 1e-6
    assert all(text == "" or text.isdigit() for text, _ in answers)
    wavfile.write(tmp_path / "b.wav", 44100, sound)
    with pytest.raises(data.DataError, match="must have 8000 samples a second, got 44100"):
        transcribe.predict(path, tmp_path / "b.wav")
    with pytest.raises(train.RunError, match="needs a finished run"):
        transcribe.predict(tmp_path, tmp_path / "a.wav")


def test_decoding_and_scores():
    sure = np.log(np.full((4, 11), 1e-4) + (1 - 11e-4) * np.eye(11)[[4, 0, 4, 10]])
    sure -= np.log(np.exp(sure).sum(1, keepdims=True))
    assert greedy([sure]) == beam([sure], 4) == [[3, 3, 9]]
    found = scores([[1, 2, 3], [], [4]], [[1, 3], [5], [4]])
    assert found == {"digit_error_rate": 2 / 4, "string_accuracy": 1 / 3}


def test_silence_has_no_loud_pieces():
    assert loud_pieces(np.ones((5, 2)), 0.5, 1) == []


@pytest.mark.parametrize("task", transcribe.TASKS)
def test_every_task_has_defaults_and_a_command(task):
    config = transcribe.configure(task=task)
    assert (
        config.command("transcribe")
        == f"python -m experiments.transcribe --cell=bigru --task={task}"
    )
    changed = dataclasses.replace(config, seeds=9)
    assert changed.command("transcribe").endswith(f"--task={task} --seeds=9")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "letters"}, "--task must be one of digits, generated"),
        ({"beam_width": 0}, "--beam_width must be at least 1, got 0"),
        ({"dropout": 1.0}, r"--dropout must lie in \[0, 1\), got 1.0"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(command_line.ConfigError, match=message):
        transcribe.configure(**changes)


def test_digits_need_their_data(monkeypatch):
    monkeypatch.delenv("SEQJAX_DATA_DIR", raising=False)
    with pytest.raises(data.DataError, match="--data_dir or SEQJAX_DATA_DIR"):
        load_task(small(task="digits"))


@pytest.mark.slow
def test_tones_are_learnt(tmp_path):
    _, result = run_on(tmp_path / "run", transcribe.configure(task="generated", seeds=1))
    floors, metrics = result["floors"], result["metrics"]
    assert metrics["test_digit_error_rate"]["mean"] < min(floors.values())
