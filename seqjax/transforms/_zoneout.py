"""Zoneout: units keep their old value at random steps."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqjax._checks import check_rates
from seqjax.cells._cell import Cell, check_cell
from seqjax.cells._gated import GatedCell
from seqjax.cells._linear import LinearCell
from seqjax.cells._noise import Draw
from seqjax.cells._operations import bind
from seqjax.transforms._noisy import NoisyLinear, NoisyStep, with_update

DEFAULT_FIELDS = ("hidden", "cell")


def zoneout(cell: Cell, rate: float | Mapping[str, float]) -> Cell:
    """At every step, lets each unit keep its old value with probability `p`.

        s_t = d_t * s_{t-1} + (1 - d_t) * s'_t,     d_t ~ Bernoulli(p)

    where `s'_t` is the state after the step of `cell`. Each field of the state has its own `p` and
    `d`. The step of `cell` first computes all new fields; only then do units keep old values.
    Without a key, as at test time, `p` replaces `d_t`. A linear cell stays linear: its coefficients
    become `d + (1 - d) a` and `(1 - d) b`.

    Args:
      cell: any cell.
      rate: `p` of each field by name, such as `{"hidden": 0.05, "cell": 0.5}`; or one number, if
        the state has only the fields `hidden` and `cell`.

    Returns:
      The cell, of the same kind. Its parameters and its state are those of `cell`.

    Raises:
      ValueError: if a rate is not in [0, 1); if the state has no field of a given name; or if
        `rate` is a number and the state has other fields than `hidden` and `cell`.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.transforms.zoneout(seqjax.lstm(4), {"hidden": 0.05, "cell": 0.5})
      >>> params, xs = cell.init(jax.random.key(0), 3), jnp.ones((7, 2, 3))
      >>> noisy, _ = seqjax.unroll(cell, params, xs, key=jax.random.key(1))
      >>> test, _ = seqjax.unroll(cell, params, xs)
      >>> noisy.shape, bool((noisy == test).all())
      ((7, 2, 4), False)

    Reference: Krueger et al. (2017), Zoneout: regularizing RNNs by randomly preserving hidden
    activations.
    """
    check_cell("seqjax.transforms.zoneout", cell)
    rates = _rates(cell, rate)
    if isinstance(cell, LinearCell):
        noise = Draw("hidden", dict(rates)["hidden"])
        return NoisyLinear(
            cell.hidden_size, name=cell.name, inner=cell, noise=noise, change=_linear_zoned
        )
    if isinstance(cell, GatedCell):
        draws = tuple(Draw(f"zoneout_{field}", p) for field, p in rates)
        update = bind(_zoned_update, inner_update=cell.update, zoneout_rates=rates)
        return with_update("zoneout", cell, draws, update)
    draws = tuple(Draw(*each) for each in rates)
    return NoisyStep(cell.hidden_size, name=cell.name, inner=cell, noise=draws, change=_zoned)


def _rates(cell: Cell, rate: float | Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    where = "seqjax.transforms.zoneout"
    fields = _fields(cell)
    if not isinstance(rate, Mapping):
        check_rates(where, rate=rate)
        if others := sorted({*fields} - {*DEFAULT_FIELDS, "fresh"}):
            raise ValueError(
                f"{where}: `rate` must name fields of {cell!r}, whose state also has {others}, "
                f"got {rate!r}. Write rate={{'hidden': {rate}}}."
            )
        rate = {field: rate for field in fields if field in DEFAULT_FIELDS}
    if unknown := sorted({*rate} - {*fields} | {*rate} & {"fresh"}):
        raise ValueError(f"{where}: `rate` must name fields of {cell!r}, {fields}, got {unknown}.")
    if not rate:
        raise ValueError(f"{where}: `rate` must name at least one field, got none.")
    check_rates(where, **{f"rate[{field!r}]": p for field, p in rate.items()})
    return tuple(rate.items())


def _fields(cell: Cell) -> tuple[str, ...]:
    """Returns the names of the fields of the state."""

    def initial_state(key: Array) -> Any:
        return cell.initial_state(cell.init(key, cell.out_size))

    return jax.eval_shape(initial_state, jax.random.key(0))._fields


def _zoned(new: Array, old: Array, hit: Array | None, rate: float) -> Array:
    if hit is None:
        return rate * old + (1 - rate) * new
    return jnp.where(hit > 0, old, new)


def _zoned_update(state: Any, *, inner_update: Any, zoneout_rates: Any, **values: Any) -> Any:
    hit = {field: values.pop(f"zoneout_{field}", None) for field, _ in zoneout_rates}
    new = inner_update(state, **values)
    zoned = {
        field: _zoned(getattr(new, field), getattr(state, field), hit[field], rate)
        for field, rate in zoneout_rates
    }
    return new._replace(**zoned)


def _linear_zoned(a: Array, b: Array, hit: Array | None, rate: float) -> tuple[Array, Array]:
    if hit is None:
        return rate + (1 - rate) * a, (1 - rate) * b
    return jnp.where(hit, 1, a), jnp.where(hit, 0, b)
