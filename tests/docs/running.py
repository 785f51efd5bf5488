"""Runs the Python of a page, and compares what it prints with what the page says."""

import ast
import contextlib
import doctest
import importlib.util
import io
import os

import jax
import pytest
from pages import ROOT, examples

os.environ.setdefault("KERAS_BACKEND", "jax")
# Other frameworks and services, which need not be installed.
PEERS = {"equinox", "haiku", "keras", "optuna", "torch", "wandb"}
CHECKER = doctest.OutputChecker()
LENIENT = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def name(page):
    return str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name


def run_python(page):
    """Runs the blocks of a page in order, in one namespace."""
    found = examples(page, "python")
    peers = peers_of("".join(example.code for example in found))
    if missing := [peer for peer in peers if importlib.util.find_spec(peer) is None]:
        pytest.skip(f"{name(page)} needs {', '.join(missing)}: pip install -e '.[peers]'")
    namespace = {"__name__": "__main__"}
    # Keras promotes ranks silently, which our own code may not.
    promotion = jax.numpy_rank_promotion("allow" if peers else "raise")
    for example in found:
        # Lines are counted as in the page, for the traceback of a block that fails.
        code = compile("\n" * (example.line - 1) + example.code, page, "exec")
        with promotion, contextlib.redirect_stdout(io.StringIO()) as output:
            exec(code, namespace)
        wanted, printed = example.printed, output.getvalue()
        if wanted is not None and not CHECKER.check_output(wanted, printed, LENIENT):
            pytest.fail(f"{name(page)}:{example.line} must print\n{wanted}\nand printed\n{printed}")


def peers_of(code):
    """Returns the other frameworks that code imports."""
    imports = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import)]
    return sorted(
        PEERS & {alias.name.partition(".")[0] for node in imports for alias in node.names}
    )
