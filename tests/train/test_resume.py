"""A run that was stopped anywhere and resumed ends with the bits of one that was not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy

from seqjax.train import DivergedError, StoppedError, data_mesh, make_train_step
from seqjax.train._checkpoints import Checkpoints
from seqjax.train._record import params_sha256

# Of a damaged checkpoint; see test_checkpoints.py.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Stopped(Exception):
    """Stands for whatever may stop a run."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, toy.train(folder)


def same(one, other):
    assert params_sha256(one.params) == params_sha256(other.params)
    assert one.best_epoch == other.best_epoch
    assert one.validation == other.validation
    assert (one.epochs_run, one.steps) == (other.epochs_run, other.steps)


def stopping_at(step):
    """Batches that fail before the given global step, counted from 0."""

    def batches(epoch):
        for i, batch in enumerate(toy.batches(epoch)):
            if (epoch - 1) * 7 + i == step:
                raise Stopped
            yield batch

    return batches


def extended(*steps):
    return [pytest.param(step, marks=pytest.mark.extended) for step in steps]


# Before the first checkpoint, on one, inside an epoch, right after one, just before the end.
@pytest.mark.parametrize("step", [2, 8, *extended(13), 14, *extended(27)])
def test_same_bits(tmp_path, whole, step):
    with pytest.raises(Stopped):
        toy.train(tmp_path, train_batches=stopping_at(step))
    same(toy.train(tmp_path, resume=True), whole[1])
    assert toy.rows(tmp_path) == toy.rows(whole[0])


def test_same_bits_after_stopping_in_validation(tmp_path, whole):
    def fails(params):
        raise Stopped

    with pytest.raises(Stopped):
        toy.train(tmp_path, validate=fails)
    same(toy.train(tmp_path, resume=True), whole[1])
    assert toy.rows(tmp_path) == toy.rows(whole[0])


def test_same_bits_on_two_devices(tmp_path):
    step = toy.make(num_devices=2)
    whole = toy.train(tmp_path / "whole", step=step)
    with pytest.raises(Stopped):
        toy.train(tmp_path / "cut", step=step, train_batches=stopping_at(13))
    same(toy.train(tmp_path / "cut", step=step, resume=True), whole)


@pytest.mark.parametrize("num_devices", [1, pytest.param(2, marks=pytest.mark.extended)])
def test_several_steps_a_dispatch(tmp_path, whole, num_devices):
    """The rows of one at a time, and after a stop the bits of a run that was not stopped."""
    step = toy.make(num_devices=num_devices, per_dispatch=3)
    grouped = toy.train(tmp_path / "whole", step=step)
    assert grouped.steps == whole[1].steps
    for ours, theirs in zip(toy.rows(tmp_path / "whole"), toy.rows(whole[0]), strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            exact = isinstance(value, str | int)
            assert value == (theirs[name] if exact else pytest.approx(theirs[name], rel=1e-5))
    with pytest.raises(Stopped):
        toy.train(tmp_path / "cut", step=step, train_batches=stopping_at(13))
    same(toy.train(tmp_path / "cut", step=step, resume=True), grouped)
    assert toy.rows(tmp_path / "cut") == toy.rows(tmp_path / "whole")


def terminating_at(step):
    """Batches during which SIGTERM comes, before the given global step, counted from 0."""

    def batches(epoch):
        for i, batch in enumerate(toy.batches(epoch)):
            if (epoch - 1) * 7 + i == step:
                signal.raise_signal(signal.SIGTERM)
            yield batch

    return batches


# At the first step, inside an epoch, at the last step of an epoch and of all.
@pytest.mark.parametrize("step", [*extended(0, 2), 6, *extended(17), 27])
def test_sigterm_saves_the_step_in_progress(tmp_path, whole, step):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StoppedError, match=f"after step {step + 1} of seed 0, which is saved; run"):
        toy.train(tmp_path, train_batches=terminating_at(step))
    assert signal.getsignal(signal.SIGTERM) is before
    seen = []

    def counted(epoch):
        for batch in toy.batches(epoch):
            seen.append(epoch)
            yield batch

    same(toy.train(tmp_path, resume=True, train_batches=counted), whole[1])
    assert len(seen) == 28 - 7 * (step // 7)  # the epoch is dealt anew, what it had used is skipped
    assert toy.rows(tmp_path) == toy.rows(whole[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_come_three_at_once(tmp_path, whole, number):
    """As schedulers send SIGTERM; a terminal that is closed sends SIGHUP."""

    def batches(epoch):
        for i, batch in enumerate(toy.batches(epoch)):
            for _ in range(3 * (i == 2)):
                signal.raise_signal(number)
            yield batch

    before = signal.signal(number, signal.SIG_DFL)  # pytest may run below nohup
    try:
        with pytest.raises(StoppedError, match="Stopped by a signal after step 3 of seed 0, which"):
            toy.train(tmp_path, train_batches=batches)
    finally:
        signal.signal(number, before)
    same(toy.train(tmp_path, resume=True), whole[1])


def test_nohup_is_heeded(tmp_path, whole):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:

        def batches(epoch):
            signal.raise_signal(signal.SIGHUP)
            return toy.batches(epoch)

        same(toy.train(tmp_path, train_batches=batches), whole[1])
    finally:
        signal.signal(signal.SIGHUP, before)


def test_sigterm_while_the_last_checkpoint_is_written(tmp_path, whole, monkeypatch):
    save = Checkpoints.save

    def terminated(self, trees, position):
        if position.finished:
            signal.raise_signal(signal.SIGTERM)
        save(self, trees, position)

    monkeypatch.setattr(Checkpoints, "save", terminated)
    with pytest.raises(StoppedError, match="after step 28 of seed 0, which is saved"):
        toy.train(tmp_path)
    same(toy.train(tmp_path, resume=True), whole[1])  # which is only read back


def test_sigterm_after_the_last_question_acts_as_before(tmp_path, monkeypatch):
    close = Checkpoints.close

    def terminated(self):
        signal.raise_signal(signal.SIGTERM)
        close(self)

    def ends(*_):
        raise Stopped

    monkeypatch.setattr(Checkpoints, "close", terminated)
    before = signal.signal(signal.SIGTERM, ends)
    try:
        with pytest.raises(Stopped):
            toy.train(tmp_path)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_sigterm_in_validation(tmp_path, whole):
    def validate(params):
        signal.raise_signal(signal.SIGTERM)
        return toy.validate(params)

    for _ in range(4):  # once an epoch, the last time when all is done
        with pytest.raises(StoppedError):
            toy.train(tmp_path, resume=True, validate=validate)
    same(toy.train(tmp_path, resume=True, validate=validate), whole[1])
    assert toy.rows(tmp_path) == toy.rows(whole[0])


def test_sigterm_between_groups(tmp_path):
    """Stopped at a step where nothing is due, so that groups could come to lie elsewhere."""
    step = toy.make(per_dispatch=3)
    options = {"step": step, "log_every": 100, "checkpoint_every": None}
    whole = toy.train(tmp_path / "whole", **options)
    for at in (1, 4, 6, 10):
        with pytest.raises(StoppedError):
            toy.train(tmp_path / str(at), train_batches=terminating_at(at), **options)
        same(toy.train(tmp_path / str(at), resume=True, **options), whole)


@pytest.mark.usefixtures("abandoned_reads")
def test_same_bits_after_a_damaged_checkpoint(tmp_path, whole, capsys):
    with pytest.raises(Stopped):
        toy.train(tmp_path, train_batches=stopping_at(13))
    numbers = sorted(int(d.name) for d in (tmp_path / "checkpoints" / "seed_0").iterdir())
    for file in (tmp_path / "checkpoints" / "seed_0" / str(numbers[-1])).rglob("d/*"):
        os.truncate(file, file.stat().st_size // 2)
    same(toy.train(tmp_path, resume=True), whole[1])
    assert f"{numbers[-1]} is damaged" in capsys.readouterr().err
    assert toy.rows(tmp_path) == toy.rows(whole[0])


def test_a_parameter_that_is_not_finite_is_not_saved(tmp_path):
    """An optimiser that spoils a parameter of which the loss says nothing."""

    def spoil(updates, state, params=None):
        return {**updates, "b": updates["b"] * jnp.where(state == 9, jnp.inf, 1.0)}, state + 1

    spoiling = optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), spoil)
    step = make_train_step(toy.loss, optax.chain(optax.sgd(0.01), spoiling), mesh=data_mesh(1))
    with pytest.raises(DivergedError, match=r"step 10 \(seed 0\): \['b'\] is not finite"):
        toy.train(tmp_path, step=step, checkpoint_every=5, log_every=100)
    kept = sorted(d.name for d in (tmp_path / "checkpoints" / "seed_0").iterdir())
    assert kept == ["1", "2"]  # of step 5 and of the end of the epoch


@pytest.mark.parametrize(("seconds", "numbers"), [(3600, ["1", "2"]), (0, ["10", "11"])])
def test_checkpoints_that_come_too_soon_are_left_out(tmp_path, whole, seconds, numbers):
    """Of 11 moments the first and the last remain, and a resumed run does the rest again."""
    toy.train(tmp_path / "whole", checkpoint_seconds=seconds)
    kept = (tmp_path / "whole" / "checkpoints" / "seed_0").iterdir()
    assert sorted((path.name for path in kept), key=int) == numbers
    with pytest.raises(Stopped):
        toy.train(tmp_path / "cut", train_batches=stopping_at(20), checkpoint_seconds=seconds)
    same(toy.train(tmp_path / "cut", resume=True, checkpoint_seconds=seconds), whole[1])
    assert toy.rows(tmp_path / "cut") == toy.rows(whole[0])


def test_same_bits_after_kill_9(tmp_path, whole):
    python = [sys.executable, toy.__file__, str(tmp_path)]
    root = Path(toy.__file__).parents[2]
    process = subprocess.Popen(python, cwd=root, env={**os.environ, "PYTHONPATH": str(root)})
    deadline = time.monotonic() + 300
    metrics = tmp_path / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text().count('"kind": "epoch"') >= 2):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.12)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert (tmp_path / "checkpoints" / "seed_0").exists()
    same(toy.train(tmp_path, resume=True), whole[1])
    assert toy.rows(tmp_path) == toy.rows(whole[0])


def test_finished_seed_is_read_back(tmp_path, whole):
    def none(*_):
        raise AssertionError("a finished seed was run again")

    first = toy.train(tmp_path)
    again = toy.train(tmp_path, resume=True, train_batches=none, validate=none)
    same(again, first)
    assert again.history == first.history
    assert again.wall_s == first.wall_s > 0
    same(first, whole[1])


def test_seeds_share_a_folder(tmp_path, whole):
    results = [toy.train(tmp_path, resume=True, seed=seed) for seed in (0, 1)]
    same(results[0], whole[1])
    assert params_sha256(results[1].params) != params_sha256(results[0].params)
    found = toy.rows(tmp_path)
    assert [r for r in found if r["seed"] == 0] == toy.rows(whole[0])
    assert len(found) == 2 * len(toy.rows(whole[0]))
    toy.train(tmp_path, resume=True, seed=0)
    assert toy.rows(tmp_path) == found


def test_wall_time_accumulates(tmp_path):
    with pytest.raises(Stopped):
        toy.train(tmp_path, train_batches=stopping_at(13))
    seen = toy.open_run(tmp_path, toy.CONFIG, resume=True).metrics()
    epoch_1 = next(row for row in seen if row["kind"] == "epoch")
    result = toy.train(tmp_path, resume=True)
    assert result.wall_s > epoch_1["wall_s"] > 0
    assert np.all(np.diff([row["wall_s"] for row in result.history]) >= 0)


def test_initial_params_stay_the_callers(tmp_path):
    params = toy.init()
    toy.train(tmp_path, params=params, epochs=1)
    jax.block_until_ready(params)
    assert float(params["b"]) == 0.0
