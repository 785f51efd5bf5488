"""Settings and reading of a user's own table, shared by all experiments that read one."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.command_line import setting
from experiments.settings import Settings
from seqjax import data
from seqjax.data._table import MISSING, Table, column_names

TASK = "csv"


@dataclasses.dataclass(frozen=True)
class TableSettings(Settings):
    """How to read a table. The settings of every experiment with `--task=csv` inherit from it."""

    columns: str | None = setting(
        None,
        "columns of the file to read, by name: a,b,c; default: all that no other flag names",
        tasks=[TASK],
    )
    drop_columns: str | None = setting(
        None, "columns of the file to leave out, by name: a,b", tasks=[TASK]
    )
    group_column: str | None = setting(
        None,
        "column that says which sequence a row belongs to, where a row is a step (long format); "
        "sequences may have different lengths",
        tasks=[TASK],
    )
    time_column: str | None = setting(
        None,
        "column of numbers or ISO dates that sorts the steps; it is not an input",
        tasks=[TASK],
    )
    missing: str = setting(
        "refuse",
        "how to handle an empty cell; mean is the mean over the training rows",
        choices=MISSING,
        tasks=[TASK],
    )
    header: str = setting(
        "auto",
        "whether the file's first row holds names",
        choices=("auto", "yes", "no"),
        tasks=[TASK],
    )


def read_table(
    config: Any,
    path: str | None = None,
    *,
    columns: Sequence[str] | None = None,
    label_column: str | None = None,
) -> Table:
    """Reads the file that the settings name, or another file with the same settings.

    Args:
      config: `TableSettings` with a `path`.
      path: the file; by default `config.path`.
      columns: names of the columns; by default `config.columns`.
      label_column: column of classes.

    Returns:
      The table. With `--missing=mean` its gaps are not filled yet, because the training rows are
      not known here.

    Raises:
      DataError: if the file cannot be read or does not fit the settings.
    """
    chosen = tuple(columns or names_in(config.columns))
    return data.read_table(
        path or config.path or "",
        columns=chosen or None,
        drop_columns=names_in(config.drop_columns) if not chosen else (),
        label_column=label_column,
        group_column=config.group_column,
        time_column=config.time_column,
        missing="keep" if config.missing == "mean" else config.missing,
        header=config.header,
    )


def last_column(config: Any) -> str:
    """Returns the last column of the file that no other setting takes."""
    taken = {config.group_column, config.time_column, *names_in(config.drop_columns)}
    names = column_names(config.path or "", header=config.header)
    left = [name for name in names_in(config.columns) or names if name not in taken]
    if not left:
        raise data.DataError(f"csv: {config.path} must have a column that is left, got none.")
    return left[-1]


def warn_of_ids(table: Table, notify: Callable[[str], None]) -> None:
    """Warns about columns that look like an id, and names the setting to use for each."""
    for name, kind in id_columns(table).items():
        if kind == "sequence":
            notify(
                f"WARNING: column {name} looks like an id: each number stands in one block of "
                "rows. The model reads it as a number. If each block is a sequence, use "
                f"--group_column={name}; else leave it out with --drop_columns={name}."
            )
        else:
            notify(
                f"WARNING: column {name} looks like an id or a time: it grows by one from row to "
                "row. The model reads it as a number. Leave it out with "
                f"--drop_columns={name}, or, if rows are steps, use --time_column={name}."
            )


def names_in(text: str | None) -> tuple[str, ...]:
    """Returns the names in `a,b,c`."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def id_columns(table: Table) -> dict[str, str]:
    """Finds columns that look like an id: a model would learn them as values.

    Args:
      table: as it was read.

    Returns:
      Name to what it looks like: `row`, whole numbers that grow by one from row to row, or
      `sequence`, whole numbers each of which stands in one block of rows. Three blocks of two rows
      or more are required.

    Example:
      >>> id_columns(Table(("id", "x"), np.array([[1, 7], [1, 3], [2, 9], [2, 1], [5, 0], [5, 2]])))
      {'id': 'sequence'}
    """
    found = {}
    for name, column in zip(table.columns, table.values.T, strict=True):
        if len(column) < 3 or not (column == np.round(column)).all():
            continue
        steps = np.diff(column)
        inside = np.delete(steps, table.starts[1:] - 1)  # of sequences
        ends = np.append(np.flatnonzero(steps), len(steps))  # the last row of each block
        blocks = len(ends) > 2 and min(np.diff(ends, prepend=-1)) > 1
        if len(inside) > 1 and (inside == 1).all():
            found[name] = "row"
        elif not table.groups and blocks and len(np.unique(column)) == len(ends):
            found[name] = "sequence"
    return found
