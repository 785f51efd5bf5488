"""A cell that wraps another cell and changes some of its stages."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import Array

from seqjax.cells._cell import Cell, flat_inputs, read_out
from seqjax.cells._linear import LinearCell
from seqjax.cells._noise import Noise


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class WrappedCell(Cell):
    """Passes every stage on to `inner`; a subclass overrides what it changes."""

    inner: Cell

    @property
    def out_size(self) -> int:
        return self.inner.out_size

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.inner.input_shape

    @property
    def uses_starts(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.uses_starts

    @property
    def full_precision(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.full_precision

    @property
    def draws_noise(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.draws_noise

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

    @property
    def complex_state(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.complex_state

    @property
    def state_shape(self) -> tuple[int, ...]:
        return self.inner.state_shape

    def coefficients(self, params, xs, *starts) -> tuple[Array, Array]:
        return self.project(params, xs, *starts)

    def step(self, params, state, drive) -> Any:
        return LinearCell.step(self, params, state, drive)

    def jacobian(self, params, state, drive) -> Array:
        return LinearCell.jacobian(self, params, state, drive)
