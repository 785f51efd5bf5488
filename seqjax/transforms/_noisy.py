"""Adds noise to a cell of any kind: to its `update`, its coefficients or its step."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from jax import Array

from seqjax.cells._cell import Cell
from seqjax.cells._gated import GatedCell
from seqjax.cells._linear import spread
from seqjax.cells._noise import Draw, Noise, Noisy, hits
from seqjax.cells._operations import Bound
from seqjax.cells._wrapped import WrappedCell, WrappedLinear


def with_update(where: str, cell: GatedCell, draws: tuple[Draw, ...], update: Bound) -> GatedCell:
    """Returns the cell with another `update`, which takes the booleans of `draws` by name."""
    taken = {each.name for each in cell.noise}
    if any(each.name in taken for each in draws):
        raise ValueError(
            f"seqjax.transforms.{where}: a cell can be transformed once, got {cell!r} that already "
            "is. Give all rates in one call."
        )
    return dataclasses.replace(cell, update=update, noise=(*cell.noise, *draws))


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class NoisyLinear(WrappedLinear):
    """A linear cell with noise in its coefficients. It stays linear.

    Attributes:
      noise: the draw that makes one boolean for every number of the state.
      change: `change(a, b, hit, rate) -> (a, b)`; `hit` is None at test time.
    """

    noise: Draw
    change: Callable[..., tuple[Array, Array]]
    draws_noise = True

    def draw(self, key: Array, xs: Array) -> Noise:
        """Returns the noise of the inner cell together with its own."""
        return _drawn(self.inner, key, xs, hits, (xs, self.state_shape, self.noise))

    def project(self, params, xs, *starts, noise=None) -> Any:
        """Returns the changed coefficients."""
        (a, b), own = _projected(self.inner, params, xs, starts, noise)
        return self.change(spread(a, b), b, own, self.noise.rate)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class NoisyStep(WrappedCell):
    """A cell of any kind with noise in its new state.

    Attributes:
      noise: one draw of booleans for each field that changes.
      change: `change(new, old, hit, rate) -> new`, for one field; `hit` is None at test time.
    """

    noise: tuple[Draw, ...]
    change: Callable[..., Array]
    draws_noise = True

    def draw(self, key: Array, xs: Array) -> Noise:
        """Returns the noise of the inner cell together with its own."""
        return _drawn(self.inner, key, xs, self._hits, (xs,))

    def _hits(self, key: Array, xs: Array) -> dict[str, Array]:
        # The state without batch axes has the shape of each field.
        params = jax.eval_shape(lambda key: self.inner.init(key, xs.shape[-1]), key)
        state = jax.eval_shape(lambda params: self.inner.initial_state(params), params)
        shapes = {each.name: getattr(state, each.name).shape for each in self.noise}
        return {
            each.name: hits(jax.random.fold_in(key, index), xs, shapes[each.name], each)
            for index, each in enumerate(self.noise)
        }

    def project(self, params, xs, *starts, noise=None) -> Noisy:
        """Returns the drive of the inner cell together with the noise."""
        return _projected(self.inner, params, xs, starts, noise)

    def step(self, params, state, drive) -> Any:
        """Steps the inner cell and changes the new state."""
        new = self.inner.step(params, state, drive.drive)
        changed = {
            each.name: self.change(
                getattr(new, each.name),
                getattr(state, each.name),
                None if drive.noise is None else drive.noise[each.name],
                each.rate,
            )
            for each in self.noise
        }
        return new._replace(**changed)


def _projected(inner: Cell, params: Any, xs: Array, starts: Any, noise: Any) -> Noisy:
    """Returns the drive of the inner cell and the outer noise; the inner cell may be noisy too."""
    of_inner, own = (None, None) if noise is None else noise
    keywords = {} if of_inner is None else {"noise": of_inner}
    return Noisy(inner.project(params, xs, *starts, **keywords), own)


def _drawn(
    inner: Cell, key: Array, xs: Array, draw: Callable[..., Any], arguments: tuple[Any, ...]
) -> Noise:
    inner_key, own_key = jax.random.split(key)
    noise = inner.draw(inner_key, xs) if inner.draws_noise else Noise()
    return noise._replace(steps=(noise.steps, draw(own_key, *arguments)))
