"""Electricity transformer temperature: long forecasts of seven variables.

Reference: Zhou et al. (2021), Informer: beyond efficient transformer for long sequence time-series
forecasting (the data); the split is the one of that paper and of those that followed.
"""

import itertools
from typing import NamedTuple

import numpy as np

from seqjax._checks import check_sizes
from seqjax.data._data_dir import find_data
from seqjax.data._errors import DataError
from seqjax.data._sequences import Splits
from seqjax.data._table import read_table
from seqjax.data._text_file import AnyPath
from seqjax.data._windows import forecast_windows

SOURCE = "https://github.com/zhouhaoyi/ETDataset"
ETT_VARIABLES = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
"""Columns of the file: six loads, and the oil temperature."""

_MONTHS = (12, 4, 4)  # to train, to validate, to test, of 30 days each


class ETT(NamedTuple):
    """Forecasting windows in standard units, and what leads back to the data's own.

    Attributes:
      splits: windows to train on, to validate and to test.
      mean: of each variable over the training rows.
      std: standard deviation of each variable over the training rows.
    """

    splits: Splits
    mean: np.ndarray
    std: np.ndarray


def load_ett(
    data_dir: AnyPath | None = None, *, name: str = "ETTh1", lookback: int = 96, horizon: int = 96
) -> ETT:
    """Loads the published split: 12 months to train, 4 to validate, 4 to test.

    Months have 30 days. Every variable is standardised by the training rows. The windows to
    validate and to test may look back across the border into the part before them, so that there
    are as many whatever the lookback: 2880 - horizon + 1 hourly ones.

    Args:
      data_dir: folder with `ett/ETTh1.csv`, or with the file itself; `SEQJAX_DATA_DIR` by default.
      name: ETTh1 or ETTh2 (hourly), ETTm1 or ETTm2 (every quarter of an hour).
      lookback: steps that are seen.
      horizon: steps to predict.

    Returns:
      `splits.train`, `.validation` and `.test`, `Sequences` in standard units with inputs
      (N, lookback, 7) and targets (N, horizon, 7), float32; `mean` and `std` of each variable over
      the training rows lead back to the data's own.

    Raises:
      DataError: if the file is missing, damaged or too short, or the windows do not fit it.

    Example:
      >>> load_ett("data").splits.test.inputs.shape  # doctest: +SKIP
      (2785, 96, 7)
    """
    check_sizes("load_ett", lookback=lookback, horizon=horizon)
    if name not in ("ETTh1", "ETTh2", "ETTm1", "ETTm2"):
        raise DataError(f"ett: `name` must be ETTh1, ETTh2, ETTm1 or ETTm2, got {name!r}.")
    path = find_data("ett", [f"ett/{name}.csv"], data_dir, SOURCE)
    try:
        rows = read_table(path, columns=ETT_VARIABLES).values
    except DataError as error:
        raise DataError(f"ett: {str(error).partition(' Fix ')[0]} Copy it again.") from None
    borders = np.cumsum([0, *_MONTHS]) * 30 * 24 * (4 if name.startswith("ETTm") else 1)
    if len(rows) < borders[-1]:
        raise DataError(
            f"ett: {path} must have at least {borders[-1]} rows, 20 months, got {len(rows)}. "
            "Copy it again."
        )
    if lookback > borders[1]:
        raise DataError(
            f"ett: the lookback must be at most the {borders[1]} training rows, got {lookback}."
        )
    train = rows[: borders[1]]
    mean, std = train.mean(axis=0), train.std(axis=0)
    rows = ((rows - mean) / std).astype(np.float32)
    parts = []
    for first, last in itertools.pairwise(borders.tolist()):
        seen_from = max(0, first - lookback)
        parts.append(forecast_windows(rows[seen_from:last], lookback, horizon))
    return ETT(Splits(*parts), mean, std)
