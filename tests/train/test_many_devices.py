"""Eight devices in one process, and two processes: the numbers of one device, and no hang."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import several

from seqjax import train

ROOT = Path(several.__file__).parents[2]
EXCHANGES = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter"


class Stopped(Exception):
    """Stands for whatever may stop a run."""


def start(arguments, num_devices, folder):
    """Starts Python where JAX has not started."""
    flags = re.sub(r"--xla_force_host_platform_device_count=\d+", "", os.environ["XLA_FLAGS"])
    env = {**os.environ, "XLA_FLAGS": flags, "JAX_NUM_CPU_DEVICES": str(num_devices)}
    env = {**env, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "NPROC": "8"}
    with open(folder / "stdout", "w") as out, open(folder / "stderr", "w") as err:
        return subprocess.Popen(
            [sys.executable, *arguments], env=env, cwd=ROOT, stdout=out, stderr=err
        )


def start_two(arguments, num_devices, tmp_path):
    """Starts two processes on a free port; returns status and standard error of each."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    pairs = []
    for process in range(2):
        folder = tmp_path / f"of_{process}"
        folder.mkdir()
        pairs.append((start(arguments(port, process), num_devices, folder), folder))
    return [(each.wait(600), (folder / "stderr").read_text()) for each, folder in pairs]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The run of one device."""
    return several.flat(several.run(tmp_path_factory.mktemp("one"), several.make(batch_size=1)))


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    """The run of one device with a cell that time can be split for."""
    step = several.make(batch_size=1, cell="min_gru")
    return several.flat(several.run(tmp_path_factory.mktemp("linear"), step, cell="min_gru"))


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """The folder of a run on two devices that was stopped."""

    def batches(epoch):
        for i, batch in enumerate(several.batches(epoch)):
            if epoch == 2 and i == 1:
                raise Stopped
            yield batch

    folder = tmp_path_factory.mktemp("cut")
    with pytest.raises(Stopped):
        several.run(folder, several.make(), train_batches=batches)
    return folder


@pytest.fixture(scope="module")
def eight(tmp_path_factory, cut):
    """What a process with eight devices came to, and its folder."""
    folder = tmp_path_factory.mktemp("eight")
    shutil.copytree(cut, folder / "cut_for_8")
    done = start([several.__file__, str(folder)], 8, folder)
    assert done.wait(600) == 0, (folder / "stderr").read_text()
    return np.load(folder / "eight.npz"), folder


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What each of two processes with two devices came to, and their folder."""
    folder = tmp_path_factory.mktemp("two")
    done = start_two(
        lambda port, process: [several.__file__, str(folder), port, str(process)], 2, folder
    )
    assert [status for status, _ in done] == [0, 0], done
    return [np.load(folder / f"process_{i}.npz") for i in range(2)], folder


@pytest.mark.extended
@pytest.mark.parametrize("shape", ["batch", "4x2"])
def test_eight_devices_give_the_numbers_of_one(one, eight, shape):
    np.testing.assert_allclose(eight[0][shape], one, rtol=1e-6, atol=1e-6)


@pytest.mark.extended
@pytest.mark.parametrize("shape", ["batch", "2x2"])
@pytest.mark.parametrize("process", [0, 1])
def test_two_processes_give_the_numbers_of_one(one, two, shape, process):
    np.testing.assert_allclose(two[0][process][shape], one, rtol=1e-6, atol=1e-6)


@pytest.mark.extended
@pytest.mark.parametrize("shape", ["time8", "2xtime4"])
def test_time_over_eight_devices_gives_the_numbers_of_one(linear, eight, shape):
    """The 9 steps of a sequence are no multiple of the devices."""
    np.testing.assert_allclose(eight[0][shape], linear, rtol=1e-6, atol=1e-6)


@pytest.mark.extended
@pytest.mark.parametrize("shape", ["time4", "2xtime2"])
@pytest.mark.parametrize("process", [0, 1])
def test_time_over_two_processes_gives_the_numbers_of_one(linear, two, shape, process):
    np.testing.assert_allclose(two[0][process][shape], linear, rtol=1e-6, atol=1e-6)


@pytest.mark.extended
def test_newton_over_time_gives_the_numbers_of_one(one, eight, two):
    """On 2 x 4 devices, and on 2 x 2 of two processes."""
    for found in (eight[0], *two[0]):
        np.testing.assert_allclose(found["newton"], one, rtol=2e-5, atol=2e-5)


@pytest.mark.extended
def test_resumed_on_another_number_of_devices(tmp_path, one, cut, eight):
    """Saved on two devices; resumed on one, and on eight along two axes."""
    shutil.copytree(cut, tmp_path / "cut")
    found = several.flat(several.run(tmp_path / "cut", several.make(batch_size=1), resume=True))
    np.testing.assert_allclose(found, one, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(eight[0]["resumed"], one, rtol=1e-6, atol=1e-6)


@pytest.mark.extended
def test_sigterm_to_one_process_stops_both_at_one_step(one, two):
    said = [str(each["stopped"]) for each in two[0]]
    assert said[0] == said[1]
    assert re.match(r"Stopped by a signal after step \d+ of seed 0, which is saved", said[0])
    found = several.flat(several.run(two[1] / "stopped", several.make(batch_size=1), resume=True))
    np.testing.assert_allclose(found, one, rtol=1e-6, atol=1e-6)


@pytest.mark.extended
def test_a_refusal_reaches_every_process(two):
    first, second = ([str(line) for line in each["refused"]] for each in two[0])
    assert [line.partition(":")[0] for line in first] == ["RunError", "RunError", "PeerError"]
    assert [line.partition(":")[0] for line in second] == ["PeerError", "PeerError", "RunError"]
    assert "has other settings: cell was gru, is now lstm" in first[0]
    assert "Process 0: " in second[0]
    assert "already holds a run" in second[1]
    assert "Process 1: The first process has other settings" in first[2]


@pytest.mark.extended
def test_only_the_first_process_writes(two):
    """One row a row, and no file that the run of one process does not have."""
    folder = two[1] / "two_batch"
    kinds = [row["kind"] for row in train.open_run(folder, several.CONFIG, resume=True).metrics()]
    assert kinds.count("epoch") == several.EPOCHS
    assert kinds.count("step") == several.EPOCHS * several.STEPS // 3
    events = list((folder / "tensorboard").rglob("*tfevents*"))
    assert len(events) == 1


def exchanges(text):
    """Returns what devices exchange inside loops, and outside."""
    inside, outside = [], []
    for part in re.split(r"\n(?=%|ENTRY )", text):
        found = re.findall(rf" ({EXCHANGES})(?:-start)?\(", part)
        (outside if part.startswith("ENTRY ") else inside).extend(found)
    return inside, outside


@pytest.mark.extended
def test_what_a_step_exchanges(eight):
    """Along the batch one sum of all gradients; along hidden once a product.

    The 9 steps are one chunk, so the forward pass is no loop.
    """
    inside, outside = exchanges((eight[1] / "batch.txt").read_text())
    assert (inside, outside) == ([], ["all-reduce"])
    inside, outside = exchanges((eight[1] / "4x2.txt").read_text())
    assert inside == ["all-reduce"]  # of the state's gradient
    assert outside.count("all-gather") == 9 + 1  # a step in time each, and the input of the chunk
    assert set(outside) == {"all-gather", "all-reduce"}
    assert outside.count("all-reduce") == 2  # of gradients, and of their norm


@pytest.mark.extended
@pytest.mark.parametrize(("shape", "examples", "parts"), [("time8", 8, 8), ("2xtime4", 4, 4)])
def test_what_a_step_exchanges_along_time(eight, shape, examples, parts):
    """Decay and state at the ends of the parts, there and back; no loop waits for another."""
    text = (eight[1] / f"{shape}.txt").read_text()
    inside, outside = exchanges(text)
    assert inside == []
    assert outside.count("all-gather") == 4
    assert outside.count("collective-permute") == 1
    assert set(outside) == {"all-gather", "collective-permute", "all-reduce"}
    gathered = re.findall(r" = f32\[([\d,]+)\]\S* all-gather(?:-start)?\(", text)
    assert gathered == [f"{parts},{examples},8"] * 4


@pytest.mark.extended
def test_kernels_and_their_moments_are_split(eight):
    assert (eight[1] / "batch_kernel.txt").read_text() == "(8, 24)"
    assert (eight[1] / "4x2_kernel.txt").read_text() == "(8, 12)"


@pytest.mark.extended
def test_a_refused_program_ends_with_one_line(tmp_path):
    """By the command line; the other process neither waits nor repeats it."""
    train.open_run(tmp_path / "run", several.CONFIG, resume=False).append_metrics({"seed": 0})

    def arguments(port, process):
        return [
            *("-m", "experiments.classify", f"--workdir={tmp_path / 'run'}"),
            *(f"--coordinator=localhost:{port}", "--num_processes=2", f"--process_id={process}"),
        ]

    (status, first), (other_status, second) = start_two(arguments, 1, tmp_path)
    assert (status, other_status) == (2, 2)
    assert len(re.findall(r"^error: .* already holds a run; continue it", first, re.M)) == 1
    assert "error:" not in second


@pytest.mark.parametrize(
    ("shape", "batch_size", "message"),
    [
        ("2by4", 8, "or time4 or 2xtime4, which split time; got '2by4'"),
        ("time3", 8, "--mesh=time3 needs 3 devices and a batch that is a multiple of 1"),
        ("3x1", 8, "needs 3 devices and a batch that is a multiple of 3"),
        ("2x1", 7, "the batch is 7"),
    ],
)
def test_mesh_refuses(shape, batch_size, message):
    assert jax.device_count() == 2  # tests/conftest.py
    with pytest.raises(train.RunError, match=message):
        several.make(shape, batch_size)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((None, 2, 0), "need --coordinator"),
        (("here", 2, 0), "must be host:port"),
        (("here:1", None, 0), "with --num_processes and --process_id"),
        (("here:1", 2, 2), "must be from 0 to 1"),
    ],
)
def test_joining_refuses(flags, message):
    with pytest.raises(train.RunError, match=message):
        train.join_processes(*flags)


@pytest.mark.parametrize("listens", [True, False])
def test_a_coordinator_that_does_not_answer_is_one_line(listens, monkeypatch):
    monkeypatch.setattr("seqjax.train._processes._ANSWER_S", 0.5)
    with socket.socket() as silent:
        silent.bind(("localhost", 0))
        if listens:
            silent.listen()
        address = f"localhost:{silent.getsockname()[1]}"
        with pytest.raises(
            train.RunError, match=rf"{address} does not answer \(.*\); waited 0.5 s"
        ):
            train.join_processes(address, 2, 1)
