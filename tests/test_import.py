"""`import seqjax` needs jax and numpy only, starts no device and defines no flag."""

import pathlib
import subprocess
import sys

import pytest

import seqjax

ROOT = pathlib.Path(__file__).parents[1]


def run_python(program: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_import_loads_no_more_than_jax():
    program = """
import sys
import jax
before = {name.split(".")[0] for name in sys.modules}
import seqjax
print(sorted({name.split(".")[0] for name in sys.modules} - before - set(sys.stdlib_module_names)))
print(sorted(name for name in sys.modules if name.count(".") == 1 and name.startswith("seqjax.")))
"""
    others, own = run_python(program).splitlines()
    assert others == "['seqjax']"
    core = ["_axes", "_checks", "_padding", "_unroll", "cells", "executors"]
    assert own == str([f"seqjax.{name}" for name in core])


def test_every_package_is_an_attribute():
    """In a fresh process, in which nothing else has imported it."""
    program = """
import pkgutil, seqjax
print(seqjax.train.fit.__name__)
found = {each.name for each in pkgutil.iter_modules(seqjax.__path__) if each.name[0] != "_"}
assert found <= set(dir(seqjax)), found - set(dir(seqjax))
print([name for name in sorted(found) if getattr(seqjax, name).__name__ != f"seqjax.{name}"])
"""
    assert run_python(program) == "fit\n[]\n"


@pytest.mark.extended
def test_no_module_minds_a_user_s_own_experiments(tmp_path):
    """The package `experiments` of the repository is not installed, so a user may have one."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").write_text("raise RuntimeError")
    program = f"""
import importlib, pkgutil, sys
sys.path.insert(0, {str(tmp_path)!r})
import seqjax
names = [each.name for each in pkgutil.walk_packages(seqjax.__path__, "seqjax.")]
for name in names:
    importlib.import_module(name)
print(len(names) > 100, "experiments" in sys.modules)
"""
    assert run_python(program) == "True False\n"


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="module 'seqjax' has no attribute 'lstms'"):
        getattr(seqjax, "lstms")  # noqa: B009
    assert not hasattr(seqjax, "_private")


def test_neither_library_nor_modules_need_an_extra():
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
    names = "cells nn unroll chrono elman gated_cell gru linear_cell lstm make_cell min_gru"
    assert [name for name in names.split() if not hasattr(seqjax, name)] == []
    assert callable(seqjax.unroll)
