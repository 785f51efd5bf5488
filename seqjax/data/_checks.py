"""Checks of arguments on the host, beside those of `seqjax._checks`."""

import math
from collections.abc import Iterable, Sized
from typing import Any

import numpy as np


def check_numbers(where: str, *, at_least: float = 0.0, **numbers: Any) -> None:
    """Refuses what is not a finite number of at least `at_least`."""
    for name, number in numbers.items():
        real = isinstance(number, int | float | np.integer | np.floating)
        if not real or not (math.isfinite(number) and number >= at_least):
            raise ValueError(
                f"{where}: `{name}` must be a finite number of at least {at_least:g}, got "
                f"{number!r}."
            )


def check_ids(where: str, name: str, ids: Any, size: int | None = None) -> np.ndarray:
    """Returns an array of ids; refuses what is not of integers (N,) from 0 to size - 1."""
    found = np.asarray(ids)
    found = found.astype(int) if not found.size else found
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer):
        raise ValueError(
            f"{where}: `{name}` must be integers of shape (N,), got {found.dtype} of shape "
            f"{found.shape}."
        )
    high = "" if size is None else f" to {size - 1}"
    if found.min(initial=0) < 0 or (size is not None and found.max(initial=0) >= size):
        wrong = found[(found < 0) | (found >= (np.inf if size is None else size))][0]
        raise ValueError(f"{where}: `{name}` must lie in 0{high or ' and above'}, got {wrong}.")
    return found


def check_texts(where: str, name: str, texts: Any) -> None:
    """Refuses one text where several are wanted: it would be read letter by letter."""
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise TypeError(
            f"{where}: `{name}` must be a sequence of texts, got {str(texts)[:40]!r}. Put one text "
            "into a list."
        )


def check_pair(where: str, **pair: Sized) -> None:
    """Refuses two sequences of different length."""
    (first, ones), (second, others) = pair.items()
    if len(ones) != len(others):
        raise ValueError(
            f"{where}: `{first}` and `{second}` must have one length, got {len(ones)} and "
            f"{len(others)}."
        )
