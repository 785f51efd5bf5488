"""A user's own table: a CSV file, read strictly, its faults named by row and column."""

import csv
import hashlib
import io
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from seqjax.data._errors import DataError
from seqjax.data._text_file import AnyPath, read_text

if TYPE_CHECKING:
    import pandas as pd

MISSING = ("refuse", "mean", "previous", "drop")
"""What can become of an empty cell; see `read_table`."""

_LARGEST = 1e37  # differences and sums of such numbers are finite in float32 too
_EMPTY = ("", "na", "nan", "null", "none", "?")


class Table(NamedTuple):
    """Numbers in named columns.

    Attributes:
      columns: names.
      values: shape (rows, columns), float64.
      labels: the class of each row; empty without a label column.
      groups: the sequence of each row, whose rows stand together; empty without a group column.
    """

    columns: tuple[str, ...]
    values: np.ndarray
    labels: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Hash of names, numbers and groups."""
        digest = hashlib.sha256(repr(self.columns).encode())
        digest.update(np.ascontiguousarray(self.values, "<f8").tobytes())
        digest.update(repr(self.groups).encode() if self.groups else b"")
        return digest.hexdigest()

    @property
    def starts(self) -> np.ndarray:
        """The first row of each sequence, int (sequences,); without groups all rows are one."""
        groups = np.array(self.groups or [""])
        return np.flatnonzero(np.append(True, groups[1:] != groups[:-1]))

    @property
    def sequences(self) -> list[np.ndarray]:
        """The rows of each sequence, (steps, columns)."""
        return np.split(self.values, self.starts[1:])

    def first(self, number: int) -> "Table":
        """Returns the table of the first columns alone."""
        return self._replace(columns=self.columns[:number], values=self.values[:, :number])

    def means(self, rows: Any) -> np.ndarray:
        """Returns the mean of each column over the chosen rows that have a number, (columns,).

        Raises:
          DataError: if a column has none.
        """
        gaps = np.isnan(self.values[rows])
        _refuse_empty(self.columns, gaps)
        return np.where(gaps, 0, self.values[rows]).sum(axis=0) / (~gaps).sum(axis=0)

    def filled(self, means: np.ndarray) -> "Table":
        """Returns the table with a number for each column, (columns,), in place of its gaps.

        Example:
          >>> table = Table(("a",), np.array([[0.0], [math.nan], [900.0]]))
          >>> table.filled(table.means([0, 1])).values[:, 0].tolist()
          [0.0, 0.0, 900.0]
        """
        return self._replace(values=np.where(np.isnan(self.values), means, self.values))


def read_table(
    path: AnyPath,
    *,
    columns: Sequence[str] | None = None,
    drop_columns: Sequence[str] = (),
    label_column: str | None = None,
    group_column: str | None = None,
    time_column: str | None = None,
    missing: str = "refuse",
    header: str = "auto",
) -> Table:
    r"""Reads a CSV file of numbers.

    Args:
      path: the file, UTF-8; comma, semicolon or tab between the cells.
      columns: names of the columns to read, in that order; by default all that no other argument
        names. Without a header they are called 1, 2, ...
      drop_columns: names of columns to leave out.
      label_column: column of a class in words.
      group_column: column that says which sequence a row belongs to, for the long format: a row for
        each step of each sequence. Sequences may have different lengths.
      time_column: column of numbers or ISO 8601 dates; the rows of a sequence are sorted by it.
      missing: what becomes of an empty cell (or NA, NaN, null, None, ?), also one that a short row
        lacks at its end: "refuse" it, take the column's "mean", the "previous" row's value (the
        next one's before the first of a sequence), "drop" its row, or "keep" it as NaN: then
        `table.filled(table.means(rows))` takes the mean of training rows alone.
      header: whether the first row holds names: "yes", "no", or "auto": if none of its cells is a
        number.

    Returns:
      The table: the names of its `columns`, its `values`, float64 (rows, columns), the `labels` and
      `groups` of its rows, a `sha256`, and its `sequences`, arrays (steps, columns).

    Raises:
      DataError: naming row and column (both counted from 1, the header being row 1) if the file
        cannot be read, a column is missing, without a name or there twice, a cell is no number, a
        row is too long, or two rows of a sequence have the same time.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> path = Path(tempfile.mkdtemp()) / "data.csv"
      >>> _ = path.write_text("a,b\n1,2\n3,\n")
      >>> read_table(path, missing="previous").values.tolist()
      [[1.0, 2.0], [3.0, 2.0]]
      >>> read_table(path)
      Traceback (most recent call last):
      ...
      seqjax.data._errors.DataError: csv: .../data.csv, row 3, column 2 (b): a number is ...
    """
    if missing not in (*MISSING, "keep") or header not in ("auto", "yes", "no"):
        raise DataError(
            f"csv: `missing` must be one of {', '.join(MISSING)}, keep and `header` auto, yes or "
            f"no; got {missing!r} and {header!r}."
        )
    file = _read(path, header)
    special = [name for name in (label_column, group_column, time_column) if name is not None]
    left_out = [file.place(name) for name in (*drop_columns, *special)]
    if columns is None:
        places = [place for place in range(len(file.names)) if place not in left_out]
    else:
        places = [file.place(name) for name in columns]
    for place in places:
        if places.count(place) > 1 or place in left_out:
            file.fail(f"column {file.names[place]!r} must be used once", "it is named twice")
    names = tuple(file.checked_name(place) for place in places)
    if not names:
        file.fail("a column of numbers is required", "none is left")

    labels = file.words(label_column, "a class") if label_column else None
    groups = file.words(group_column, "the name of a sequence") if group_column else None
    codes = np.zeros(len(file.cells), int)
    if groups is not None:
        _, codes = np.unique(groups, return_inverse=True)
        first = np.full(len(codes), len(codes))
        np.minimum.at(first, codes, np.arange(len(codes)))
        codes = first[codes]  # in the order of the file
    times = file.times(time_column, codes) if time_column else np.zeros(len(codes))
    order = np.lexsort((times, codes))
    values = file.numbers(places, missing)[order]

    kept = np.ones(len(order), bool)
    if missing == "previous":
        import pandas as pd

        before = pd.DataFrame(values).groupby(codes[order]).ffill()
        values = before.groupby(codes[order]).bfill().to_numpy()
        _refuse_empty(names, np.isnan(values), every=False)
    elif missing == "drop":
        kept = ~np.isnan(values).any(axis=1)
        if not kept.any():
            file.fail("a row without gaps is required", "there is none")
    order = order[kept]
    table = Table(
        names,
        values[kept],
        () if labels is None else tuple(labels[order].tolist()),
        () if groups is None else tuple(groups[order].tolist()),
    )
    return table.filled(table.means(slice(None))) if missing == "mean" else table


def column_names(path: AnyPath, *, header: str = "auto") -> tuple[str, ...]:
    """Returns the names of a CSV file's columns; see `read_table`."""
    return tuple(_read(path, header).names)


class _Csv(NamedTuple):
    """The cells of a file, stripped, and the names of its columns."""

    path: AnyPath
    text: str
    delimiter: str
    names: list[str]
    cells: "pd.DataFrame"
    header_rows: int

    def fail(self, wanted: str, got: str, *, row: int = -1, place: int = -1) -> NoReturn:
        """Raises the error of a cell, or of the whole file."""
        where = f"csv: {self.path}"
        if row >= 0:
            where += f", row {self.row_number(row)}"
        if place >= 0:
            where += f", column {place + 1} ({self.names[place]})"
        raise DataError(f"{where}: {wanted}, {got}.")

    def row_number(self, row: int) -> int:
        """Returns where a row stands in the file, whose blank lines pandas leaves out."""
        rows = csv.reader(io.StringIO(self.text, newline=""), delimiter=self.delimiter)
        filled = (
            number
            for number, cells in enumerate(rows, 1)
            if len(cells) > 1 or cells == [""] or any(map(str.strip, cells))
        )
        for index, number in enumerate(filled):
            if index == row + self.header_rows:
                return number
        return row + self.header_rows + 1

    def place(self, name: str) -> int:
        """Returns the place of a column."""
        if name not in self.names:
            shown = ", ".join(map(repr, self.names[:12]))
            shown += f" and {len(self.names) - 12} more" if len(self.names) > 12 else ""
            raise DataError(
                f"csv: {self.path} must have the column {name!r}, got {shown}. Columns without a "
                "header are called 1, 2, ..."
            )
        place = self.names.index(name)
        self.checked_name(place)
        return place

    def checked_name(self, place: int) -> str:
        """Returns the name of a column that is read, which must be its own."""
        name = self.names[place]
        if not name:
            self.fail(
                f"column {place + 1} must have a name",
                "got none. Name it, or choose the others with `columns`",
            )
        if self.names.count(name) > 1:
            other = next(i for i, each in enumerate(self.names) if each == name and i != place)
            self.fail(
                f"columns {min(place, other) + 1} and {max(place, other) + 1} must have different "
                "names",
                f"both are called {name!r}. Rename one of them",
            )
        return name

    def words(self, name: str, wanted: str) -> np.ndarray:
        """Returns the words of a column, of which none may be empty."""
        place = self.place(name)
        words = self.cells[place].to_numpy(object)
        for row in np.flatnonzero(words == "")[:1].tolist():
            self.fail(f"{wanted} is required", "got an empty cell. Fill it", row=row, place=place)
        return words

    def times(self, name: str, codes: np.ndarray) -> np.ndarray:
        """Returns the times of a column as numbers; those of a sequence must differ."""
        import pandas as pd

        place = self.place(name)
        words = self.words(name, "a time")
        try:
            times = words.astype(float)
            bad = ~np.isfinite(times)
        except ValueError:
            dates = pd.to_datetime(words, format="ISO8601", utc=True, errors="coerce")
            times, bad = dates.as_unit("ns").asi8, np.asarray(dates.isna())
        for row in np.flatnonzero(bad)[:1].tolist():
            self.fail(
                "a number or a date such as 2020-12-31 or 2020-12-31T23:59 is required",
                f"got {words[row]!r}. Fix the cell",
                row=row,
                place=place,
            )
        again = pd.Series(list(zip(codes.tolist(), times.tolist(), strict=True))).duplicated()
        for row in np.flatnonzero(again)[:1].tolist():
            self.fail(
                "every time of a sequence must occur once",
                f"got {words[row]!r} again. Fix the cell, or name the column of the sequences with "
                "`group_column`",
                row=row,
                place=place,
            )
        return times

    def numbers(self, places: list[int], missing: str) -> np.ndarray:
        """Returns the numbers of some columns, NaN where a cell is empty."""
        frame = self.cells[places]
        cells = frame.to_numpy(object)
        gaps = frame.apply(lambda column: column.str.lower().isin(_EMPTY)).to_numpy(bool)

        def refuse(wrong: np.ndarray, wanted: str, mend: str) -> None:
            for row, column in np.argwhere(wrong)[:1].tolist():
                got = f"got {cells[row, column]!r}. Fix the cell, or {mend}"
                self.fail(f"a number {wanted}", got, row=row, place=places[column])

        if missing == "refuse":
            refuse(gaps, "is required", "choose how to handle it with `missing`")
        leave_out = "is required", "leave the column out with `drop_columns`"
        try:
            # As Python reads a number, which rounds correctly; pandas' to_numeric does not.
            values = np.where(gaps, "nan", cells).astype(np.float64)
        except ValueError:
            refuse(~(gaps | np.vectorize(_is_number, [bool])(cells)), *leave_out)
            raise
        refuse(~(gaps | np.isfinite(values)), *leave_out)
        wanted = f"of at most {_LARGEST:g} is required, since networks compute in float32"
        refuse(np.abs(values) > _LARGEST, wanted, "choose another unit")
        return values


def _read(path: AnyPath, header: str) -> _Csv:
    import pandas as pd  # here: `import seqjax.data` needs NumPy only

    text = read_text(path)
    if "\0" in text:  # at which some versions of pandas end a cell
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"csv: {path}, line {line}: text is required, got a zero byte.")
    delimiter = max(",;\t", key=text.lstrip().split("\n", 1)[0].count)
    try:
        cells = pd.read_csv(
            io.StringIO(text), sep=delimiter, header=None, dtype=str, keep_default_na=False
        )
    except pd.errors.EmptyDataError:
        raise DataError(f"csv: {path} must have a row of numbers, and is empty.") from None
    except pd.errors.ParserError as error:
        match = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if match is None:
            reason = str(error).strip().rpartition("error: ")[2]
            raise DataError(f"csv: {path} cannot be read: {reason}. Fix the file.") from None
        raise DataError(
            f"csv: {path}, row {match[2]}: {match[1]} cells are required, as in the first row, got "
            f"{match[3]}. Fix the row."
        ) from None
    cells = cells.fillna("").apply(lambda column: column.str.strip())
    first = cells.iloc[0].tolist()
    named = header == "yes" or (header == "auto" and not any(map(_is_number, first)))
    names = first if named else [str(i + 1) for i in range(len(first))]
    cells = cells.iloc[int(named) :].reset_index(drop=True)
    if cells.empty:
        raise DataError(f"csv: {path} must have a row of numbers, got its header alone.")
    return _Csv(path, text, delimiter, names, cells, int(named))


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _refuse_empty(columns: Sequence[str], gaps: np.ndarray, *, every: bool = True) -> None:
    """Refuses a column without a number, or with a gap that is left."""
    for place in np.flatnonzero(gaps.all(axis=0) if every else gaps.any(axis=0))[:1].tolist():
        raise DataError(
            f"csv: column {columns[place]}: a number is required to fill the empty cells from, got "
            "none. Leave the column out with `drop_columns`."
        )
