"""A user's own table: every fault is one line that names its row and column."""

import numpy as np
import pytest

from experiments.csv_tasks import row_splits, series_splits, series_training_rows
from experiments.tables import id_columns
from seqjax import data
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
        (
            GOOD,
            {},
            r"row 2, column 1 \(date\): a number is .* got '2020-01-01'.*`drop_columns`",
        ),
        (GOOD, {"columns": ["cold"]}, "must have the column 'cold', got 'date', 'load', 'heat'"),
        ("a,b\n1,2\n3,\n", {}, r"row 3, column 2 \(b\): a number is required, got ''.*`missing`"),
        ("a,b\n1,2\n3,inf\n", {}, r"row 3, column 2 \(b\): a number is required, got 'inf'"),
        ("a,b\n1,2\n\n3\n", {}, r"row 4, column 2 \(b\): a number is required, got ''.*`missing`"),
        ("a,b\n1,2,3\n", {"missing": "mean"}, "row 2: 2 cells are required.* got 3. Fix the row"),
        ("", {}, "must have a row of numbers, and is empty"),
        ("a,b\n", {}, "must have a row of numbers, got its header alone"),
        ("a,b\n1,\n2,\n", {"missing": "mean"}, "column b: a number is required to fill"),
        ("a,b\n1,\n,2\n", {"missing": "drop"}, "a row without gaps is required, there is none"),
        (b"a\n\xff\n", {}, "must be UTF-8 text, got byte 0xff at position 2"),
        ("a,b\n1,1e38\n", {}, "row 2, column 2 .* at most 1e.37 is required, .* got '1e38'"),
        ("1,2\n", {"missing": "guess"}, "must be one of refuse, mean, previous, drop, keep"),
    ],
)
def test_refuses(write, content, options, message):
    with pytest.raises(data.DataError, match=message) as error:
        data.read_table(write(content), **options)
    assert "\n" not in str(error.value)


def test_refuses_what_is_no_file(tmp_path):
    with pytest.raises(data.DataError, match=r"no such file: .*nothing\.csv"):
        data.read_table(tmp_path / "nothing.csv")


def test_is_read_as_text_and_rounded_correctly(write):
    rng = np.random.default_rng(0)
    numbers = [
        repr(x) for x in (rng.normal(size=300) * 10.0 ** rng.integers(-30, 30, 300)).tolist()
    ]
    numbers += ["0.1", "1e-320", "123456789012345678", "-0.0", "2.2250738585072011e-308", "+7"]
    table = data.read_table(write("x\n" + "\n".join(numbers)))
    assert [repr(x) for x in table.values[:, 0].tolist()] == [repr(float(x)) for x in numbers]
    # That of the tables of earlier versions, by which runs know their data.
    table = data.read_table(write("a,b\n1,2.5\n3,4\n"))
    assert table.sha256[:16] == "9cc338b1b813693e"


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("x,x,k\n1,2,3\n", {}, r"columns 1 and 2 must have different names, both are called 'x'"),
        ("x,x,k\n1,2,3\n", {"columns": ("x", "x")}, "both are called 'x'. Rename one"),
        ("x,x,k\n1,2,3\n", {"columns": ("k",), "group_column": "x"}, "both are called 'x'"),
        ("a,k\n1,3\n", {"columns": ("k", "k")}, "column 'k' must be used once"),
        ("a,k\n1,3\n", {"columns": ("k",), "time_column": "k"}, "column 'k' must be used once"),
        (",a\n0,1\n1,2\n", {}, "column 1 must have a name, got none. .*`columns`"),
        ("a,b,\n0,1,\n1,2,\n", {}, "column 3 must have a name"),
        ("a\n1\n", {"drop_columns": ("a",)}, "a column of numbers is required, none is left"),
        ("a,b\n1,2\n", {"drop_columns": ("c",)}, "must have the column 'c', got 'a', 'b'"),
        ("a,b\n1,2\n3,nan\n", {"label_column": "c"}, "must have the column 'c'"),
        ("s,a\n,2\n", {"group_column": "s"}, r"row 2, column 1 \(s\): the name of a sequence is"),
        ("t,a\n2020,2\nx,3\n", {"time_column": "t"}, r"row 3, column 1 \(t\): a number or a date"),
        ("t,a\n2020-01-01,2\n01/02/2020,3\n", {"time_column": "t"}, "row 3, .* got '01/02/2020'"),
        ("t,a\n5,2\n5,3\n", {"time_column": "t"}, "row 3, .* must occur once, .* `group_column`"),
        ('a,b\n1,"2\n', {}, "cannot be read: EOF inside string"),
        ("a,b\n1,2\x00\n", {}, "line 2: text is required, got a zero byte"),
        ("a,b\n1,-nan\n", {}, r"row 2, column 2 \(b\): a number is required, got '-nan'"),
    ],
)
def test_refuses_names_groups_and_times(write, content, options, message):
    with pytest.raises(data.DataError, match=message) as error:
        data.read_table(write(content), **options)
    assert "\n" not in str(error.value)


def test_a_column_without_a_name_may_be_left_out(write):
    table = data.read_table(write(",a,b\n0,1,2\n1,3,4\n"), columns=("a", "b"))
    assert table.values.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("cell", ['""', "NA", " nan "])
def test_an_empty_cell_of_a_single_column_is_no_blank_line(write, cell):
    path = write(f"x\n1\n{cell}\n\n3\n")
    with pytest.raises(data.DataError, match=r"row 3, column 1 \(x\): a number is required, got"):
        data.read_table(path)
    assert data.read_table(path, missing="previous").values[:, 0].tolist() == [1, 1, 3]


def test_what_pandas_writes_is_read(tmp_path):
    pd = pytest.importorskip("pandas")
    for frame in (
        pd.DataFrame({"x": [1.5, None, 3.0]}),
        pd.DataFrame({"x": [0.1, None], "y": [None, 2.0]}),
    ):
        frame.to_csv(tmp_path / "x.csv", index=False)
        table = data.read_table(tmp_path / "x.csv", missing="keep")
        np.testing.assert_array_equal(table.values, frame.to_numpy())


LONG = """subject,t,x,y,label
s2,3,3,30,b
s1,1,1,10,a
s2,1,1,,b
s1,2,,20,a
s2,2,2,20,b
"""


def test_long_format_gives_sequences_of_unequal_length(write):
    options = {"label_column": "label", "group_column": "subject", "time_column": "t"}
    table = data.read_table(write(LONG), **options, missing="keep")
    assert table.columns == ("x", "y")
    assert table.groups == ("s2", "s2", "s2", "s1", "s1")  # in the order of the file
    assert table.labels == ("b", "b", "b", "a", "a")
    nan = np.nan
    wanted = [[[1, nan], [2, 20], [3, 30]], [[1, 10], [nan, 20]]]
    for found, rows in zip(table.sequences, wanted, strict=True):
        np.testing.assert_array_equal(found, rows)
    # No number comes from another subject.
    filled = data.read_table(write(LONG), **options, missing="previous").sequences
    assert filled[0].tolist() == [[1, 20], [2, 20], [3, 30]]
    assert filled[1].tolist() == [[1, 10], [1, 20]]
    assert len(data.read_table(write(LONG), **options, missing="drop").values) == 3
    alone = LONG.replace("s1,1,1", "s1,1,")
    with pytest.raises(data.DataError, match="column x: a number is required to fill"):
        data.read_table(write(alone), **options, missing="previous")


def test_rows_are_sorted_by_dates(write):
    text = "when,x\n2021-01-01,3\n2020-12-31T23:00,2\n2020-02-29,1\n"
    assert data.read_table(write(text), time_column="when").values[:, 0].tolist() == [1, 2, 3]


def test_means_are_those_of_the_rows_that_train():
    values = np.concatenate([np.zeros(70), np.full(30, 1000.0)])[:, None]
    values[80] = np.nan
    table = table_of(values)
    rows = series_training_rows(table)
    assert rows.tolist() == list(range(70))
    assert table.filled(table.means(rows)).values[80, 0] == 0  # and not 697
    with pytest.raises(data.DataError, match="column a: a number is required to fill"):
        table.means([80])


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ([np.repeat([4, 2, 9], 5), np.arange(15.0) ** 2], {"a": "sequence"}),
        ([np.arange(15), np.arange(15.0) ** 2], {"a": "row"}),
        ([np.arange(15) + 0.5, np.repeat([4, 2, 4], 5)], {}),  # no whole numbers; 4 comes again
        ([np.repeat([0, 1], 8), np.ones(16)], {}),  # a step, and a constant
    ],
)
def test_columns_that_look_like_an_id(columns, wanted):
    assert id_columns(table_of(np.stack(columns, axis=1))) == wanted


def test_no_window_spans_two_groups():
    values = np.concatenate([np.arange(40.0), 1000 + np.arange(60.0)])[:, None]
    table = table_of(values)._replace(groups=("p",) * 40 + ("q",) * 60)
    splits = series_splits(table, 3, 2)
    for part in splits:
        whole = np.concatenate([part.inputs, part.targets], axis=1)[..., 0]
        assert (np.diff(whole, axis=1) == 1).all()
    assert [len(part.inputs) for part in splits] == [28 - 4 + 42 - 4, 6 - 1 + 9 - 1, 6 - 1 + 9 - 1]
    assert series_training_rows(table).tolist() == [*range(28), *range(40, 82)]
    with pytest.raises(data.DataError, match="the 6 of 40 rows of p that validate must be"):
        series_splits(table, 3, 8)


def test_rows_of_groups_are_one_sequence_with_one_answer():
    lengths = np.arange(20) % 3 + 1
    groups = np.repeat(np.arange(20), lengths)
    values = np.stack([np.ones(len(groups)), groups], axis=1)
    table = table_of(values)._replace(groups=tuple(map(str, groups.tolist())))
    splits = row_splits(table)
    assert [len(part.inputs) for part in splits] == [14, 3, 3]
    for part in splits:
        which = part.targets[:, 0].astype(int)
        np.testing.assert_array_equal(part.lengths, lengths[which])
        np.testing.assert_array_equal(part.inputs.sum((1, 2)), lengths[which])
    values[2, 1] = 7
    with pytest.raises(data.DataError, match=r"one answer, got 1.0 and 7.0 in those of 1"):
        row_splits(table)
    values[2, 1] = np.nan
    with pytest.raises(
        data.DataError, match="an answer is required, got an empty cell in column b"
    ):
        row_splits(table)


def table_of(values):
    values = np.asarray(values, float)
    return Table(tuple("abcdefgh"[: values.shape[1]]), values)


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
