"""Layer normalisation of the gates."""

import dataclasses
from typing import Any

from jax import Array

from seqjax.cells._gated import GatedCell
from seqjax.cells._initializers import ones
from seqjax.cells._operations import bind, normalised
from seqjax.transforms._variational_dropout import check_gated


def layer_norm(cell: GatedCell, *, epsilon: float = 1e-5) -> GatedCell:
    """Normalises each gate over the units of an example before `update` sees it.

        LN(z) = gamma * (z - mean(z)) / sqrt(var(z) + epsilon)

    `gamma` is learned, one number per unit and gate, and starts at 1. The bias of the gate is added
    before the normalisation. The two parts of an unsummed gate, such as the candidate of a GRU, are
    normalised separately.

    Differs from `layer_norm_lstm` and `layer_norm_gru`. Those cells normalise the product with the
    input and the product with the state separately, each over several gates together.

    Args:
      cell: a `GatedCell`.
      epsilon: added to the variance.

    Returns:
      The cell. Its `params.units` has one more entry per gate, `gamma_<gate>`, and one more per
      unsummed gate, `gamma_<gate>_recurrent`. Its state is that of `cell`.

    Raises:
      TypeError: if `cell` is not a `GatedCell`.
      ValueError: if `epsilon` is not above 0, or `cell` is already normalised.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.transforms.layer_norm(seqjax.gru(4))
      >>> params = cell.init(jax.random.key(0), 3)
      >>> sorted(params.units)
      ['gamma_candidate', 'gamma_candidate_recurrent', 'gamma_reset', 'gamma_update']
      >>> seqjax.unroll(cell, params, jnp.ones((7, 2, 3)))[0].shape
      (7, 2, 4)

    Reference: Ba, Kiros and Hinton (2016), Layer normalization.
    """
    where = "seqjax.transforms.layer_norm"
    check_gated("layer_norm", cell, product=False)
    if not epsilon > 0:
        raise ValueError(f"{where}: `epsilon` must be above 0, got {epsilon!r}.")
    names = [f"gamma_{gate}" for gate in cell.gates]
    names += [f"gamma_{gate}_recurrent" for gate in cell.unsummed]
    if {name for name, _ in cell.units} & {*names}:
        raise ValueError(f"{where}: a cell can be normalised once, got {cell!r} that already is.")

    def with_norm(function: Any) -> Any:
        return bind(_normalised, inner_function=function, gain_names=tuple(names), epsilon=epsilon)

    return dataclasses.replace(
        cell,
        update=with_norm(cell.update),
        inner_state=None if cell.inner_state is None else with_norm(cell.inner_state),
        units=(*cell.units, *((name, ones) for name in names)),
        rowwise=True,
    )


def _normalised(
    state: Any, *, inner_function: Any, gain_names: tuple[str, ...], epsilon: float, **values: Any
) -> Any:
    gains = {name: values.pop(name) for name in gain_names}

    def norm(z: Array, name: str) -> Array:
        return gains[name] * normalised(z, epsilon)

    for gate in [name.removeprefix("gamma_") for name in gain_names]:
        match values.get(gate):
            case (drive, recurrent):
                both = f"gamma_{gate}", f"gamma_{gate}_recurrent"
                values[gate] = norm(drive, both[0]), norm(recurrent, both[1])
            case None:  # an inner gate, which `inner_state` does not see
                pass
            case z:
                values[gate] = norm(z, f"gamma_{gate}")
    return inner_function(state, **values)
