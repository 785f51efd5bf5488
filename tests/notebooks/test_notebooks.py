"""The notebooks: each of a pair says what the other says, no output is stored, and all run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
NAMES = ("quickstart", "own_cell", "gradient_flow", "keras_users_guide", "tpu")
every = pytest.mark.parametrize("name", NAMES)

# What must hold after a notebook has run, in its own names.
AFTERWARDS = {
    "quickstart": """
assert np.mean(curves["gru"][-20:]) < 1 / 6 / 4
""",
    "own_cell": """
assert run.result["cell"] == "biminimal"
assert run.result["metrics"]["test_accuracy_network"]["mean"] > 0.9
assert max(run.result["floors"].values()) < 0.65
assert float(flows["patient"].log_slope.mean()) > float(flows["minimal"].log_slope.mean())
""",
    "keras_users_guide": """
assert seqjax.nn.num_params(ours) == 64_000 + 98_816 + 1_290
assert np.mean(losses[-8:]) < y.var()
for run in (swinging, reviews):
    assert run.result["metrics"]["test_accuracy"]["mean"] > 0.9
    assert max(run.result["floors"].values()) < 0.65
""",
    # The step of training is one program for eight TPU cores, the batch split over them, its state
    # given away, its recurrent products in bfloat16, and nothing of it needs the host.
    "tpu": """
assert exported.platforms == ("tpu",) and exported.nr_devices == 8
assert exported.mlir_module().count("jax.buffer_donor") + program.count("tf.aliasing_output") >= (
    len(jax.tree.leaves(state))
)
assert batch.inputs.sharding.shard_shape(batch.inputs.shape)[0] == batch_size // 8
*of_state, _, _, _, _ = exported.in_shardings_jax(mesh)
assert all(sharding.is_fully_replicated for sharding in of_state)
split = exported.in_shardings_jax(mesh)[-4]
assert split.shard_shape(batch.inputs.shape)[0] == batch_size // 8
assert sum("xbf16>" in line for line in products) >= 2
assert "custom_call" not in program.replace("custom_call @Sharding", "")
assert len(set(made_for)) == 2 and len(made_for) <= 3  # the last by the export
assert np.mean(losses[-10:]) < np.mean(losses[:10])
""",
}


def read(name, suffix):
    return jupytext.read(FOLDER / f"{name}{suffix}")


def contents(notebook):
    return [
        (cell.cell_type, cell.source.strip(), cell.metadata.get("tags", []))
        for cell in notebook.cells
    ]


def test_every_notebook_is_known():
    for suffix in (".md", ".ipynb"):
        assert sorted(path.stem for path in FOLDER.glob(f"*{suffix}")) == sorted(NAMES)


@every
def test_a_pair_says_the_same(name):
    assert contents(read(name, ".md")) == contents(read(name, ".ipynb"))


@every
def test_no_output_is_stored(name):
    notebook = read(name, ".ipynb")
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert not any(cell.outputs or cell.execution_count for cell in code)


@every
def test_begins_for_a_reader_in_colab(name):
    title, install, settings = read(name, ".md").cells[:3]
    link = (
        f"https://colab.research.google.com/github/{repository()}/blob/main/notebooks/{name}.ipynb"
    )
    assert link in title.source
    assert 'if "google.colab" in sys.modules:' in install.source
    assert f'https://github.com/{repository()}"' in install.source
    assert settings.source.startswith("SMALL = True  # ")


def repository():
    """The repository that pyproject.toml names."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    return re.search(r'^Repository = "https://github\.com/([^/"]+/[^/"]+)"$', text, re.M)[1]


# The documentation runs all of them when it is built.
@pytest.mark.extended
@every
def test_runs_from_top_to_bottom(name, tmp_path):
    code = [cell.source for cell in read(name, ".ipynb").cells if cell.cell_type == "code"]
    script = tmp_path / f"{name}.py"
    script.write_text("\n\n".join([*code, AFTERWARDS.get(name, "")]), "utf-8")
    # The devices are the notebook's own affair; the quickest compilation is that of all tests.
    flags = re.sub(r"--xla_force_host_platform_device_count=\d+", "", os.environ["XLA_FLAGS"])
    # Eight devices on a core or two: on a busy machine they may wait long for each other.
    flags += " --xla_cpu_collective_call_terminate_timeout_seconds=600"
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "XLA_FLAGS": flags,
            "NPROC": "16",
            "MPLBACKEND": "agg",
        },
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
