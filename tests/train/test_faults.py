"""A run that a fault stops at a single operation on a file ends as if there had been none."""

import contextlib
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import toy
from test_events import numbers

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from fault_injection import Disk, before_operations, fault_at

from seqjax.train import StoppedError
from seqjax.train._record import params_sha256

pytestmark = [
    # Of a damaged checkpoint, or one that cannot be written; see test_checkpoints.py.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]
SHORT = {"epochs": 2, "log_every": 3, "checkpoint_every": 4}


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    count = [0]
    with before_operations(folder, lambda number: count.append(number)):
        result = toy.train(folder, **SHORT)
    return folder, result, count[-1]


def written(folder):
    """Waits for threads of a save that failed, which a process that ends would take with it."""
    before = None
    while before != (now := [(path, path.lstat().st_ctime_ns) for path in folder.rglob("*")]):
        before = now
        time.sleep(0.2)


def ends_as_if_nothing_had(folder, whole):
    found = toy.train(folder, resume=True, **SHORT)
    assert params_sha256(found.params) == params_sha256(whole[1].params)
    assert toy.rows(folder) == toy.rows(whole[0])
    assert numbers(folder / "tensorboard" / "seed_0") == numbers(whole[0] / "tensorboard/seed_0")


# Older versions of Orbax make folders in a thread, where the exception stays.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("part", range(5))
def test_killed_before_an_operation(tmp_path, whole, part):
    at = whole[2] * (2 * part + 1) // 10
    folder, left = tmp_path / "run", tmp_path / "left"
    folder.mkdir()

    def kill(number):
        if number == at:
            shutil.copytree(folder, left)  # threads of this process may go on writing
            raise Killed

    with contextlib.suppress(Killed), before_operations(folder, kill):
        toy.train(folder, **SHORT)
    ends_as_if_nothing_had(left, whole)


@pytest.mark.parametrize("part", range(3))
def test_the_disk_is_full_from_an_operation_on(tmp_path, whole, part):
    at = whole[2] * (2 * part + 1) // 6
    with (
        pytest.raises(Exception, match="No space left on device") as failure,
        before_operations(tmp_path, fault_at("full disk", at)),
    ):
        toy.train(tmp_path, **SHORT)
    assert "\n" not in str(failure.value)
    written(tmp_path)
    ends_as_if_nothing_had(tmp_path, whole)


def test_no_signal_is_lost(tmp_path, whole):
    """Three at once before any operation end the run, with the step saved where there is one."""

    def ends(*_):
        raise Killed

    before = signal.signal(signal.SIGTERM, ends)
    try:
        for at in range(3, whole[2], whole[2] // 7):
            folder = tmp_path / str(at)
            folder.mkdir()
            with (
                pytest.raises((StoppedError, Killed)),
                before_operations(folder, fault_at("signal", at)),
            ):
                toy.train(folder, **SHORT)
            ends_as_if_nothing_had(folder, whole)
        assert signal.getsignal(signal.SIGTERM) is ends
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_power_cut(tmp_path, whole):
    """What was written since it was last synchronised is lost, what was deleted is gone."""
    folder = tmp_path / "run"
    folder.mkdir()
    disk, left = Disk(folder), []

    def cut(number):
        if number % 11 == 0:
            left.append(tmp_path / f"cut_{number}")
            disk.leave(left[-1])

    with disk.watched(), before_operations(folder, cut):
        toy.train(folder, **SHORT)
    saved = [
        {p.name for p in each.glob("checkpoints/seed_0/*") if p.name.isdigit()} for each in left
    ]
    first = next(number for number, names in enumerate(saved) if names)
    assert all(saved[first:])  # there is always one
    assert len(left) - first > 5
    for each in left[:: len(left) // 4]:
        ends_as_if_nothing_had(each, whole)
