"""TensorBoard's file holds what was reported, at once and whole; a full disk is one clear line."""

import collections
import struct
from pathlib import Path

import pytest
import toy
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import RecordWriter, masked_crc32c

from seqjax import train
from seqjax.train._events import EventFile
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


def test_round_trip(tmp_path):
    file = EventFile(tmp_path / "deep", purge_step=7)
    file.add_scalar("epoch/val_mse", 0.25, 9)
    file.close()
    version, purge, number = events(tmp_path / "deep")
    assert version.file_version == "brain.Event:2"
    assert (purge.step, purge.session_log.status) == (7, SessionLog.START)
    assert number.step == 9
    assert number.summary.value[0].tag == "epoch/val_mse"
    assert number.summary.value[0].simple_value == 0.25


def test_a_run_leaves_its_metrics_there(tmp_path):
    toy.train(tmp_path, epochs=2)
    found = list(events(tmp_path / "tensorboard" / "seed_0"))
    tags = [event.summary.value[0].tag for event in found if event.summary.value]
    rows = toy.rows(tmp_path)
    assert tags.count("epoch/val_mse") == 2
    assert tags.count("step/train_loss") == sum(row["kind"] == "step" for row in rows)


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
