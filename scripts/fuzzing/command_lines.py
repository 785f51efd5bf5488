"""Flags that are small languages: a user's own cell, a grid of settings, lists, the mesh."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

from experiments import cells, gradient_flow, regression, sweep
from fuzzing.reader import Reader
from seqjax.cells import USER_CELLS
from seqjax.train._mesh import check_mesh

MODULE = "a_cell_to_fuzz"
CODE = """
import seqjax

def minimal(hidden_size):
    return seqjax.min_gru(hidden_size)

def wrong(hidden_size):
    raise RuntimeError("two\\nlines")

number = 3
"""


def flag_readers(base: Path) -> list[Reader]:
    """Makes every reader of a flag's text."""
    (base / f"{MODULE}.py").write_text(CODE)
    sys.path.insert(0, str(base))

    def own_cell(path: Path) -> None:
        text = path.read_bytes().decode(
            "utf-8", "surrogateescape"
        )  # as Python reads a command line
        if not _imports_nothing_else(text):
            return
        try:
            cells.load(text)
            regression.configure(task="sine", cell=text)
        finally:
            USER_CELLS.clear()

    def grid(path: Path) -> None:
        sweep.parse(_text(path), regression.Config)

    def lists(path: Path) -> None:
        parts = (part.partition("=") for part in _text(path).split(";"))
        names: dict[str, Any] = {name: values for name, _, values in parts}
        known = ("cells", "inits", "lengths", "tasks", "train_inits")
        gradient_flow.Config(**{name: names[name] for name in known if name in names})

    def mesh(path: Path) -> None:
        check_mesh(_text(path))

    own = (f"{MODULE}:minimal", f"bi:{MODULE}:minimal", "gru")
    wrong = (f"{MODULE}:wrong", f"{MODULE}:number", f"{MODULE}.deeper:minimal", "no_module_here:x")
    for text in wrong:
        try:
            cells.load(text)
        except cells.ConfigError:
            continue
        raise AssertionError(f"--cell={text} must be refused")
    grids = (b"hidden_size=8,16;learning_rate=1e-3", b"cell=gru,lstm;residual=true")
    listed = (
        b"cells=gru,lstm;lengths=8,16;tasks=adding",
        b"cells=gru;inits=default,chrono;train_inits=default",
    )
    return [
        Reader("own_cell", "flag", tuple(text.encode() for text in own), own_cell),
        Reader("sweep", "flag", grids, grid),
        Reader("lists", "flag", listed, lists),
        Reader("mesh", "flag", (b"4x2", b"batch"), mesh),
    ]


def _text(path: Path) -> str:
    """Returns a flag's text as Python reads it off a command line."""
    return path.read_bytes().decode("utf-8", "surrogateescape")


def _imports_nothing_else(text: str) -> bool:
    """Says whether no module but ours is there to be imported, or called, by a flag's text."""
    for part in text.split(","):
        name = cells.directions(part.strip())[0].partition(":")[0].partition(".")[0]
        if name == MODULE:
            continue
        try:
            if name in sys.modules or importlib.util.find_spec(name) is not None:
                return False
        except (ValueError, ImportError):  # a name that none can have
            continue
    return True
