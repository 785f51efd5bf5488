"""From arrays to blocks and back: the one pair of functions that reads the table of conventions.

It works on NumPy and on JAX arrays, traced ones too, so that a gradient can be taken through a
conversion.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from seqjax.convert._conventions import (
    BIAS,
    KERNEL,
    OURS,
    RECURRENT,
    RECURRENT_BIAS,
    ArrayLayout,
    Layout,
)
from seqjax.convert._errors import ConvertError

Blocks = dict[tuple[str, str], Any]
"""A block for each role and gate; of the biases only those that are there."""


class Sizes(NamedTuple):
    """Features of a layer's input (rows of a table) and of its output."""

    in_size: int
    out_size: int


def shape_of(array: ArrayLayout, layout: Layout, sizes: Sizes) -> tuple[int, ...]:
    """Returns the shape that an array must have."""
    columns = len(array.gates) * sizes.out_size
    if array.role in (BIAS, RECURRENT_BIAS):
        rows = sum(other.name == array.name for other in layout.arrays)
        return (columns,) if array.row is None else (rows, columns)
    rows = sizes.in_size if array.role == KERNEL else sizes.out_size
    return (columns, rows) if array.transposed else (rows, columns)


def read_blocks(layout: Layout, arrays: Mapping[str, Any]) -> Blocks:
    """Takes arrays apart; a bias that is not among them has no blocks.

    Args:
      layout: where the blocks stand.
      arrays: by the names of the layout, of the shapes that `shape_of` gives.

    Returns:
      The blocks, with the signs of our gates.
    """
    blocks: Blocks = {}
    for part in layout.arrays:
        if part.name not in arrays:
            continue
        array = arrays[part.name] if part.row is None else arrays[part.name][part.row]
        array = array.T if part.transposed else array
        size = array.shape[-1] // len(part.gates)
        for index, gate in enumerate(part.gates):
            block = array[..., index * size : (index + 1) * size]
            blocks[part.role, gate] = -block if gate in layout.negated else block
    return blocks


def write_blocks(
    layout: Layout, kind: str, blocks: Blocks, refuse: Callable[[str], ConvertError]
) -> dict[str, Any]:
    """Puts blocks together again.

    Two biases of a gate are one number wherever their parts are summed; then the sum goes to the
    first place that the layout has, and zeros to the second.

    Args:
      layout: where the blocks go.
      kind: the kind of layer, which says whose biases must stay apart.
      blocks: with the signs of our gates.
      refuse: makes the error for a bias that has no place.

    Returns:
      Arrays by the names of the layout.

    Raises:
      ConvertError: if a bias that is not zero has no place in the layout.
    """
    like = next(iter(blocks.values()))
    numpy_like: Any = like.__array_namespace__()
    placed = _placed_biases(layout, kind, blocks, refuse)
    arrays: dict[str, Any] = {}
    for part in layout.arrays:
        columns = []
        for gate in part.gates:
            kernel = part.role in (KERNEL, RECURRENT)
            block = blocks[part.role, gate] if kernel else placed.get((part.role, gate))
            if block is None:
                block = numpy_like.zeros_like(blocks[KERNEL, gate][0])
            columns.append(-block if gate in layout.negated else block)
        array = numpy_like.concatenate(columns, axis=-1)
        array = array.T if part.transposed else array
        if part.row is not None:
            rows = [*arrays.get(part.name, ()), array]
            array = numpy_like.stack(rows)
        arrays[part.name] = array
    return arrays


def _placed_biases(
    layout: Layout, kind: str, blocks: Blocks, refuse: Callable[[str], ConvertError]
) -> Blocks:
    places = {
        (part.role, gate)
        for part in layout.arrays
        for gate in part.gates
        if part.role in (BIAS, RECURRENT_BIAS)
    }
    apart = {g for part in OURS[kind].arrays if part.role == RECURRENT_BIAS for g in part.gates}
    placed: Blocks = {}
    for gate in OURS[kind].arrays[0].gates:
        biases = {role: blocks.get((role, gate)) for role in (BIAS, RECURRENT_BIAS)}
        if gate not in apart:
            there = [bias for bias in biases.values() if bias is not None]
            role = BIAS if (BIAS, gate) in places else RECURRENT_BIAS
            biases = {role: sum(there[1:], start=there[0]) if there else None}
        for role, bias in biases.items():
            if bias is None:
                continue
            if (role, gate) in places:
                placed[role, gate] = bias
            elif np.any(np.asarray(bias)):
                name = "recurrent bias" if role == RECURRENT_BIAS and gate in apart else "bias"
                raise refuse(f"a {name} of the gate {gate!r}")
    return placed
