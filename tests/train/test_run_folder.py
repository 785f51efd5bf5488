"""The contract of the run folder."""

import gc
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from experiments.intervals import summarise
from seqjax.train import RunError, open_run
from seqjax.train._run_folder import RESULT_KEYS

CONFIG = {"rate": 0.1, "cell": "gru", "sizes": (4, 5), "model": {"size": np.int64(3)}}


def result(**changes):
    whole = {**dict.fromkeys(RESULT_KEYS), "floors": {"chance": 0.5}, "metrics": {}, **changes}
    whole["metrics"]["test_accuracy"] = summarise([0.8, 0.9])
    return whole


def test_starts(tmp_path):
    run = open_run(tmp_path / "a" / "b", CONFIG, resume=False)
    found = json.loads((run.path / "config.json").read_text())
    assert found == run.config == {**CONFIG, "sizes": [4, 5], "model": {"size": 3}}
    assert not run.finished
    assert run.metrics() == []


def test_existing_run(tmp_path):
    open_run(tmp_path, CONFIG, resume=True)  # nothing there: starts
    with pytest.raises(RunError, match="already holds a run; continue it with --resume, or choose"):
        open_run(tmp_path, CONFIG, resume=False)
    assert open_run(tmp_path, CONFIG, resume=True).config["rate"] == 0.1


def test_other_config_is_named(tmp_path):
    open_run(tmp_path, CONFIG, resume=False)
    other = {"rate": 0.2, "cell": "gru", "sizes": [4, 5], "model": {"size": 7}, "more": None}
    with pytest.raises(RunError) as error:
        open_run(tmp_path, other, resume=True)
    assert (
        "model.size was 3, is now 7; more was absent, is now None; rate was 0.1, is now 0.2. "
        in str(error.value)
    )


def test_metrics_are_there_at_once(tmp_path):
    run = open_run(tmp_path, CONFIG, resume=False)
    run.append_metrics({"seed": 0, "loss": np.float32(0.5), "bad": float("inf")})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"seed": 0, "loss": 0.5, "bad": null}\n'


def row(step, seed=0, **more):
    return {"kind": "step", "seed": seed, "epoch": 1, "step": step, "wall_s": 0.5, **more}


def test_half_written_last_line(tmp_path):
    run = open_run(tmp_path, CONFIG, resume=False)
    run.append_metrics(row(1))
    for half in ('{"seed": 0, "st', '{"seed": 0, "name": "\u00e9"'):
        with open(tmp_path / "metrics.jsonl", "ab") as file:
            file.write(half.encode()[:-2])
        assert run.metrics() == [row(1)]
        run = open_run(tmp_path, CONFIG, resume=True)
        run.append_metrics(row(2))
        assert [each["step"] for each in run.metrics()] == [1, 2]
        run.rewind_metrics(0, step=1, rows=1)


def test_damaged_line(tmp_path):
    run = open_run(tmp_path, CONFIG, resume=False)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(RunError, match=r"metrics.jsonl:2 is damaged"):
        run.metrics()
    with pytest.raises(RunError, match=r"metrics.jsonl:2 is damaged"):
        open_run(tmp_path, CONFIG, resume=True)


def test_rewind(tmp_path):
    run = open_run(tmp_path, CONFIG, resume=False)
    for step in (1, 2, 3):
        for seed in (0, 1):
            run.append_metrics(row(step, seed))
    run.append_metrics(row(1, 1, kind="epoch"))  # of an epoch that the checkpoint is in
    run.rewind_metrics(1, epoch=1, step=1, rows=1)
    assert [(r["seed"], r["step"]) for r in run.metrics()] == [(0, 1), (1, 1), (0, 2), (0, 3)]
    run.order_metrics()
    assert [(r["seed"], r["step"]) for r in run.metrics()] == [(0, 1), (0, 2), (0, 3), (1, 1)]
    run.rewind_metrics(1)
    assert {r["seed"] for r in run.metrics()} == {0}


@pytest.mark.parametrize(
    "change", ["first line lost", "last line lost", "line twice", "other kind"]
)
def test_rows_that_were_lost_or_added_are_refused(tmp_path, change):
    """A sync tool or an editor may have changed the file while the run was stopped."""
    run = open_run(tmp_path, CONFIG, resume=False)
    for step in (1, 2, 3, 4):
        run.append_metrics(row(step))
    file = tmp_path / "metrics.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    changed = {
        "first line lost": lines[1:],
        "last line lost": lines[:2],
        "line twice": [lines[0], *lines],
        "other kind": [lines[0], lines[1].replace('"step": 2', '"step": "2"'), *lines[2:]],
    }[change]
    file.write_text("".join(changed))
    number = 4 if change == "line twice" else 2
    with pytest.raises(
        RunError,
        match=rf"jsonl must hold the 3 rows of seed 0 up to step 3 .*, got {number}: lines",
    ):
        run.rewind_metrics(0, epoch=1, step=3, rows=3)
    assert file.read_text() == "".join(changed)


def test_result(tmp_path):
    run = open_run(tmp_path, CONFIG, resume=False)
    with pytest.raises(RunError, match="no result yet; finish it with --resume"):
        run.result()
    path = run.write_result(result(cell="gru"))
    assert path == tmp_path / "result.json"
    assert list(json.loads(path.read_text())) == list(RESULT_KEYS)
    run = open_run(tmp_path, CONFIG, resume=True)
    assert run.finished
    assert run.result()["metrics"]["test_accuracy"]["per_seed"] == [0.8, 0.9]
    path.write_text("{")
    with pytest.raises(RunError, match=r"result\.json is damaged"):
        run.result()


def test_result_keys(tmp_path):
    run = open_run(tmp_path, CONFIG, resume=False)
    with pytest.raises(ValueError, match=r"missing \[\], unknown \['extra'\]"):
        run.write_result(result(extra=1))
    with pytest.raises(ValueError, match=r"metric 'mse'.*missing \['ci95', 'per_seed'\]"):
        run.write_result(result(metrics={"mse": {"mean": 1.0}}))
    assert not run.finished


def test_damaged_config(tmp_path):
    open_run(tmp_path, CONFIG, resume=False)
    (tmp_path / "config.json").write_text("[1")
    with pytest.raises(RunError, match=r"config.json is damaged"):
        open_run(tmp_path, CONFIG, resume=True)


def test_run_without_config(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(RunError, match=r"holds checkpoints but no config\.json"):
        open_run(tmp_path, CONFIG, resume=True)
    with pytest.raises(RunError, match="already holds a run"):
        open_run(tmp_path, CONFIG, resume=False)


def test_file_in_the_way(tmp_path):
    (tmp_path / "run").write_text("mine")
    for path in (tmp_path / "run", tmp_path / "run" / "deeper"):
        with pytest.raises(RunError, match=r"Cannot write to the run folder .*--workdir"):
            open_run(path, CONFIG, resume=False)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder that even root cannot write")
def test_not_writable():
    with pytest.raises(RunError, match=r"Cannot write to the run folder /proc/seqjax"):
        open_run("/proc/seqjax", CONFIG, resume=False)


def test_config_must_be_plain(tmp_path):
    with pytest.raises(TypeError, match=r"got PosixPath\. Convert it"):
        open_run(tmp_path / "x", {"path": tmp_path}, resume=False)
    assert not (tmp_path / "x").exists()


def test_data_that_changed_is_refused(tmp_path):
    run = open_run(tmp_path, CONFIG, resume=False)
    run.claim_data("a" * 64)
    run.claim_data("a" * 64)
    run = open_run(tmp_path, CONFIG, resume=True)
    with pytest.raises(RunError, match=r"was aaaaaaaaaaaa, is now bbbbbbbbbbbb\. Restore the data"):
        run.claim_data("b" * 64)
    (tmp_path / "data.json").write_text("no")
    with pytest.raises(RunError, match=r"data\.json is damaged"):
        run.claim_data("a" * 64)


def holds(path):
    """Whether this process keeps others out of a folder."""
    code = "import sys; from filelock import FileLock; FileLock(sys.argv[1], timeout=0).acquire()"
    done = subprocess.run([sys.executable, "-c", code, path / ".lock"], capture_output=True)
    return done.returncode != 0


def lock_deleted(path):
    (path / ".lock").unlink()


def lock_replaced(path):
    (path / ".lock").unlink()
    (path / ".lock").touch()


def folder_deleted(path):
    shutil.rmtree(path)


@pytest.mark.parametrize("lose", [lock_deleted, lock_replaced, folder_deleted])
def test_a_run_that_lost_its_lock_stops_before_it_writes(tmp_path, lose):
    path = tmp_path / "run"
    run = open_run(path, CONFIG, resume=False)
    run.append_metrics(row(1))
    lose(path)
    for write in (
        lambda: run.append_metrics(row(2)),
        run.keep_metrics,
        lambda: run.write_result(result()),
    ):
        with pytest.raises(RunError, match=r"\.lock was deleted or replaced, .* --resume\.$"):
            write()


HOLD = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_two_processes_on_one_folder(tmp_path):
    run = open_run(tmp_path, CONFIG, resume=False)
    open_run(tmp_path, CONFIG, resume=True)  # one process may open it twice
    assert holds(tmp_path)
    del run
    gc.collect()
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "held\n"  # so nothing in this process holds it any more
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RunError, match=r"Another process is running in .*; wait for it, stop it"):
        open_run(tmp_path, CONFIG, resume=True)
    assert sorted(tmp_path.iterdir()) == before
    other.communicate()
    assert not open_run(tmp_path, CONFIG, resume=True).finished
