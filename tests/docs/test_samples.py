"""The sample of each table in the page on the user's own data can be read as the page says."""

import pytest
from pages import ROOT, blocks

from seqjax import data

SAMPLES = [
    block.body for block in blocks(ROOT / "docs/howto/own_data.md") if "," in block.body.split()[0]
]
SETTINGS = (
    {"label_column": "kind"},
    {"label_column": "kind", "group_column": "subject", "time_column": "t"},
    {"time_column": "date"},
)
READ = (
    (("x0", "x1", "x2", "x3"), ("slow", "fast", "slow"), ()),
    (("x", "y"), ("slow", "slow", "fast"), ("anna", "anna", "ben")),
    (("load", "heat"), (), ()),
)


@pytest.mark.parametrize("number", range(3), ids=("rows", "long", "series"))
def test_sample(number, tmp_path):
    assert len(SAMPLES) == len(SETTINGS)
    path = tmp_path / "sample.csv"
    path.write_text(SAMPLES[number], "utf-8")
    table = data.read_table(path, **SETTINGS[number])
    assert (table.columns, table.labels, table.groups) == READ[number]
    assert len(table.values) == 3
