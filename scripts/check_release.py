"""Builds sdist and wheel as a release does, and checks them where nothing else is installed.

    pip install -e '.[release]' && python scripts/check_release.py

The wheel is built from the sdist. Checked are: that README renders on PyPI and its links lead out
of that page, what the two archives hold (the wheel `seqjax` alone), that the version is that of the
source, that the wheel's declared dependencies are enough to import every module outside of the
checkout, beside an `experiments` of the user's own, that an experiment's program starts in the
unpacked sdist, and what the import takes (scripts/import_time.py). The archives stay in --out,
ready for an upload.
"""

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

from absl import app, flags

import seqjax

FLAGS = flags.FLAGS
flags.DEFINE_string("out", None, "folder for the archives (default: one that is thrown away)")

ROOT = Path(__file__).resolve().parents[1]
IN_SDIST = (
    "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "seqjax/py.typed",
    "docs/conf.py", "docs/figures/imdb_bigru.png", "scripts/benchmark.py", "tests/conftest.py",
    "experiments/imdb/__main__.py",
)  # fmt: skip
IN_WHEEL = ("seqjax/py.typed", "seqjax/cells/_lstm.py")
IMPORT_ALL = """
import importlib, pkgutil, sys
import seqjax
for found in pkgutil.walk_packages(seqjax.__path__, "seqjax."):
    importlib.import_module(found.name)
import experiments
print(seqjax.__version__, seqjax.__file__, experiments.OWNER)
"""


def main(_) -> None:
    """Builds and checks."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(FLAGS.out or Path(scratch) / "dist").resolve()
        run(sys.executable, "-m", "build", "--quiet", "--outdir", str(out), str(ROOT))
        name = f"seqjax-{seqjax.__version__}"
        sdist, wheel = out / f"{name}.tar.gz", out / f"{name}-py3-none-any.whl"
        for archive in (sdist, wheel):
            require(
                archive.exists(), f"{archive.name} was to be built, got {sorted(out.iterdir())}"
            )
        run(sys.executable, "-m", "twine", "check", "--strict", str(sdist), str(wheel))
        check_contents(name, sdist, wheel)
        check_installed(name, sdist, wheel, Path(scratch))
    print(f"{name}: sdist and wheel are good")


def check_contents(name: str, sdist: Path, wheel: Path) -> None:
    """Refuses archives that lack something, or hold what is not for users."""
    with tarfile.open(sdist) as archive:
        held = set(archive.getnames())
    missing = [file for file in IN_SDIST if f"{name}/{file}" not in held]
    require(not missing, f"the sdist lacks {missing}; see MANIFEST.in")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        metadata = archive.read(f"{name}.dist-info/METADATA").decode("utf-8")
    relative = re.findall(r"\]\((?!https?:|#)[^)]*\)", metadata)
    require("](" in metadata and not relative, f"PyPI's page would have relative links: {relative}")
    missing = [file for file in IN_WHEEL if file not in held]
    require(not missing, f"the wheel lacks {missing}; see pyproject.toml")
    tops = {file.split("/")[0] for file in held}
    require(tops == {"seqjax", f"{name}.dist-info"}, f"the wheel holds {sorted(tops)}")


def check_installed(name: str, sdist: Path, wheel: Path, scratch: Path) -> None:
    """Installs the wheel alone, and uses it from a project that has a folder `experiments`."""
    environment, project = scratch / "venv", scratch / "project"
    own = project / "experiments" / "__init__.py"
    own.parent.mkdir(parents=True)
    own.write_text('OWNER = "user"\n', "utf-8")
    venv.create(environment, with_pip=True)
    python = str(environment / "bin" / "python")
    run(python, "-m", "pip", "install", "--quiet", str(wheel))
    run(python, "-m", "pip", "check")
    version, file, owner = run(python, "-c", IMPORT_ALL, cwd=project).split()
    require(version == seqjax.__version__, f"the wheel's version is {version}")
    require(Path(file).is_relative_to(environment), f"imported was {file}")
    require(owner == "user", f"`import experiments` in a user's project found {owner}'s")
    with tarfile.open(sdist) as archive:
        archive.extractall(scratch, filter="data")
    source = scratch / name
    help = run(python, "-m", "experiments.imdb", "--helpshort", cwd=source, ends_with=(0, 1))
    require("--cell" in help, "`python -m experiments.imdb --helpshort` does not list --cell")
    print(run(python, str(ROOT / "scripts" / "import_time.py"), cwd=project), end="")


def run(*command: str, cwd: Path = ROOT, ends_with: tuple[int, ...] = (0,)) -> str:
    """Runs a command and returns what it prints; where it fails, so does the check."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    said = f"{done.stdout}{done.stderr}"
    require(done.returncode in ends_with, f"{' '.join(command)}\n{said}")
    return done.stdout


def require(holds: bool, message: str) -> None:
    """Ends the program where something does not hold."""
    if not holds:
        sys.exit(f"error: {message}")


if __name__ == "__main__":
    app.run(main)
