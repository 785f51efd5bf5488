"""`import seqjax` needs jax, flax and numpy only, starts no device and defines no flag."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]


def run_python(program: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_import_needs_no_extra():
    """Flax itself loads Optax and absl, so both are forgotten again before seqjax is imported."""
    program = """
import sys
import flax.nnx

EXTRAS = {"optax", "orbax", "tensorflow_datasets", "tensorflow", "tokenizers", "matplotlib",
          "tqdm", "tensorboardX", "absl", "grain", "rich"}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in EXTRAS:
            raise ImportError(f"seqjax must not import {name}")

for name in list(sys.modules):
    if name.split(".")[0] in EXTRAS:
        del sys.modules[name]
sys.meta_path.insert(0, Refuse())

import seqjax
print(seqjax.lstm(3), seqjax.nn.RNN.__name__)
try:
    import optax
except ImportError:
    print("refused")
"""
    assert run_python(program).split() == ["lstm(3)", "RNN", "refused"]


def test_import_starts_no_backend_and_defines_no_flag():
    """A device taken at import would be taken from the program that only asks for `--help`."""
    program = """
import flax.nnx
from absl import flags
from jax._src import xla_bridge

before = set(flags.FLAGS)
import seqjax
assert set(flags.FLAGS) == before, set(flags.FLAGS) - before
started = getattr(xla_bridge, "backends_are_initialized", None)
print(started() if started else bool(xla_bridge._backends))
import jax
jax.devices()
print(started() if started else bool(xla_bridge._backends))
"""
    assert run_python(program).split() == ["False", "True"]


def test_public_names():
    """The names that the documentation promises at the top of the package."""
    import seqjax

    names = "cells nn unroll chrono elman gated_cell gru linear_cell lstm make_cell min_gru"
    assert [name for name in names.split() if not hasattr(seqjax, name)] == []
    assert callable(seqjax.unroll)
