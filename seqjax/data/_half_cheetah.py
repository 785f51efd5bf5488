"""Half-cheetah: the next observation of a running robot, from those before it.

Reference: Hasani et al. (2021), Liquid time-constant networks: windows and split are theirs.
"""

import numpy as np

from seqjax._checks import check_sizes
from seqjax._errors import first_line
from seqjax.data._data_dir import find_data
from seqjax.data._errors import DataError
from seqjax.data._sequences import Splits
from seqjax.data._text_file import AnyPath, regular_file
from seqjax.data._windows import next_step_windows

SOURCE = "https://github.com/raminmh/liquid_time_constant_networks"
_SPLITS = {"validation": range(5), "test": range(5, 15), "train": range(15, 25)}
_SIZE = 17


def load_half_cheetah(
    data_dir: AnyPath | None = None, *, length: int = 32, stride: int = 10
) -> Splits:
    """Loads the published split: traces 0-4 to validate, 5-14 to test, 15-24 to train.

    Each trace is 1000 observations of 17 numbers; with the published windows of 32 steps, 10 apart,
    there are 485, 970 and 970 of them.

    Args:
      data_dir: folder with `half_cheetah/trace_0000.npy` to `trace_0024.npy`, or that folder
        itself; `SEQJAX_DATA_DIR` by default.
      length: steps of a window.
      stride: steps from one window to the next.

    Returns:
      Inputs and targets of shape (N, length, 17) in the data's own units, float32, an answer at
      every step: the observation that follows.

    Raises:
      DataError: if a file is missing, damaged or of another shape.

    Example:
      >>> load_half_cheetah("data").train.inputs.shape  # doctest: +SKIP
      (970, 32, 17)
    """
    check_sizes("load_half_cheetah", length=length, stride=stride)
    names = ["half_cheetah/trace_0000.npy"]
    folder = find_data("half_cheetah", names, data_dir, SOURCE).parent
    windows = {}
    for split, numbers in _SPLITS.items():
        traces = [_read(folder / f"trace_{number:04d}.npy") for number in numbers]
        windows[split] = next_step_windows(traces, length, stride)
    return Splits(**windows)


def _read(path) -> np.ndarray:
    regular_file(path)
    try:
        with np.errstate(all="ignore"):
            trace = np.lib.format.open_memmap(path, mode="r").astype(np.float32)
    except Exception as error:  # NumPy raises whatever a broken header leads to
        reason = first_line(error)
        raise DataError(f"half_cheetah: {path} is damaged: {reason}. Copy it again.") from None
    if trace.ndim != 2 or trace.shape[1] != _SIZE or not np.isfinite(trace).all():
        raise DataError(
            f"half_cheetah: {path} must hold finite numbers of shape (steps, {_SIZE}), got shape "
            f"{trace.shape}. Copy it again."
        )
    return trace
