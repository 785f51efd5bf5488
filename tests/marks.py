"""Which cases of a test run by default."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def with_usual(cases: Iterable[Any], usual: Collection[Any]) -> list[Any]:
    """Returns cases as parameters; those that are not usual run with `pytest -m extended` only.

    Args:
      cases: each a value, or a tuple of values.
      usual: cases that stand for the others.
    """
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=() if case in usual else pytest.mark.extended,
        )
        for case in cases
    ]
