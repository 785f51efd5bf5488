"""A cell that wraps another cell and changes some of its stages."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import Array

from seqjax.cells._cell import Cell, flat_inputs, read_out
from seqjax.cells._linear import LinearCell
from seqjax.cells._noise import Noise


def _of_inner(name: str) -> Any:
    """Returns a property that has the value of the inner cell."""
    return property(lambda self: getattr(self.inner, name))


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class WrappedCell(Cell):
    """Passes every stage on to `inner`; a subclass overrides what it changes."""

    inner: Cell

    out_size = _of_inner("out_size")  # pyright: ignore[reportIncompatibleMethodOverride]
    input_shape = _of_inner("input_shape")  # pyright: ignore[reportIncompatibleMethodOverride]
    uses_starts = _of_inner("uses_starts")
    full_precision = _of_inner("full_precision")
    draws_noise = _of_inner("draws_noise")

    def init(self, key, in_size, dtype=jnp.float32) -> Any:
        return self.inner.init(key, in_size, dtype)

    def initial_state(self, params, batch_shape=(), dtype=jnp.float32) -> Any:
        return self.inner.initial_state(params, batch_shape, dtype)

    def draw(self, key: Array, xs: Array) -> Noise:
        return self.inner.draw(key, xs)

    def prepare(self, params, *key) -> Any:
        return self.inner.prepare(params, *key)

    def project(self, params, xs, *starts, **noise) -> Any:
        return self.inner.project(params, xs, *starts, **noise)

    def step(self, params, state, drive) -> Any:
        return self.inner.step(params, state, drive)

    def output(self, params, states, xs) -> Array:
        return read_out(self.inner, params, states, flat_inputs(self.inner, xs))

    def partition(self, params) -> Any:
        return self.inner.partition(params)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class WrappedLinear(WrappedCell, LinearCell):  # pyright: ignore[reportIncompatibleVariableOverride]
    """The same for a `LinearCell`, which stays one."""

    inner: LinearCell

    complex_state = _of_inner("complex_state")
    state_shape = _of_inner("state_shape")  # pyright: ignore[reportIncompatibleMethodOverride]

    def coefficients(self, params, xs, *starts) -> tuple[Array, Array]:
        return self.project(params, xs, *starts)

    def step(self, params, state, drive) -> Any:
        return LinearCell.step(self, params, state, drive)

    def jacobian(self, params, state, drive) -> Array:
        return LinearCell.jacobian(self, params, state, drive)
