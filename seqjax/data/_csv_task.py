"""Tasks from a user's own table: windows over one long series, or a sequence in each row."""

from collections.abc import Sequence

import numpy as np

from seqjax.data._errors import DataError
from seqjax.data._sequences import Splits, make_sequences
from seqjax.data._table import Table
from seqjax.data._windows import forecast_windows


def series_splits(
    table: Table,
    lookback: int,
    horizon: int,
    *,
    targets: Sequence[str] | None = None,
    fractions: tuple[float, float] = (0.15, 0.15),
) -> Splits:
    """Forecasts of one long series, a row a step; its last rows test, those before them validate.

    Windows to validate and to test look back across the border, as in `load_ett`.

    Args:
      table: rows in the order of time.
      lookback: steps that are seen.
      horizon: steps that are to be foretold.
      targets: names of the columns to foretell; all by default.
      fractions: parts of the rows that validate and test.

    Returns:
      Inputs (N, lookback, columns), targets (N, horizon, targets), float32.

    Raises:
      DataError: if a target is missing, or the series too short for a window in every part.

    Example:
      >>> table = Table(("a",), np.arange(100.0)[:, None], "")
      >>> [len(part.inputs) for part in series_splits(table, lookback=5, horizon=3)]
      [63, 13, 13]
    """
    columns = [_column(table, name) for name in targets] if targets else None
    rows = table.values.astype(np.float32)
    ends = _ends(len(rows), fractions)
    if lookback > ends[0]:
        raise DataError(
            f"csv: the lookback must be at most the {ends[0]} rows that train, got {lookback}."
        )
    parts = []
    for name, first, last in zip(("train", "validate", "test"), (0, *ends[:-1]), ends, strict=True):
        needed = horizon + (lookback if first == 0 else 0)
        if last - first < needed:
            raise DataError(
                f"csv: the {last - first} of {len(rows)} rows that {name} must be at least "
                f"{needed} for lookback {lookback} and horizon {horizon}. Shorten them, or "
                "bring more rows."
            )
        parts.append(
            forecast_windows(
                rows[max(0, first - lookback) : last], lookback, horizon, columns=columns
            )
        )
    return Splits(*parts)


def row_splits(
    table: Table,
    *,
    features: int = 1,
    binary: bool = False,
    fractions: tuple[float, float] = (0.15, 0.15),
    seed: int = 0,
) -> Splits:
    """A sequence in each row, its answer in the last column; which rows test is drawn by `seed`.

    Args:
      table: rows of examples.
      features: numbers a step, D; a row is its steps one after the other.
      binary: whether the answer is a class, 0 or 1, or a number.
      fractions: parts of the rows that validate and test.
      seed: of the draw.

    Returns:
      Inputs (N, (columns - 1) / D, D), float32; targets float32 (N, 1), or classes int32 (N,).

    Raises:
      DataError: if the columns do not make whole steps, a binary answer is neither 0 nor 1, or
        there are too few rows.

    Example:
      >>> table = Table(("a", "b", "y"), np.arange(60.0).reshape(20, 3), "")
      >>> splits = row_splits(table)
      >>> splits.train.inputs.shape, splits.test.targets.shape
      ((14, 2, 1), (3, 1))
    """
    rows, width = table.values.shape
    if width < 2 or (width - 1) % features:
        raise DataError(
            f"csv: the columns before the last must make steps of {features} numbers, got "
            f"{width - 1} columns. Mend --features, or choose the columns with --columns."
        )
    answers = table.values[:, -1]
    if binary:
        for row in np.flatnonzero((answers != 0) & (answers != 1))[:1]:
            raise DataError(
                f"csv: a binary target must be 0 or 1, got {answers[row]:g} in column "
                f"{table.columns[-1]} of example {row + 1}. Mend it, or use --target_kind=numeric."
            )
        targets = answers.astype(np.int32)
    else:
        targets = answers[:, None].astype(np.float32)
    ends = _ends(rows, fractions)
    sizes = np.diff([0, *ends])
    if min(sizes) < 1:
        raise DataError(
            f"csv: there must be enough rows to train, validate and test, got {rows}. Bring more."
        )
    inputs = table.values[:, :-1].reshape(rows, -1, features).astype(np.float32)
    order = np.random.default_rng(seed).permutation(rows)
    parts = np.split(order, ends[:-1])
    return Splits(*(make_sequences(inputs[part], targets[part]) for part in parts))


def _ends(rows: int, fractions: tuple[float, float]) -> tuple[int, int, int]:
    validation, test = (int(rows * fraction) for fraction in fractions)
    return rows - validation - test, rows - test, rows


def _column(table: Table, name: str) -> int:
    if name not in table.columns:
        raise DataError(
            f"csv: the target {name!r} must be one of the columns {', '.join(table.columns)}."
        )
    return table.columns.index(name)
