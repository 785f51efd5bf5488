"""A user's own table of numbers: a CSV file, read strictly, its faults named by row and column."""

import csv
import hashlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqjax.data._errors import DataError

MISSING = ("refuse", "mean", "previous", "drop")
"""What can become of an empty cell; see `read_table`."""

_LARGEST = 1e37  # differences and sums of such numbers are finite in float32 too
_EMPTY = ("", "na", "nan", "null", "none", "?")


class Table(NamedTuple):
    """Numbers in named columns.

    Attributes:
      columns: names.
      values: shape (rows, columns), float64.
      sha256: hash of the names and numbers.
    """

    columns: tuple[str, ...]
    values: np.ndarray
    sha256: str


def read_table(
    path: str | os.PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    missing: str = "refuse",
    header: str = "auto",
) -> Table:
    r"""Reads a CSV file of numbers.

    Args:
      path: the file, UTF-8; comma, semicolon or tab between the cells.
      columns: names of the columns to read, in that order; all by default. Without a header they
        are called 1, 2, ...
      missing: what becomes of an empty cell (or NA, NaN, null, None, ?), also one that a short row
        lacks at its end: "refuse" it, take the column's "mean", the "previous" row's value (the
        next one's before the first), or "drop" its row.
      header: whether the first row holds names: "yes", "no", or "auto": if none of its cells is a
        number.

    Returns:
      The table: the names of its `columns`, its `values`, float64 (rows, columns), and a `sha256`
      of both.

    Raises:
      DataError: naming row and column (both counted from 1, the header being row 1) if the file
        cannot be read, a column is missing, a cell is no number or a row is too long.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "data.csv"
      >>> _ = path.write_text("a,b\n1,2\n3,\n")
      >>> read_table(path, missing="previous").values.tolist()
      [[1.0, 2.0], [3.0, 2.0]]
      >>> read_table(path)
      Traceback (most recent call last):
      ...
      seqjax.data._errors.DataError: csv: .../data.csv, row 3, column 2 (b): a number is ...
    """
    if missing not in MISSING or header not in ("auto", "yes", "no"):
        raise DataError(
            f"csv: `missing` must be one of {', '.join(MISSING)} and `header` auto, yes or no; got "
            f"{missing!r} and {header!r}."
        )
    path = Path(path).expanduser()
    names, rows = _named_rows(path, header)
    chosen = list(range(len(names)))
    if columns is not None:
        chosen = [_place(path, names, name) for name in columns]
    values = np.array(
        [_numbers(path, number, cells, names, chosen, missing) for number, cells in rows]
    )
    kept = tuple(names[i] for i in chosen)
    values = _filled(path, values, kept, missing)
    digest = hashlib.sha256(repr(kept).encode() + np.ascontiguousarray(values, "<f8").tobytes())
    return Table(kept, values, digest.hexdigest())


def read_labels(
    path: str | os.PathLike[str], column: str | None = None, *, header: str = "auto"
) -> tuple[str, list[str]]:
    r"""Reads a column of words from a CSV file, such as the classes of its rows.

    Args:
      path: the file, as `read_table` takes it.
      column: its name; the last column by default.
      header: as in `read_table`.

    Returns:
      The column's name and the word of every row.

    Raises:
      DataError: if the file cannot be read, the column is missing, or a cell of it is empty.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "data.csv"
      >>> _ = path.write_text("a,kind\n1,sun\n2,rain\n")
      >>> read_labels(path)
      ('kind', ['sun', 'rain'])
    """
    path = Path(path).expanduser()
    names, rows = _named_rows(path, header)
    place = len(names) - 1 if column is None else _place(path, names, column)
    words = [cells[place].strip() if place < len(cells) else "" for _, cells in rows]
    if "" in words:
        raise DataError(
            f"csv: {path}, row {rows[words.index('')][0]}, column {place + 1} ({names[place]}): a "
            "class is required, and the cell is empty. Mend the cell."
        )
    return names[place], words


def column_names(path: str | os.PathLike[str], *, header: str = "auto") -> tuple[str, ...]:
    """Returns the names of a CSV file's columns; see `read_table`."""
    return tuple(_named_rows(Path(path).expanduser(), header)[0])


def _named_rows(path: Path, header: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Returns the names of the columns, and the rows below them with their numbers."""
    rows = _rows(path)
    first = rows[0][1]
    named = header == "yes" or (header == "auto" and not any(_is_number(cell) for cell in first))
    names = [cell.strip() for cell in first] if named else [str(i + 1) for i in range(len(first))]
    rows = rows[1:] if named else rows
    if not rows:
        raise DataError(f"csv: {path} must have a row of numbers, got its header alone.")
    return names, rows


def _place(path: Path, names: list[str], name: str) -> int:
    if name not in names:
        raise DataError(
            f"csv: {path} must have the column {name!r}, got {_listed(names)}. Columns without a "
            "header are called 1, 2, ..."
        )
    return names.index(name)


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Returns the rows that are not blank, with their numbers."""
    if not path.is_file():
        raise DataError(f"csv: a file is required, and {str(path)!r} is none.")
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"csv: {path} must be UTF-8 text, got byte {error.object[error.start]:#04x} at "
            f"position {error.start}."
        ) from None
    except OSError as error:
        raise DataError(f"csv: {path} cannot be read: {error.strerror}.") from None
    line = text.lstrip().split("\n", 1)[0]
    delimiter = max(",;\t", key=line.count)
    reader = csv.reader(text.splitlines(), delimiter=delimiter)
    try:
        rows = [
            (number, cells)
            for number, cells in enumerate(reader, 1)
            if len(cells) > 1 or any(map(str.strip, cells))
        ]
    except csv.Error as error:
        raise DataError(f"csv: {path}, row {reader.line_num}: {error}.") from None
    if not rows:
        raise DataError(f"csv: {path} must have a row of numbers, and is empty.")
    return rows


def _numbers(
    path: Path,
    number: int,
    cells: list[str],
    names: list[str],
    chosen: list[int],
    missing: str,
) -> list[float]:
    if len(cells) > len(names) or (len(cells) < len(names) and missing == "refuse"):
        raise DataError(
            f"csv: {path}, row {number}: {len(names)} cells are required, as in the first row, got "
            f"{len(cells)}. Mend the row"
            + ("." if len(cells) > len(names) else ", or fill it with --missing.")
        )
    values = []
    for index in chosen:
        cell = cells[index].strip() if index < len(cells) else ""
        where = f"csv: {path}, row {number}, column {index + 1} ({names[index]})"
        if cell.lower() in _EMPTY:
            if missing == "refuse":
                raise DataError(
                    f"{where}: a number is required, got {cell!r}. Mend the cell, or choose "
                    "--missing=mean, previous or drop."
                )
            values.append(math.nan)
        elif _is_number(cell):
            values.append(float(cell))
            if abs(values[-1]) > _LARGEST:
                raise DataError(
                    f"{where}: a number of at most {_LARGEST:g} is required, since networks "
                    f"compute in float32, got {cell!r}. Mend it, or choose another unit."
                )
        else:
            raise DataError(
                f"{where}: a number is required, got {cell!r}. Mend the cell, or leave the column "
                "out (in regression with --columns)."
            )
    return values


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _filled(path: Path, values: np.ndarray, names: Sequence[str], missing: str) -> np.ndarray:
    gaps = np.isnan(values)
    if not gaps.any():
        return values
    for index in np.flatnonzero(gaps.all(axis=0))[:1]:
        raise DataError(
            f"csv: {path}, column {names[index]}: a number is required to fill the others from, "
            "got none. Leave the column out (in regression with --columns)."
        )
    if missing == "drop":
        values = values[~gaps.any(axis=1)]
        if not len(values):
            raise DataError(f"csv: {path} must have a row without gaps, got none.")
        return values
    if missing == "mean":
        return np.where(gaps, np.nanmean(values, axis=0), values)
    last = np.maximum.accumulate(np.where(gaps, -1, np.arange(len(values))[:, None]))
    first = (~gaps).argmax(axis=0)
    return np.take_along_axis(values, np.where(last < 0, first, last), axis=0)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:12])
    return shown + (f" and {len(names) - 12} more" if len(names) > 12 else "")
