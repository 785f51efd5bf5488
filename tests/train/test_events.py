"""TensorBoard's file holds what was reported, at once and whole; a full disk is one clear line."""

import collections
import struct
from pathlib import Path

import numpy as np
import pytest
import toy
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import RecordWriter, masked_crc32c

from seqjax import train
from seqjax.train._events import COUNTERS, EventFile
from seqjax.train._record import params_sha256


def events(folder):
    """Reads records of length, checksum, content and checksum, all files in order."""
    for file in sorted(folder.iterdir()):
        content = file.read_bytes()
        while content:
            (size,) = struct.unpack("Q", content[:8])
            event = content[12 : 12 + size]
            checks = content[8:12] + content[12 + size : 16 + size]
            assert struct.unpack("II", checks) == (
                masked_crc32c(content[:8]),
                masked_crc32c(event),
            )
            content = content[16 + size :]
            yield Event.FromString(event)


def numbers(folder):
    """Every number with its name and step; after a mark that voids steps, those before it."""
    found = []
    for event in events(folder):
        if event.HasField("session_log"):
            found = [each for each in found if each[1] < event.step]
        for value in event.summary.value:
            if value.tag.endswith("examples_per_s"):
                continue
            found.append((value.tag, event.step, value.simple_value))
    return found


def rows_as_numbers(path):
    return [
        (f"{row['kind']}/{name}", row["step"], float(np.float32(value)))
        for row in toy.rows(path)
        for name, value in row.items()
        if name not in COUNTERS
    ]


def test_round_trip(tmp_path):
    row = {"kind": "epoch", "seed": 0, "epoch": 1, "step": 9, "wall_s": 2.0, "val_mse": 0.25}
    file = EventFile(tmp_path / "deep", [row], wall_s=5.0)
    file.add({**row, "step": 10, "wall_s": 6.0, "val_nll": None})
    version, start, first, second = events(tmp_path / "deep")  # there before the file is closed
    assert version.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (0, SessionLog.START)
    assert (first.step, second.step) == (9, 10)
    assert first.summary.value[0].tag == "epoch/val_mse"
    assert first.summary.value[0].simple_value == 0.25
    assert second.wall_time - first.wall_time == pytest.approx(4.0)
    file.close()


def test_a_run_leaves_its_metrics_there(tmp_path):
    toy.train(tmp_path, epochs=2)
    assert numbers(tmp_path / "tensorboard" / "seed_0") == rows_as_numbers(tmp_path)


# Before the first checkpoint, between two, between the last step of an epoch and its end.
@pytest.mark.parametrize("stop", [("step", 2), ("step", 9), ("validation", 1)])
def test_no_point_is_lost_or_there_twice(tmp_path, stop):
    """What was reported is there whenever the process ends, and once after it was resumed."""
    kind, at = stop
    folder = tmp_path / "tensorboard" / "seed_0"

    def check():
        assert numbers(folder) == rows_as_numbers(tmp_path)
        raise KeyboardInterrupt

    def batches(epoch):
        for number, batch in enumerate(toy.batches(epoch)):
            if kind == "step" and (epoch - 1) * 7 + number == at:
                check()
            yield batch

    def validate(params):
        return check() if kind == "validation" else toy.validate(params)

    options = {"epochs": 2, "log_every": 1, "checkpoint_every": 7}
    with pytest.raises(KeyboardInterrupt):
        toy.train(tmp_path, train_batches=batches, validate=validate, **options)
    toy.train(tmp_path, resume=True, **options)
    assert numbers(folder) == rows_as_numbers(tmp_path)
    assert len(set(numbers(folder))) == len(numbers(folder))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_room_for_events_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "tensorboardX.event_file_writer.RecordWriter", lambda path: RecordWriter("/dev/full")
    )
    with pytest.raises(train.RunError, match=r"Cannot write to the run folder .* No space left"):
        toy.train(tmp_path, epochs=500, log_every=1, checkpoint_every=None)


def test_no_room_for_a_checkpoint_is_one_line_and_nothing_is_lost(tmp_path, monkeypatch):
    usage = collections.namedtuple("usage", "total used free")
    asked = []

    def disk_usage(path):
        asked.append(path)
        return usage(10**9, 0, 10**9 if len(asked) < 3 else 1000)

    wanted = toy.train(tmp_path / "whole")
    monkeypatch.setattr("seqjax.train._checkpoints.shutil.disk_usage", disk_usage)
    with pytest.raises(
        train.RunError, match=r"seed_0/3 cannot be written \(it takes 0.1 MiB and 0"
    ):
        toy.train(tmp_path / "small")
    monkeypatch.undo()
    found = toy.train(tmp_path / "small", resume=True)
    assert params_sha256(found.params) == params_sha256(wanted.params)
