"""What is asked of a run folder that may be a stranger's."""

import types

import jax
import jax.numpy as jnp
import pytest

from experiments.cells import load
from experiments.command_line import ConfigError
from experiments.finished import Finished
from experiments.functions import Functions
from seqjax import train


def test_a_small_checkpoint_is_not_unpacked_to_gigabytes(tmp_path):
    folder = train.open_run(tmp_path, {"seed": 0}, resume=False)
    checkpoints = folder.checkpoints(0)
    checkpoints.mkdir(parents=True)
    (checkpoints / "packed").write_bytes(b"0" * 100_000)
    run = Finished(types.SimpleNamespace(seed=0, seeds=1), folder)

    def init(key: jax.Array) -> dict[str, jax.Array]:
        return {"kernel": jnp.zeros((2**20, 2**20))}  # 4 TiB, which are never made

    functions = Functions(init=init, apply=lambda *_: None, summary="", num_params=0)
    with pytest.raises(train.RunError, match=r"must fill 4,398,046,511,104 bytes .* has 100,000"):
        next(run.params(functions))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys\ndef cell(n): sys.exit(7)", r"must return a cell, and ends the program .* 7"),
        ("import sys\nsys.exit(7)", r"cannot be imported: SystemExit: 7"),
    ],
)
def test_a_cell_that_ends_the_program_is_one_line(code, message, tmp_path, monkeypatch):
    name = f"ends_{abs(hash(code))}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=message):
        load(f"{name}:cell")
