"""Callbacks hear what is written, may end training, and change no bit of it."""

import jax
import pytest
import toy

from seqjax.train import Callback, open_run


class Recorder(Callback):
    """Keeps what it hears."""

    def __init__(self, last_epoch=None):
        self.rows, self.steps, self.folders, self.last_epoch = [], [], set(), last_epoch

    def on_row(self, row):
        self.rows.append(dict(row))

    def on_checkpoint(self, folder, step):
        self.steps.append(step)
        self.folders.add(folder)

    def stops(self, row):
        return row["epoch"] == self.last_epoch


def same(one, two):
    """Requires the same bits."""
    jax.tree.map(lambda a, b: (a == b).all() or pytest.fail("other bits"), one.params, two.params)


def test_hears_every_row_and_checkpoint(tmp_path):
    plain, heard = toy.train(tmp_path / "plain"), Recorder()
    listened = toy.train(tmp_path / "heard", callbacks=[heard])
    same(plain, listened)
    run = open_run(tmp_path / "heard", toy.CONFIG, resume=True)
    assert heard.rows == run.metrics()
    assert {row["kind"] for row in heard.rows} == {"step", "epoch"}
    # 28 steps: every fourth, and the ends of the epochs.
    assert heard.steps == [4, 7, 8, 12, 14, 16, 20, 21, 24, 28, 28]
    assert heard.folders == {run.checkpoints(0)}


def test_ends_training_after_an_epoch(tmp_path):
    early, late = Recorder(last_epoch=2), Recorder()
    result = toy.train(tmp_path, callbacks=[early, late])
    assert (result.epochs_run, result.steps) == (2, 14)
    assert late.rows == early.rows
    # It has finished: a resumed run trains no more, and reports nothing.
    again = Recorder()
    same(toy.train(tmp_path, resume=True, callbacks=[again]), result)
    assert not again.rows
    assert not again.steps


def test_an_exception_ends_training_and_leaves_a_run_to_resume(tmp_path):
    class Pruned(Exception):
        pass

    class Pruning(Callback):
        def on_row(self, row):
            if row["kind"] == "epoch" and row["epoch"] == 3:
                raise Pruned

    whole = toy.train(tmp_path / "whole")
    with pytest.raises(Pruned):
        toy.train(tmp_path / "cut", callbacks=[Pruning()])
    heard = Recorder()
    same(toy.train(tmp_path / "cut", resume=True, callbacks=[heard]), whole)
    assert toy.rows(tmp_path / "cut") == toy.rows(tmp_path / "whole")
    assert heard.rows[-1]["epoch"] == 4
    assert heard.rows[0]["step"] > 14


def test_what_is_no_callback_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"`callbacks` must be instances of .*Callback, got <class"):
        toy.train(tmp_path, callbacks=[Recorder])
