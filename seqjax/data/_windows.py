"""Windows over a long series: what was seen, and what is to be predicted."""

from collections.abc import Sequence

import numpy as np

from seqjax._checks import check_sizes
from seqjax.data._checks import check_ids
from seqjax.data._errors import DataError
from seqjax.data._sequences import Sequences, make_sequences


def forecast_windows(
    series: np.ndarray,
    lookback: int,
    horizon: int,
    *,
    stride: int = 1,
    columns: Sequence[int] | None = None,
) -> Sequences:
    """Cuts a series into windows of `lookback` steps, each followed by `horizon` steps to predict.

        inputs_i = series[i s : i s + L],    targets_i = series[i s + L : i s + L + H]

    Args:
      series: shape (T, D).
      lookback: steps that are seen, L.
      horizon: steps to predict, H.
      stride: steps from one window to the next, s.
      columns: variables to predict; all by default.

    Returns:
      Inputs (N, L, D) and targets (N, H, K) that share the memory of `series` where they can;
      N = (T - L - H) // s + 1.

    Raises:
      ValueError: if a number is below 1 or the series is not of shape (T, D).
      DataError: if the series is too short for one window.

    Example:
      >>> windows = forecast_windows(np.arange(6.0)[:, None], lookback=3, horizon=2)
      >>> windows.inputs[1, :, 0].tolist(), windows.targets[1, :, 0].tolist()
      ([1.0, 2.0, 3.0], [4.0, 5.0])
    """
    if series.ndim != 2:
        raise ValueError(f"forecast_windows: `series` must have shape (T, D), got {series.shape}.")
    check_sizes("forecast_windows", lookback=lookback, horizon=horizon, stride=stride)
    if columns is not None:
        columns = check_ids("forecast_windows", "columns", columns, series.shape[1]).tolist()
    if len(series) < lookback + horizon:
        raise DataError(
            f"forecast: a series must have at least lookback + horizon = {lookback} + {horizon} "
            f"= {lookback + horizon} steps, got {len(series)}. Shorten the lookback or the horizon."
        )
    whole = np.lib.stride_tricks.sliding_window_view(series, lookback + horizon, axis=0)[::stride]
    whole = whole.swapaxes(1, 2)
    targets = whole[:, lookback:] if columns is None else whole[:, lookback:, columns]
    return make_sequences(whole[:, :lookback], targets)


def next_step_windows(traces: list[np.ndarray], length: int, stride: int) -> Sequences:
    """Cuts traces into windows in which every step is to be predicted from those before it.

        inputs_i = trace[i s : i s + L],    targets_i = trace[i s + 1 : i s + L + 1]

    Args:
      traces: arrays of shape (T, D); no window spans two of them.
      length: steps of a window, L.
      stride: steps from one window to the next, s.

    Returns:
      Inputs and targets of shape (N, L, D), an answer at every step.

    Raises:
      ValueError: if a number is below 1.
      DataError: if a trace is too short for one window.

    Example:
      >>> next_step_windows([np.zeros((1000, 17))], length=32, stride=10).inputs.shape
      (97, 32, 17)
    """
    check_sizes("next_step_windows", length=length, stride=stride)
    if not len(traces):
        raise DataError("next_step_windows: there must be at least one trace, got none.")
    inputs, targets = [], []
    for number, trace in enumerate(traces):
        if trace.ndim != 2 or trace.shape[1] != traces[0].shape[-1]:
            raise ValueError(
                f"next_step_windows: every trace must have shape (T, {traces[0].shape[-1]}), got "
                f"{trace.shape} for trace {number}."
            )
        if len(trace) <= length:
            raise DataError(
                f"windows: trace {number} must have more than {length} steps, the length of a "
                f"window, got {len(trace)}. Shorten the window."
            )
        whole = np.lib.stride_tricks.sliding_window_view(trace, length + 1, axis=0)[::stride]
        whole = whole.swapaxes(1, 2)
        inputs.append(whole[:, :-1])
        targets.append(whole[:, 1:])
    return make_sequences(np.concatenate(inputs), np.concatenate(targets), every_step=True)
