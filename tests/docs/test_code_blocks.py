"""The code of README and of the documentation runs, and prints what the pages say."""

import pytest
from pages import PAGES, TUTORIAL, examples
from running import name, run_python

RUN = [page for page in PAGES if page != TUTORIAL and examples(page, "python")]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
@pytest.mark.parametrize("page", RUN, ids=name)
def test_page(page, tmp_path, monkeypatch):
    """In a folder of its own, which is empty at first."""
    monkeypatch.chdir(tmp_path)
    run_python(page)


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
