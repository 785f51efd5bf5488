"""The steps by which CONTRIBUTING adds a cell and an executor are all that is needed."""

import collections
import os
import re
import shutil
import subprocess
import sys

import pytest
from pages import ROOT, examples

CONTRIBUTING = ROOT / "CONTRIBUTING.md"
COUNTS = {"two": 2, "three": 3, "four": 4, "five": 5}

CELL = '''\
"""A leaky integrator."""

import jax
import jax.numpy as jnp

from seqjax.cells._linear import LinearCell, linear_cell
from seqjax.cells._operations import affine, bind, check_features, check_in_size


def leaky(hidden_size: int) -> LinearCell:
    """Makes the leaky integrator."""
    return linear_cell(
        "leaky", hidden_size, init=bind(_init, hidden_size=hidden_size), coefficients=_coefficients
    )


def _init(key, in_size, dtype=jnp.float32, *, hidden_size):
    check_in_size("leaky", in_size)
    kernel = jax.random.normal(key, (in_size, hidden_size), dtype)
    return {"input_kernel": kernel, "rate": jnp.zeros(hidden_size, dtype)}


def _coefficients(params, xs):
    check_features("leaky", xs, params["input_kernel"])
    inputs = affine(xs, params["input_kernel"])
    keep = jnp.broadcast_to(jax.nn.sigmoid(params["rate"]).astype(inputs.dtype), inputs.shape)
    return keep, (1 - keep) * inputs
'''
STEP_IN_NUMPY = """\
def leaky_step(p, state, x):
    (h,) = state
    keep = sigmoid(p["rate"])
    return (keep * h + (1 - keep) * (x @ p["input_kernel"]),)


"""
USE_CELL = """
import pickle

import jax.numpy as jnp
import numpy as np

import seqjax
from cell_table import BATCH, BY_NAME, HIDDEN, IN, ROWS, problem, random_params, reference
from cells.test_cell_layout import LAYOUT, layout
from seqjax.executors import EXECUTORS

cell = seqjax.make_cell("leaky", HIDDEN)
assert cell == seqjax.leaky(HIDDEN) == pickle.loads(pickle.dumps(cell)) == BY_NAME["leaky"].cell
expected = {name: (shape, jnp.float32) for name, shape in LAYOUT["leaky"].items()}
assert layout(cell, jnp.float32) == expected
assert list(LAYOUT) == [row.name for row in ROWS]

params, steps = random_params(cell, dtype=jnp.float32), problem()
options = {name: getattr(steps, name) for name in ("lengths", "mask", "resets")}
ran = []
for name, executor in EXECUTORS.items():
    if executor().refusal(cell) is None:
        for reverse in (False, True):
            ys, final = seqjax.unroll(
                cell,
                params,
                steps.xs.astype("float32"),
                executor=name,
                reverse=reverse,
                **options,
            )
            wanted = reference(BY_NAME["leaky"], params, steps, reverse=reverse)
            np.testing.assert_allclose(ys, wanted[0], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(final.hidden, wanted[1][0], rtol=1e-4, atol=1e-5)
        ran.append(name)
print(*ran)
"""
USE_EXECUTOR = """
import jax
import numpy as np

import seqjax
from seqjax.executors import EXECUTORS, InPython

assert EXECUTORS["in_python"] is InPython
xs = jax.random.normal(jax.random.key(1), (5, 2, 3))
for name in ("lstm", "lru"):
    cell = seqjax.make_cell(name, 4)
    params = cell.init(jax.random.key(0), 3)
    mine, _ = seqjax.unroll(cell, params, xs, executor="in_python")
    theirs, _ = seqjax.unroll(cell, params, xs)
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)
print("same")
"""


def test_how_to_add_a_cell(tmp_path):
    text = section("How to add a cell")
    checkout = copy(tmp_path / "checkout")
    follow(text, checkout)
    write(checkout / "seqjax/cells/_leaky.py", CELL)
    table = checkout / "tests/cell_table.py"
    write(
        table, table.read_text("utf-8").replace("@dataclasses", STEP_IN_NUMPY + "@dataclasses", 1)
    )
    assert run(checkout, USE_CELL).split() == ["sequential", "associative", "scan"]
    touched = added(checkout)
    assert count(text) == (
        sum(number for path, number in touched.items() if path.startswith("seqjax/")),
        sum(path.startswith("seqjax/") for path in touched),
    )
    of_tests = {"tests/cell_table.py": 1 + STEP_IN_NUMPY.count("\n")}
    of_tests["tests/cells/test_cell_layout.py"] = 1
    assert {path: n for path, n in touched.items() if path.startswith("tests/")} == of_tests


def test_how_to_add_an_executor(tmp_path):
    text = section("How to add an executor")
    checkout = copy(tmp_path / "checkout")
    follow(text, checkout)
    found = examples(ROOT / "docs/howto/executors.md", "python")
    (code,) = (example.code for example in found if "class InPython" in example.code)
    imports = "import dataclasses\n\nimport jax\nimport jax.numpy as jnp\n\n"
    write(checkout / "seqjax/executors/_in_python.py", imports + code)
    assert run(checkout, USE_EXECUTOR).split() == ["same"]
    touched = added(checkout)
    assert count(text) == (sum(touched.values()), len(touched))


def section(title):
    """Returns a section of CONTRIBUTING."""
    _, _, text = CONTRIBUTING.read_text("utf-8").partition(f"\n## {title}\n")
    assert text, title
    return text.partition("\n## ")[0]


def count(text):
    """Returns how many lines, in how many files that are there, a section says it takes."""
    said = re.search(r"one new file, and (\w+) lines in (\w+) other files", text)
    assert said is not None
    return COUNTS[said[1]], COUNTS[said[2]]


def copy(checkout):
    """Copies the library, and the tests that a new cell is written into."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "seqjax", checkout / "seqjax", ignore=ignored)
    (checkout / "tests/cells").mkdir(parents=True)
    for path in ("tests/cell_table.py", "tests/cells/test_cell_layout.py"):
        shutil.copy(ROOT / path, checkout / path)
    return checkout


def follow(text, checkout):
    """Adds the lines of a section's tables to their files."""
    rows = re.findall(r"^ *\| `(\S+)` \| (\S+) \| `(.+)` \|$", text, re.M)
    assert rows
    for path, place, line in rows:
        lines = (checkout / path).read_text("utf-8").splitlines(keepends=True)
        if place == "imports":
            last = max(i for i, other in enumerate(lines) if other.startswith("from seqjax"))
            lines.insert(last + 1, f"{line}\n")
        else:
            name = place.strip("`")
            (start,) = (
                i for i, other in enumerate(lines) if re.match(rf"{name}\b.*= [\[{{]$", other)
            )
            lines.insert(start + 1, f"    {line}\n")
        write(checkout / path, "".join(lines))


def added(checkout):
    """Returns how many lines were added, by file; only files that are there in the repository."""
    found = {}
    for path in sorted(checkout.rglob("*.py")):
        name = path.relative_to(checkout).as_posix()
        if (ROOT / name).exists():
            before, after = (
                collections.Counter(file.read_text("utf-8").splitlines())
                for file in (ROOT / name, path)
            )
            assert not before - after, name
            if number := (after - before).total():
                found[name] = number
    return found


def write(path, text):
    path.write_text(text, "utf-8")


def run(checkout, code):
    """Runs code in a fresh process that finds the copy, and returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", f"import seqjax\nprint(seqjax.__file__)\n{code}"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(checkout), str(checkout / "tests")])},
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:
        pytest.fail(done.stderr[-4000:])
    where, _, printed = done.stdout.partition("\n")
    assert where == str(checkout / "seqjax/__init__.py")
    return printed
