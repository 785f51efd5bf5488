"""Tasks from a user's own table: windows over long series, or one answer to each sequence."""

import math
from collections.abc import Sequence

import numpy as np

from seqjax.data._errors import DataError
from seqjax.data._sequences import Sequences, Splits, make_sequences, padded
from seqjax.data._table import Table
from seqjax.data._windows import forecast_windows

FRACTIONS = (0.15, 0.15)
"""Parts of the rows that validate and test."""


def series_training_rows(table: Table, fractions: tuple[float, float] = FRACTIONS) -> np.ndarray:
    """Returns the rows that train in `series_splits`: all but the last of each series."""
    ends = np.append(table.starts[1:], len(table.values))
    return np.concatenate([
        np.arange(start, start + _ends(end - start, fractions)[0])
        for start, end in zip(table.starts.tolist(), ends.tolist(), strict=True)
    ])  # fmt: skip


def series_splits(
    table: Table,
    lookback: int,
    horizon: int,
    *,
    targets: Sequence[str] | None = None,
    fractions: tuple[float, float] = FRACTIONS,
) -> Splits:
    """Forecasts of long series, a row a step; their last rows test, those before them validate.

    Windows to validate and to test look back across the border, as in `load_ett`. No window spans
    two groups.

    Args:
      table: rows in the order of time.
      lookback: steps that are seen.
      horizon: steps to predict.
      targets: names of the columns to predict; all by default.
      fractions: parts of the rows of each series that validate and test.

    Returns:
      Inputs (N, lookback, columns), targets (N, horizon, targets), float32.

    Raises:
      DataError: if a target is missing, or a series too short for a window in every part.

    Example:
      >>> table = Table(("a",), np.arange(100.0)[:, None])
      >>> [len(part.inputs) for part in series_splits(table, lookback=5, horizon=3)]
      [63, 13, 13]
    """
    columns = [_column(table, name) for name in targets] if targets else None
    found = []
    for number, rows in enumerate(table.sequences):
        whose = f" of {table.groups[table.starts[number]]}" if table.groups else ""
        rows, ends = rows.astype(np.float32), _ends(len(rows), fractions)
        if lookback > ends[0]:
            raise DataError(
                f"csv: the lookback must be at most the {ends[0]} rows{whose} that train, got "
                f"{lookback}."
            )
        parts = []
        names = ("train", "validate", "test")
        for name, first, last in zip(names, (0, *ends[:-1]), ends, strict=True):
            needed = horizon + (lookback if first == 0 else 0)
            if last - first < needed:
                raise DataError(
                    f"csv: the {last - first} of {len(rows)} rows{whose} that {name} must be at "
                    f"least {needed} for lookback {lookback} and horizon {horizon}. Shorten them, "
                    "or bring more rows."
                )
            seen = rows[max(0, first - lookback) : last]
            parts.append(forecast_windows(seen, lookback, horizon, columns=columns))
        found.append(parts)
    if len(found) == 1:  # windows of one series share its memory
        return Splits(*found[0])
    return Splits(*(
        Sequences(*map(np.concatenate, zip(*parts, strict=True)))
        for parts in zip(*found, strict=True)
    ))  # fmt: skip


def row_parts(
    table: Table, *, fractions: tuple[float, float] = FRACTIONS, seed: int = 0
) -> list[np.ndarray]:
    """Returns the sequences that train, validate and test in `row_splits`, drawn by `seed`.

    Raises:
      DataError: if there are too few.
    """
    number = len(table.starts) if table.groups else len(table.values)
    ends = _ends(number, fractions)
    if min(np.diff([0, *ends])) < 1:
        what = "sequences" if table.groups else "rows"
        raise DataError(
            f"csv: there must be enough {what} to train, validate and test, got {number}. Bring "
            "more."
        )
    return np.split(np.random.default_rng(seed).permutation(number), ends[:-1])


def row_splits(
    table: Table,
    *,
    features: int = 1,
    binary: bool = False,
    fractions: tuple[float, float] = FRACTIONS,
    seed: int = 0,
) -> Splits:
    """A sequence in each row or group, its answer in the last column; `seed` draws which test.

    Args:
      table: rows of examples; with groups, rows of steps.
      features: numbers a step, D; a row is its steps one after the other.
      binary: whether the answer is a class, 0 or 1, or a number.
      fractions: parts of the sequences that validate and test.
      seed: of the draw.

    Returns:
      Inputs (N, (columns - 1) / D, D), float32; targets float32 (N, 1), or classes int32 (N,). Of
      groups inputs are (N, T, columns - 1), with zeros behind the `lengths` of each.

    Raises:
      DataError: if the columns do not make whole steps, a binary answer is neither 0 nor 1, a group
        has two answers, or there are too few sequences.

    Example:
      >>> table = Table(("a", "b", "y"), np.arange(60.0).reshape(20, 3))
      >>> splits = row_splits(table)
      >>> splits.train.inputs.shape, splits.test.targets.shape
      ((14, 2, 1), (3, 1))
    """
    width = table.values.shape[1]
    if width < 2 or (width - 1) % features:
        raise DataError(
            f"csv: the columns before the last must make steps of `features` = {features} numbers, "
            f"got {width - 1} columns. Change `features`, or choose other `columns`."
        )
    answers = table.values[:, -1]
    for row in np.flatnonzero(np.isnan(answers))[:1]:
        raise DataError(
            f"csv: an answer is required, got an empty cell in column {table.columns[-1]} of row "
            f"{row + 1} of the numbers. Fill it, or drop the row."
        )
    if table.groups:
        sequences = padded(table.first(width - 1).sequences)
        answers = only_answers(table, answers)
    else:
        steps = table.values[:, :-1].reshape(len(answers), -1, features)
        sequences = make_sequences(steps.astype(np.float32), answers)
    if binary:
        for row in np.flatnonzero((answers != 0) & (answers != 1))[:1]:
            raise DataError(
                f"csv: a binary answer must be 0 or 1, got {answers[row]:g} in column "
                f"{table.columns[-1]} of example {row + 1}. Fix it, or read numeric answers."
            )
        targets = answers.astype(np.int32)
    else:
        targets = answers[:, None].astype(np.float32)
    parts = row_parts(table, fractions=fractions, seed=seed)
    return Splits(*(
        sequences._replace(targets=targets).take(part) for part in parts
    ))  # fmt: skip


def only_answers(table: Table, answers: np.ndarray) -> np.ndarray:
    """Returns the answer of each group out of those of its rows, which must be the same.

    Raises:
      DataError: naming the group if they are not.
    """
    found = np.split(answers, table.starts[1:])
    for start, mine in zip(table.starts.tolist(), found, strict=True):
        if (mine != mine[0]).any():
            other = mine[mine != mine[0]][0]
            raise DataError(
                f"csv: the rows of a sequence must have one answer, got {mine[0]} and {other} in "
                f"those of {table.groups[start]}. Fix them."
            )
    return answers[table.starts]


def _ends(rows: int, fractions: tuple[float, float]) -> tuple[int, int, int]:
    if not (min(fractions) >= 0 and math.fsum(fractions) < 1):
        raise ValueError(
            f"seqjax.data: `fractions` of at least 0 whose sum is below 1 are required, got "
            f"{fractions}."
        )
    validation, test = (int(rows * fraction) for fraction in fractions)
    return rows - validation - test, rows - test, rows


def _column(table: Table, name: str) -> int:
    if name not in table.columns:
        raise DataError(
            f"csv: the target {name!r} must be one of the columns {', '.join(table.columns)}."
        )
    return table.columns.index(name)
