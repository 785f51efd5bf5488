"""A user's own table: every fault is one line that names its row and column."""

import numpy as np
import pytest

from seqjax import data
from seqjax.data._csv_task import row_splits, series_splits
from seqjax.data._table import Table

GOOD = "date,load,heat\n2020-01-01,1,2\n2020-01-02,3,4\n2020-01-03,5,6\n"


@pytest.fixture
def write(tmp_path):
    def make(content):
        path = tmp_path / "data.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def test_reads_chosen_columns_in_their_order(write):
    table = data.read_table(write(GOOD), columns=["heat", "load"])
    assert table.columns == ("heat", "load")
    assert table.values.tolist() == [[2, 1], [4, 3], [6, 5]]
    assert table.sha256 != data.read_table(write(GOOD), columns=["load", "heat"]).sha256


@pytest.mark.parametrize(
    "content", ["1;2\n3;4\n", "1\t2\r\n3\t4", "\ufeff1,2\n\n3, 4 \n", "1,2\n3,4"]
)
def test_reads_what_programs_write(write, content):
    table = data.read_table(write(content))
    assert table.columns == ("1", "2")
    assert table.values.tolist() == [[1, 2], [3, 4]]


def test_header_can_be_said(write):
    assert data.read_table(write("2020,2021\n1,2\n"), header="yes").columns == ("2020", "2021")
    with pytest.raises(data.DataError, match=r"row 1, column 1 \(1\): a number is required"):
        data.read_table(write("a,b\n1,2\n"), header="no")


@pytest.mark.parametrize(
    ("missing", "values"),
    [
        ("mean", [[1, 4], [2, 4], [3, 4]]),
        ("previous", [[1, 4], [1, 4], [3, 4]]),
        ("drop", [[3, 4]]),
    ],
)
def test_fills_gaps(write, missing, values):
    table = data.read_table(write("a,b\n1,NA\n,\n3,4\n"), missing=missing)
    assert table.values.tolist() == values
    short = data.read_table(write("a,b\n1\n1,4\n"), missing="previous")
    assert short.values.tolist() == [[1, 4], [1, 4]]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (GOOD, {}, r"row 2, column 1 \(date\): a number is required, got '2020-01-01'.*--columns"),
        (GOOD, {"columns": ["cold"]}, "must have the column 'cold', got 'date', 'load', 'heat'"),
        ("a,b\n1,2\n3,\n", {}, r"row 3, column 2 \(b\): a number is required, got ''.*--missing=m"),
        ("a,b\n1,2\n3,inf\n", {}, r"row 3, column 2 \(b\): a number is required, got 'inf'"),
        ("a,b\n1,2\n3\n", {}, "row 3: 2 cells are required, as in the first row, got 1.*--missing"),
        ("a,b\n1,2,3\n", {"missing": "mean"}, "row 2: 2 cells are required.* got 3. Mend the row"),
        ("", {}, "must have a row of numbers, and is empty"),
        ("a,b\n", {}, "must have a row of numbers, got its header alone"),
        ("a,b\n1,\n2,\n", {"missing": "mean"}, "column b: a number is required to fill"),
        ("a,b\n1,\n,2\n", {"missing": "drop"}, "must have a row without gaps, got none"),
        (b"a\n\xff\n", {}, "must be UTF-8 text, got byte 0xff at position 2"),
        ("a,b\n1,1e38\n", {}, "row 2, column 2 .* at most 1e.37 is required, .* got '1e38'"),
        ("1,2\n", {"missing": "guess"}, "must be one of refuse, mean, previous, drop"),
    ],
)
def test_refuses(write, content, options, message):
    with pytest.raises(data.DataError, match=message) as error:
        data.read_table(write(content), **options)
    assert "\n" not in str(error.value)


def test_refuses_what_is_no_file(tmp_path):
    for path in (tmp_path, tmp_path / "nothing.csv"):
        with pytest.raises(data.DataError, match=r"a file is required, and .* is none"):
            data.read_table(path)


def table_of(values):
    values = np.asarray(values, float)
    return Table(tuple("abcdefgh"[: values.shape[1]]), values, "")


def test_series_are_split_in_time():
    table = table_of(np.arange(200.0).reshape(100, 2))
    splits = series_splits(table, 6, 4, targets=["b"], fractions=(0.1, 0.2))
    assert [len(part.inputs) for part in splits] == [70 - 6 - 4 + 1, 10 - 4 + 1, 20 - 4 + 1]
    rows = table.values
    for part, first, last in zip(splits, (6, 70, 80), (70, 80, 100), strict=True):
        np.testing.assert_array_equal(part.inputs[0], rows[first - 6 : first])
        np.testing.assert_array_equal(part.targets[0], rows[first : first + 4, 1:])
        np.testing.assert_array_equal(part.targets[-1], rows[last - 4 : last, 1:])


def test_rows_are_split_by_the_draw():
    table = table_of(np.arange(350.0).reshape(50, 7))
    splits = row_splits(table, features=2, seed=1)
    assert [len(part.inputs) for part in splits] == [36, 7, 7]
    seen = np.concatenate([part.inputs.reshape(-1, 6) for part in splits])
    answers = np.concatenate([part.targets for part in splits])
    together = np.concatenate([seen, answers], axis=1)
    np.testing.assert_array_equal(together[together[:, 0].argsort()], table.values)
    other = row_splits(table, features=2, seed=2)
    assert (other.test.inputs != splits.test.inputs).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: series_splits(table_of(np.ones((100, 1))), 71, 2),
            "at most the 70 rows that",
        ),
        (
            lambda: series_splits(table_of(np.ones((100, 1))), 5, 16),
            "the 15 of 100 rows that validate must be at least 16 for lookback 5 and horizon 16",
        ),
        (
            lambda: series_splits(table_of(np.ones((100, 2))), 5, 3, targets=["z"]),
            "the target 'z' must be one of the columns a, b",
        ),
        (lambda: row_splits(table_of(np.ones((50, 4))), features=2), "got 3 columns"),
        (
            lambda: row_splits(table_of([[1, 0], [1, 3]]), binary=True),
            "must be 0 or 1, got 3 in column b of example 2",
        ),
        (lambda: row_splits(table_of(np.ones((3, 2)))), "enough rows .* got 3"),
    ],
)
def test_refuses_what_does_not_fit(call, message):
    with pytest.raises(data.DataError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_binary_rows():
    splits = row_splits(table_of(np.tile([[1, 0], [2, 1]], (20, 1))), binary=True)
    assert splits.train.targets.dtype == np.int32
    assert splits.train.targets.ndim == 1
    np.testing.assert_array_equal(splits.train.targets, splits.train.inputs[:, 0, 0] - 1)
