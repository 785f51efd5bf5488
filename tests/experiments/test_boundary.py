"""What the system refuses, and sizes that cannot be, are one line and exit status 2."""

import dataclasses
import errno
import importlib
import os
import re

import jax
import numpy as np
import pytest

from experiments import classify, command_line, gradient_flow, regression
from experiments.classify.predict import read_asked
from experiments.command_line import ConfigError
from experiments.memory import refuse_too_large
from experiments.settings import Settings
from seqjax import train

NAMES = (
    "classify", "generate", "gradient_flow", "imdb", "regression", "tagging", "transcribe",
    "translate",
)  # fmt: skip


def raises(error):
    def body():
        raise error

    return body


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (lambda: os.stat("x" * 300), "error: x.*x: File name too long."),
        (lambda: os.rename("none", "nowhere"), "error: none to nowhere: No such file or directory"),
        (lambda: os.truncate("/", 0), "error: /: Is a directory."),
        (raises(PermissionError(errno.EACCES, "Permission denied", "/x")), "/x: Permission denied"),
        (raises(OSError(errno.ENOSPC, "No space left on device")), "the system: No space left on"),
        (raises(MemoryError("Unable to allocate 8 GiB.")), "not enough memory: Unable to allocate"),
        (
            raises(jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory.")),
            "not enough memory: RESOURCE_EXHAUSTED: Out of memory.",
        ),
        (lambda: train.open_run("~nosuchuser/x", {}, resume=False), "~nosuch"),
        (raises(RuntimeError("Could not determine home directory.")), "no such user, or no home"),
    ],
)  # fmt: skip
def test_the_system_refuses_in_one_line(body, said, capsys):
    with pytest.raises(SystemExit) as end:
        command_line._run(body)
    assert end.value.code == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1
    assert re.search(said, shown)


def test_other_errors_are_faults_of_ours():
    with pytest.raises(RuntimeError, match="a fault"):
        command_line._run(raises(RuntimeError("a fault")))


def test_the_home_is_put_for_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert train.open_run("~/run", {}, resume=False).path == tmp_path / "run"
    assert not (tmp_path / "~").exists()


def test_a_text_longer_than_a_name_is_no_file():
    inputs = type("Inputs", (), {"kind": "words", "rate": None})()
    assert read_asked(classify.configure(), inputs, "a text " * 100) == ["a text " * 100]


def test_a_kill_before_the_result_leaves_a_run_that_is_finished_later(tmp_path, monkeypatch):
    given = {"task": "sine", "seeds": 1, "epochs": 1, "train_size": 64, "hidden_size": 3}
    config = regression.configure(**given)

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("experiments.study.write_summary", killed)
    with pytest.raises(KeyboardInterrupt):
        regression.run(config, workdir=tmp_path, notify=lambda line: None)
    assert not (tmp_path / "result.json").exists()
    monkeypatch.undo()
    found = regression.run(config, workdir=tmp_path, resume=True, notify=lambda line: None)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert max(files, key=lambda path: path.stat().st_mtime_ns) == tmp_path / "result.json"
    assert {"summary.md", "training.png", "predictions.png"} <= {path.name for path in files}
    assert found.result["seeds"] == 1


@pytest.mark.parametrize("name", NAMES)
def test_numbers_must_be_finite_and_seeds_have_keys_of_their_own(name):
    config_type = importlib.import_module(f"experiments.{name}").Config
    for field in dataclasses.fields(config_type):
        if float in (command_line.field_type(config_type, field.name),):
            for value in (float("inf"), float("nan")):
                with pytest.raises(ConfigError, match=rf"--{field.name} must"):
                    config_type(**{field.name: value})
    # The key of 2**32 is that of 0.
    for field in ("seed", "seeds"):
        with pytest.raises(ConfigError, match=rf"--{field} must lie in \[0, 2147483648\), got"):
            config_type(**{field: 2**31})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hidden_size": 10**6}, r"--hidden_size=1000000, with 3,000,\S+ parameters, would take"),
        (
            {"batch_size": 10**12},
            "--batch_size=1000000000000 with --hidden_size=64 would take 238,4",
        ),
        ({"lookback": 10**9}, "--batch_size=64 with --lookback=1000000000 would take 238.4 GiB"),
        ({"train_size": 10**11}, "100000000000 sequences of --lookback=64 would take 47,683.7 GiB"),
    ],
)
def test_sizes_that_cannot_be(tmp_path, settings, said):
    config = regression.configure(**{"task": "sine", "seeds": 1, "train_size": 64, **settings})
    with pytest.raises(ConfigError, match=said + ".* of memory, and there are .* Choose a smaller"):
        regression.run(config, workdir=tmp_path / "run", notify=lambda line: None)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["hidden_size", "batch_size", "train_batch_size", "test_size"])
def test_sizes_of_gradient_flow_that_cannot_be(tmp_path, name):
    config = gradient_flow.Config(**{name: 10**10})
    with pytest.raises(ConfigError, match=rf"--{name}=10000000000 .*would take .* GiB of memory"):
        gradient_flow.run(config, workdir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_memory_of_a_container(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr("experiments.memory._LIMIT", limit)
    for text in ("1048576\n", "max\n"):
        limit.write_text(text)
        if text == "max\n":
            refuse_too_large("--x=1", 2**21)
        else:
            with pytest.raises(ConfigError, match=r"--x=1 would take 0\.0 GiB"):
                refuse_too_large("--x=1", 2**21)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "gradient_flow"])
def test_a_default_alone_keeps_help_and_bounds(name):
    config_type = importlib.import_module(f"experiments.{name}").Config
    fields = {field.name: field for field in dataclasses.fields(config_type)}
    for shared in dataclasses.fields(Settings):
        metadata = fields[shared.name].metadata
        assert metadata["help"]
        for bound in ("minimum", "below", "choices"):
            assert metadata[bound] == shared.metadata[bound]
    with pytest.raises(ConfigError, match=r"--ema_decay must lie in \[0, 1\), got 1.5"):
        config_type(ema_decay=1.5)


SETTINGS = {"rate": 0.1, "cell": "gru", "sizes": (4, 5), "model": {"size": np.int64(3)}}


def test_hash_and_default():
    assert command_line.config_hash(SETTINGS) == command_line.config_hash(
        {**SETTINGS, "sizes": [4, 5]}
    )
    assert command_line.config_hash(SETTINGS) != command_line.config_hash({**SETTINGS, "rate": 0.2})
    path = command_line.named_workdir("imdb", "gru", SETTINGS)
    assert path.as_posix() == f"runs/imdb/gru-{command_line.config_hash(SETTINGS)}"
