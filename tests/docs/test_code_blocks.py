"""The code of README and of the documentation runs, and prints what the pages say."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pages import PAGES, ROOT, TUTORIAL, examples
from running import name, run_python

import seqjax

# These cost seconds each, and say how to use what other tests check.
COSTLY = {
    *("docs/background.md", "docs/cells.md", "docs/convert.md"),
    *(
        f"docs/howto/{page}.md"
        for page in (
            *(
                "callbacks",
                "devices",
                "equinox",
                "executors",
                "layers",
                "lengths",
                "memory",
                "online",
                "probe",
                "runs",
            ),
            *("sweeps", "transforms"),
        )
    ),
}


def pages():
    """Returns the pages with Python blocks."""
    found = [page for page in PAGES if page != TUTORIAL and examples(page, "python")]
    assert set(map(name, found)) >= COSTLY
    return [
        pytest.param(page, marks=pytest.mark.extended if name(page) in COSTLY else ())
        for page in found
    ]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
@pytest.mark.parametrize("page", pages(), ids=name)
def test_page(page, tmp_path, monkeypatch):
    """In a folder of its own, which is empty at first."""
    monkeypatch.chdir(tmp_path)
    run_python(page)


@pytest.mark.extended
def test_the_executor_of_the_page_runs_every_cell():
    page = ROOT / "docs/howto/executors.md"
    block = next(e.code for e in examples(page, "python") if "class InPython" in e.code)
    names = {"dataclasses": dataclasses, "jax": jax, "jnp": jnp}
    exec(block, names)
    xs = jax.random.normal(jax.random.key(1), (8, 4, 3))
    resets = jnp.zeros((8, 4), bool).at[5].set(True)
    for cell in (seqjax.make_cell(each, 8) for each in seqjax.cells.CELLS):
        params = cell.init(jax.random.key(0), in_size=3)
        for reverse in (False, True):
            given = {"lengths": jnp.array([8, 7, 1, 0]), "resets": resets, "reverse": reverse}
            mine, _ = seqjax.unroll(cell, params, xs, executor=names["InPython"](), **given)
            theirs, _ = seqjax.unroll(cell, params, xs, executor="scan", **given)
            np.testing.assert_allclose(mine, theirs, atol=1e-5, err_msg=cell.name)


def test_a_wrong_output_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n```text\n2\n```\n")
    with pytest.raises(pytest.fail.Exception, match=r"page\.md:2 must print\n2\n"):
        run_python(page)
    page.write_text("```python\nprint(1)\n```\n\n```text\n1\n```\n")
    run_python(page)


def test_a_page_without_its_peer_is_skipped(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("```python\nimport haiku as hk\n```\n")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(pytest.skip.Exception, match=r"page\.md needs haiku: pip install"):
        run_python(page)


def test_blocks_not_run(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: no network -->\n```python\n1/0\n```\nText.\n```python\n2\n```\n")
    assert [example.code for example in examples(page, "python")] == ["2\n"]
