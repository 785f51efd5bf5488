"""Modules only wire: most of the time of their tests would be compilation of what they call."""

import jax
import pytest

import seqjax
from seqjax.nn import _recurrent as recurrent

_unroll = jax.jit(seqjax.unroll, static_argnums=0, static_argnames=("reverse", "executor"))


@pytest.fixture
def shared_programs(monkeypatch):
    """Lets modules with the same cell, shapes and arguments share one compiled `unroll`."""
    monkeypatch.setattr(recurrent, "unroll", _unroll)
