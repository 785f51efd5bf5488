"""What is asked of arrays of another framework before they are read."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from seqjax.convert._blocks import shape_of
from seqjax.convert._conventions import FRAMEWORKS, Framework, Layout
from seqjax.convert._errors import ConvertError, first_line
from seqjax.convert._names import Flat
from seqjax.convert._parts import Part


class Place(NamedTuple):
    """Where the weights of one of our layers are.

    Attributes:
      part: our layer.
      layout: of their arrays, those alone that are there.
      paths: path of each array by its name in the layout.
    """

    part: Part
    layout: Layout
    paths: dict[str, str]


def framework_of(name: str) -> Framework:
    """Returns the conventions of a framework; an unknown name lists the known ones."""
    if name not in FRAMEWORKS:
        raise ConvertError(
            f"seqjax.convert: `framework` must be one of {', '.join(FRAMEWORKS)}, seqjax, got "
            f"{name!r}."
        )
    return FRAMEWORKS[name]


def check_array(place: Place, name: str, array: Any, rules: Framework) -> Any:
    """Returns an array as NumPy or JAX has it.

    Raises:
      ConvertError: if it has another shape than the layer's, or no real numbers.
    """
    where = f"seqjax.convert: {rules.title} array {place.paths[name]!r}"
    array = as_array(where, array)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ConvertError(f"{where} must hold real numbers, got {array.dtype}.")
    layout, part = place.layout, place.part
    expected = shape_of(next(a for a in layout.arrays if a.name == name), layout, part.sizes)
    if array.shape != expected:
        raise ConvertError(
            f"{where} must have shape {expected} for {part} ({part.kind}, in_size="
            f"{part.sizes.in_size}, size {part.sizes.out_size}), got {array.shape}. "
            + _advice(place, array.shape, expected)
        )
    return array


def as_array(where: str, array: Any) -> Any:
    """Returns what a user gave for an array as NumPy or JAX has it.

    Raises:
      ConvertError: if it is none, or of numbers that JAX does not have; it begins with `where`.
    """
    array = array[...] if isinstance(array, nnx.Variable) else array
    if not isinstance(array, jax.Array | np.ndarray):
        try:
            array = np.asarray(array)
        except Exception as error:  # whatever an object answers that is no array
            raise ConvertError(
                f"{where} must be an array, got a {type(array).__name__} ({first_line(error)}). "
                "Of a tensor take tensor.detach().cpu().float()."
            ) from error
    if isinstance(array, np.ndarray) and array.dtype.char in "gG":
        raise ConvertError(
            f"{where} must hold numbers of at most 64 bits, got {array.dtype}. Give it as float64."
        )
    return array


def _advice(place: Place, got: tuple[int, ...], expected: tuple[int, ...]) -> str:
    if got == expected[::-1]:
        return "It is transposed: give it as its framework keeps it."
    gates = len(place.layout.arrays[0].gates)
    sizes = [size for size in got if size % place.part.sizes.out_size == 0]
    if place.part.kind not in ("linear", "embedding") and len(got) == len(expected) and sizes:
        counts = {1: "a vanilla network", 3: "a GRU", 4: "an LSTM"}
        kind = counts.get(max(sizes) // place.part.sizes.out_size)
        if kind and max(sizes) // place.part.sizes.out_size != gates:
            return f"By its size it is of {kind}, or of another hidden size."
    if place.part.kind.startswith("gru") and len(got) != len(expected):
        return "Use gru(..., reset_after=...) as the layer has it."
    return "Make our layer with the sizes of theirs."


def refuse_left_over(places: Sequence[Place], flat: Flat, rules: Framework) -> None:
    """Refuses arrays that no layer reads."""
    read = {path for place in places for path in place.paths.values()}
    if left := [path for path in flat if path not in read]:
        raise ConvertError(
            f"seqjax.convert: {rules.title} weights must be those of the module, got also "
            f"{', '.join(listed(left))}. strict=False leaves them out."
        )


def listed(names: Iterable[str]) -> list[str]:
    """Returns a few of the names, and how many more there are."""
    names = [name.rstrip("/") or "(the top)" for name in names]
    return names[:8] + [f"and {len(names) - 8} more"] * (len(names) > 8)
