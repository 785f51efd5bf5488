"""A user's own cell, that of the notebook, through the experiments, without a change to them."""

import dataclasses
import importlib
import json
import re
import sys
from pathlib import Path

import jax
import jupytext
import numpy as np
import programs
import pytest
from absl import flags

from experiments import (
    cells,
    classify,
    command_line,
    generate,
    gradient_flow,
    imdb,
    regression,
    tagging,
    transcribe,
    translate,
)
from experiments.batches import bucketed_batches
from experiments.gradient_flow import grid
from experiments.gradient_flow.measure import measure
from experiments.imdb.model import model_functions
from seqjax import data, train
from seqjax.cells import USER_CELLS

ROOT = Path(__file__).parents[2]
OWN = "my_cells:minimal"
BOTH = "bi:my_cells:minimal"
SMALL = {
    "dataset": "folder",
    "cell": BOTH,
    "seeds": 1,
    "epochs": 1,
    "batch_size": 16,
    "embedding_size": 6,
    "pair_size": 0,
    "hidden_size": 5,
    "segment_length": 10,
    "max_length": 40,
    "num_buckets": 1,
}
WRONG = """from typing import Any, NamedTuple
import seqjax
def three(hidden_size): return 3
def curious(hidden_size): return seqjax.gated_cell(
    "curious", hidden_size, gates=("a",), update=lambda state, a: state, state=Odd)
class Odd(NamedTuple): h: Any
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder: my_cells.py with the lines of the notebook, and modules that do not load."""
    folder = tmp_path_factory.mktemp("user")
    notebook = jupytext.read(ROOT / "notebooks" / "own_cell.md")
    (code,) = (c.source for c in notebook.cells if "own-cell" in c.metadata.get("tags", []))
    imports = "import jax\nimport jax.numpy as jnp\n\nimport seqjax\n\n\n"
    (folder / "my_cells.py").write_text(imports + code + "\n", "utf-8")
    (folder / "wrong.py").write_text(WRONG, "utf-8")
    (folder / "breaks.py").write_text("\nx = 1 / 0\n", "utf-8")
    (folder / "needs.py").write_text("import absent_package\n", "utf-8")
    (folder / "no_python.py").write_text("def cell(:\n", "utf-8")
    (folder / "stranger.py").write_text("open('it_ran', 'w').close()\n", "utf-8")
    return folder


@pytest.fixture
def modules(folder, monkeypatch):
    """Lets modules of the folder be imported, and forgets them and their cells afterwards."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    known, loaded = dict(USER_CELLS), set(sys.modules)
    yield folder
    USER_CELLS.clear()
    USER_CELLS.update(known)
    for name in set(sys.modules) - loaded:
        if getattr(sys.modules[name], "__file__", None) == str(folder / f"{name}.py"):
            del sys.modules[name]


@pytest.fixture
def loaded(modules):
    cells.load(OWN)
    return modules


@pytest.fixture(scope="module")
def finished(folder):
    """A run from the command line: `python -m experiments.imdb --cell=bi:my_cells:minimal`."""
    data.write_reviews(data.generate_reviews(num_train=80, num_test=20), folder / "reviews")
    settings = {**SMALL, "data_dir": folder / "reviews"}
    flags = [f"--{name}={value}" for name, value in settings.items()]
    flags += ["--workdir=run", "--cache_dir=cache"]
    status, _, err = programs.run("imdb", *flags, cwd=folder, said=folder / "said_run")
    assert status == 0, err
    return imdb.Config(**{**settings, "cell": "bigru", "data_dir": str(folder / "reviews")})


def test_a_run_from_the_command_line(finished, loaded):
    run = loaded / "run"
    result = json.loads((run / "result.json").read_text())
    assert result["cell"] == json.loads((run / "config.json").read_text())["cell"] == BOTH
    # Embedding, two directions with two gates each, read-out of mean and maximum.
    words = len(data.Vocabulary.load(run / "vocabulary.json"))
    assert result["num_params"] == 6 * words + 2 * 2 * 5 * (6 + 5 + 1) + 20 + 1
    assert f"--cell={BOTH}" in (run / "summary.md").read_text()
    assert (run / "code" / "my_cells.py").read_text() == (loaded / "my_cells.py").read_text()
    config = dataclasses.replace(finished, cell=BOTH)
    written = config.command("imdb")
    assert written.startswith(f"python -m experiments.imdb --cell={BOTH} ")
    assert "--dataset=folder" in written
    lines = []
    again = imdb.run(config, workdir=run, resume=True, notify=lines.append)
    assert again.result == result
    assert "finished already" in lines[0]
    assert 0 < imdb.predict(run, "The plot was good.") < 1


def test_a_run_is_not_taken_up_with_other_code(finished, loaded, monkeypatch):
    module = loaded / "changed" / "my_cells.py"
    module.parent.mkdir()
    module.write_text((loaded / "my_cells.py").read_text() + "# changed\n")
    monkeypatch.setattr(sys.modules["my_cells"], "__file__", str(module))
    with pytest.raises(train.RunError, match=r"is not what it was when the run in .*run began"):
        imdb.predict(loaded / "run", "The plot was good.")
    (loaded / "run" / "result.json").rename(loaded / "run" / "away.json")
    try:
        config = dataclasses.replace(finished, cell=BOTH)
        with pytest.raises(train.RunError, match="Put it back, or choose another --workdir"):
            imdb.run(
                config,
                workdir=loaded / "run",
                resume=True,
                cache_dir=str(loaded / "cache"),
                notify=len,
            )
    finally:
        (loaded / "run" / "away.json").rename(loaded / "run" / "result.json")


@pytest.mark.parametrize("prefix", ["", "bi:"])
def test_a_strangers_run_folder_loads_nothing(prefix, finished, modules, tmp_path):
    """What a run folder names is not imported, not even where it could be."""
    for name in ("result.json", "config.json"):
        text = (modules / "run" / name).read_text()
        (tmp_path / name).write_text(text.replace(BOTH, f"{prefix}stranger:cell"))
    with pytest.raises(command_line.ConfigError, match="only where the command line itself names"):
        imdb.predict(tmp_path, "The plot was good.")
    assert "stranger" not in sys.modules
    assert not (modules / "it_ran").exists()
    # A cell that the command line does name opens no door for another.
    cells.load(OWN)
    with pytest.raises(command_line.ConfigError, match="only where the command line itself names"):
        imdb.predict(tmp_path, "The plot was good.")
    assert not (modules / "it_ran").exists()


def test_a_mistake_is_one_line_and_status_2(folder):
    line = programs.refusal("imdb", "--cell=breaks:cell", cwd=folder, said=folder / "said_breaks")
    assert "--cell=breaks:cell: breaks cannot be imported: ZeroDivisionError" in line
    assert "breaks.py:2)" in line


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("absent:cell", "there is no module 'absent'"),
        ("needs:cell", "needs cannot be imported: ModuleNotFoundError: .*absent_package"),
        ("no_python:cell", "no_python cannot be imported: SyntaxError"),
        ("my_cells:maximal", "my_cells has no 'maximal'"),
        ("my_cells:jax", "`constructor` must be a function"),
        ("bi:wrong:three", "must return a seqjax.cells.Cell, got int"),
        (":cell", "must be written module:function, .* got ':cell'"),
        ("bi:my_cells.py:minimal", "not a file: write --cell=my_cells:minimal, got"),
        ("my_cells:", "must be written module:function"),
        ("my cells:minimal", "must be written module:function"),
        ("..my_cells:minimal", "cannot be imported: TypeError"),
    ],
)
def test_mistakes(cell, message, modules):
    with pytest.raises(command_line.ConfigError, match=message):
        cells.load(cell)


@pytest.mark.parametrize(
    "make",
    [
        classify.configure,
        generate.configure,
        imdb.configure,
        regression.configure,
        tagging.configure,
        transcribe.configure,
        translate.configure,
    ],
    ids=lambda make: make.__module__.split(".")[1],
)
def test_every_experiment_takes_it(make, loaded):
    assert make(cell=OWN).cell == OWN
    for unknown in ("transformer", "my_cells:other"):
        with pytest.raises(command_line.ConfigError, match=f"--cell must be one of .*{unknown}"):
            make(cell=unknown)


def test_one_direction_stays_one(loaded):
    with pytest.raises(command_line.ConfigError, match="must run in one direction: my_cells"):
        generate.configure(cell=BOTH)
    with pytest.raises(command_line.ConfigError, match="use --cell=my_cells:minimal, or"):
        regression.configure(task="narma10", cell=BOTH)
    with pytest.raises(command_line.ConfigError, match="use --cell=bi:my_cells:minimal, or"):
        classify.Config(pooling="middle", cell=OWN)
    assert classify.configure(task="splice", cell=BOTH).pooling == "middle"
    assert not regression.configure(task="adding", cell=OWN).max_timescale  # it takes no such thing
    assert regression.configure(task="adding", cell="gru").max_timescale
    assert command_line.default_workdir("imdb", imdb.Config(cell=BOTH)).name.startswith(
        "bi.my_cells.minimal-"
    )


@pytest.mark.parametrize("cell", [OWN, BOTH])
def test_padding_reaches_no_answer(cell, loaded):
    config = imdb.Config(**{**SMALL, "cell": cell, "segment_length": 0})
    functions = model_functions(config, vocab_size=20)
    (batch,) = bucketed_batches([np.array([3, 4, 5]), np.array([6])], [1, 0], 2, [8], rng=None)
    params = functions.init(jax.random.key(0))
    answers = jax.jit(functions.apply)(params, batch)
    columns = np.arange(batch.tokens.shape[1])
    garbage = np.where(columns < batch.lengths[:, None], batch.tokens, 7)
    assert (garbage != batch.tokens).any()
    others = jax.jit(functions.apply)(params, batch._replace(tokens=garbage))
    np.testing.assert_array_equal(answers, others)


@pytest.mark.extended
def test_its_gradient_flow_is_measured(loaded):
    config = gradient_flow.Config(
        cells=f"rnn,{OWN}", inits="radius_1,default", lengths="6", hidden_size=4, batch_size=3,
        seeds=2, tasks="",
    )  # fmt: skip
    assert [point.label for point in config.points] == ["rnn/radius_1", f"{OWN}/default"]
    assert config.trained_tasks == []
    (found,) = measure(config, config.points[1:]).values()
    norms = found["6/norm_hidden"]
    assert norms.shape == (2, 6, 3)
    np.testing.assert_allclose(norms[:, -1], 1, rtol=1e-5)  # the loss is a unit vector times h_T
    assert (norms[:, 0] < norms[:, -1]).all()
    assert (found["time_scale"] > 0).all()
    assert not any(name.startswith("histogram") for name in found)  # what squashes is not known
    assert grid.applies(OWN, "default")
    assert not grid.applies(OWN, "chrono")


def test_gradient_flow_refuses(modules):
    with pytest.raises(command_line.ConfigError, match="only where the command line itself names"):
        gradient_flow.Config(cells=f"rnn,{OWN}")
    cells.load(f"rnn,{OWN},wrong:curious")
    with pytest.raises(command_line.ConfigError, match="whose first field is hidden, got Odd"):
        gradient_flow.Config(cells="wrong:curious")
    with pytest.raises(command_line.ConfigError, match="my_cells:minimal has none"):
        gradient_flow.Config(cells=OWN, inits="radius_1")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("LSTM", "got 'LSTM'. Did you mean 'lstm'?"),
        ("bi-gru", "got 'bi-gru'. Did you mean 'bigru'?"),
        ("my_cells.py", "write --cell=my_cells:function."),
    ],
)
def test_the_cell_that_is_meant_is_suggested(cell, message):
    with pytest.raises(command_line.ConfigError, match=re.escape(message)):
        imdb.configure(cell=cell)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lr", "there is no option --lr. Did you mean --learning_rate?"),
        ("batch", "there is no option --batch. Did you mean --batch_size?"),
        ("hiden_size", "there is no option --hiden_size. Did you mean --hidden_size?"),
        ("xyz", "there is no option --xyz. --help lists them all."),
    ],
)
def test_the_option_that_is_meant_is_suggested(name, message, monkeypatch, capsys):
    known = flags.FlagValues()
    for setting in dataclasses.fields(imdb.Config):
        flags.DEFINE_string(setting.name, None, "", flag_values=known)
    monkeypatch.setattr(command_line, "FLAGS", known)
    monkeypatch.setattr(command_line.app, "define_help_flags", lambda: None)
    with pytest.raises(SystemExit):
        command_line._parse(["program", f"--{name}=3"])
    assert capsys.readouterr().err == f"error: {message}\n"
