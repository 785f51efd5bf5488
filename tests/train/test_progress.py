"""The progress bar: its width, its words, its time, and that it is one over the whole run."""

import os
import re
import sys

import pytest
import toy

from seqjax.train import _progress
from seqjax.train._progress import Progress


class Terminal:
    """A standard error of 80 columns that keeps every line it was asked to show."""

    def __init__(self, monkeypatch):  # in the test itself: pytest takes standard error back
        self.lines = []
        monkeypatch.setattr(sys, "stderr", self)
        monkeypatch.setattr("os.get_terminal_size", lambda fd: os.terminal_size((80, 24)))
        monkeypatch.setenv("COLUMNS", "81")  # tqdm 4.66 asks here, and leaves one column free
        monkeypatch.setenv("LINES", "25")

    encoding = "utf-8"

    def isatty(self):
        return True

    def fileno(self):
        return 2

    def write(self, text):
        self.lines += [line.rstrip() for line in re.split(r"[\r\n]", text) if line.strip()]

    def flush(self):
        pass

    @property
    def bars(self):
        return [line for line in self.lines if "%|" in line]


@pytest.fixture
def seconds(monkeypatch):
    """A clock that stands still unless it is moved."""
    clock = [0.0]
    monkeypatch.setattr(_progress.time, "monotonic", lambda: clock[0])
    return clock


def percent(bar):
    return int(re.search(r"(\d+)%\|", bar)[1])


def test_fits_on_80_columns(monkeypatch):
    """Found with the metrics cut off after `train_loss 1.0529, `, and names of sweeps are long."""
    terminal = Terminal(monkeypatch)
    progress = Progress("hidden_size=64,learning_rate=0.001 seed 10", 30, (1, 5))
    progress.begin_epoch(29, 1000, 999)
    progress.hand_over("shape")
    progress.advance(1)
    progress.show("loss 0.4912, acc 0.8123 12,345/s")
    for _ in range(3):
        progress.hand_over("shape")
        progress.advance(1)
    progress.begin_epoch(30, 1000, 0)
    assert max(map(len, terminal.bars)) <= 80
    assert "…001 seed 10 epoch 30/30" in terminal.bars[-1]
    assert terminal.bars[-1].endswith("loss 0.4912, acc 0.8123 12,345/s")
    assert terminal.bars[-1].count("█") >= 1


def test_says_compiling_until_the_step_is_done(monkeypatch, seconds):
    terminal = Terminal(monkeypatch)
    progress = Progress("seed 0", 1, (0, 1))
    progress.begin_epoch(1, 10, 0)
    assert terminal.bars[-1].endswith("compiling")
    progress.hand_over("a")
    seconds[0] += 60  # which say nothing of the steps to come
    progress.advance(1)
    for _ in range(2):
        progress.hand_over("a")
        seconds[0] += 2
        progress.advance(1)
    progress.show("")
    assert terminal.bars[-1].endswith("14 s left")
    progress.hand_over("b")
    assert terminal.bars[-1].endswith("compiling")
    seconds[0] += 60
    progress.advance(1)
    progress.show("")
    assert terminal.bars[-1].endswith("12 s left")


def test_time_left_is_that_of_all_seeds_and_epochs(monkeypatch, seconds):
    terminal = Terminal(monkeypatch)
    progress = Progress("seed 1", 2, (1, 3))
    progress.begin_epoch(2, 10, 4)
    for shape in "aab":
        progress.hand_over(shape)
        seconds[0] += 5
        progress.advance(1)
    progress.show("")
    assert percent(terminal.bars[-1]) == round(100 * (20 + 10 + 4 + 3) / 60)
    assert terminal.bars[-1].endswith("2 min left")  # 23 steps of 5 s


def test_is_one_bar_over_the_seeds(monkeypatch, tmp_path):
    """Each seed's goes on where that of the seed before ended; epochs are lines above it."""
    terminal = Terminal(monkeypatch)
    for seed in (0, 1):
        toy.train(
            tmp_path,
            seed=seed,
            resume=seed > 0,
            epochs=3,
            place=(seed, 2),
            train_batches=lambda epoch: list(toy.batches(epoch)),
        )
    shown = [percent(bar) for bar in terminal.bars]
    assert shown == sorted(shown)
    assert (shown[0], shown[-1]) == (0, 100)
    epochs = [line for line in terminal.lines if re.match(r"seed \d epoch \d/3: train loss ", line)]
    assert len(epochs) == 6
    assert all("; val acc " in line for line in epochs)
