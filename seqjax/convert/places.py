"""Which arrays of another framework are those of which of our layers."""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from seqjax.convert.blocks import shape_of
from seqjax.convert.conventions import FRAMEWORKS, Framework, Layout
from seqjax.convert.errors import ConvertError
from seqjax.convert.names import (
    Entry,
    Flat,
    Found,
    array_names,
    as_path,
    find_layers,
    flatten,
)
from seqjax.convert.parts import Part, nearest


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


def read_places(
    parts: Sequence[Part], weights: Any, rules: Framework, given: Mapping[str, str]
) -> tuple[list[Place], Flat]:
    """Finds the arrays of every layer.

    Args:
      parts: our layers.
      weights: a mapping, or where the framework has an order a list.
      rules: the framework's conventions.
      given: their names by our paths.

    Returns:
      A place for each part, in the order of the parts, and all arrays by path.

    Raises:
      ConvertError: if a layer is not there exactly once.
    """
    if not isinstance(weights, Mapping):
        return _places_in_order(parts, weights, rules)
    flat = flatten(weights, rules)
    left = dict(flat)
    found: dict[str, Place] = {}
    units = _units(parts, rules, given)
    # Named layers first, then those with the most arrays: what is small may look like a piece of
    # what is large, and is not looked for among what has been found.
    units.sort(key=lambda unit: (nearest(unit[0], given) is None, -_size(unit[1], rules)))
    for path, unit in units:
        layer, layouts = _find(path, unit, left, rules, given)
        for part, layout in zip(unit, layouts, strict=True):
            layout = _only(layout, layer.present)
            paths = {array.name: layer.prefix + array.name for array in layout.arrays}
            found[part.path] = Place(part, layout, paths)
        for name in layer.present:
            del left[layer.prefix + name]
    return [found[part.path] for part in parts], flat


def made_places(parts: Sequence[Part], rules: Framework, given: Mapping[str, str]) -> list[Place]:
    """Makes names up for the arrays of every layer.

    Raises:
      ConvertError: if the framework has no such layer.
    """
    found: dict[str, Place] = {}
    for path, unit in _units(parts, rules, given):
        for part, layout in zip(unit, _expanded(unit, rules)[0], strict=True):
            prefix = _made_prefix(part, path, rules, given)
            paths = {array.name: prefix + array.name for array in layout.arrays}
            found[part.path] = Place(part, layout, paths)
    return [found[part.path] for part in parts]


def _made_prefix(part: Part, path: str, rules: Framework, given: Mapping[str, str]) -> str:
    """Returns what stands before a layer's names: the given name or ours, and what lies below."""
    key = nearest(path, given)
    pieces = [] if key is None else as_path(given[key], rules).split("/")
    pieces += (path if key is None else path[len(key) :]).split(".")
    if part.direction is not None and key != part.path and not rules.together:
        pieces[-1] = rules.directions[part.direction]
    if part.kind not in ("linear", "embedding"):
        pieces.append(rules.cell_name)
    return "".join(f"{piece}/" for piece in pieces if piece)


def check_array(place: Place, name: str, array: Any, rules: Framework) -> Any:
    """Returns an array as NumPy or JAX has it.

    Raises:
      ConvertError: if it has another shape than the layer's, or no real numbers.
    """
    where = f"seqjax.convert: {rules.title} array {place.paths[name]!r}"
    array = array[...] if isinstance(array, nnx.Variable) else array
    if not isinstance(array, jax.Array | np.ndarray):
        try:
            array = np.asarray(array)
        except Exception as error:  # whatever an object answers that is no array
            raise ConvertError(
                f"{where} must be an array, got a {type(array).__name__} ({error}). Of a tensor "
                "take tensor.detach().cpu().float()."
            ) from error
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


def _places_in_order(
    parts: Sequence[Part], weights: Any, rules: Framework
) -> tuple[list[Place], Flat]:
    """Deals a list out to the layers, with all biases or, if so many are there, without any."""
    if not rules.in_order or not isinstance(weights, Sequence) or isinstance(weights, str | bytes):
        kinds = "a mapping of names to arrays" + " or a list" * rules.in_order
        raise ConvertError(
            f"seqjax.convert: {rules.title} weights must be {kinds}, got a "
            f"{type(weights).__name__}."
        )
    layouts = [_layouts(part, rules)[0] for part in parts]
    full = [sum(array_names(layout), ()) for layout in layouts]
    bare = [array_names(layout)[0] for layout in layouts]
    only_gates = [
        names if part.kind in ("linear", "embedding") else kernels
        for part, names, kernels in zip(parts, full, bare, strict=True)
    ]
    for names in (full, only_gates, bare):
        if sum(map(len, names)) == len(weights):
            break
    else:
        raise ConvertError(
            f"seqjax.convert: the list of weights must have {sum(map(len, full))} arrays for "
            f"{', '.join(part.path or part.kind for part in parts)}, got {len(weights)}. Give "
            "those of these layers alone, or weights by path."
        )
    left, places, flat = iter(weights), [], {}
    for number, (part, layout, present) in enumerate(zip(parts, layouts, names, strict=True)):
        layout = _only(layout, present)
        paths = {name: f"{part.path or number}/{name}" for name in present}
        places.append(Place(part, layout, paths))
        flat |= {path: Entry((path,), next(left)) for path in paths.values()}
    return places, flat


def _units(
    parts: Sequence[Part], rules: Framework, given: Mapping[str, str]
) -> list[tuple[str, list[Part]]]:
    """Returns the parts that stand together in one layer of theirs, and the path they share."""
    if not rules.together:
        return [(part.path, [part]) for part in parts]
    owned: dict[str, list[Part]] = {}
    for part in parts:
        key = nearest(part.path, given)
        named = key is not None and len(key) > len(part.owner)
        owned.setdefault(key if key is not None and named else part.owner, []).append(part)
    units = []
    for path, unit in owned.items():
        layers = [(path, unit)]
        if not _uniform(unit):
            layers = [(_layer_path(layer[0]), layer) for layer in _layers(unit)]
        units += layers
    return units


def _layers(unit: list[Part]) -> list[list[Part]]:
    """Returns the parts of each layer of a stack."""
    return [list(layer) for _, layer in itertools.groupby(unit, key=lambda part: part.layer)]


def _layer_path(part: Part) -> str:
    return part.path if part.direction is None else part.path.rpartition(".")[0]


def _uniform(unit: list[Part]) -> bool:
    """Returns whether all layers of a stack are alike but for their inputs."""
    layers = [
        {(part.kind, part.direction, part.sizes.out_size) for part in layer}
        for layer in _layers(unit)
    ]
    return all(layer == layers[0] for layer in layers)


def _layouts(part: Part, rules: Framework) -> tuple[Layout, ...]:
    if part.kind not in rules.kinds:
        raise ConvertError(
            f"seqjax.convert: {part} must be of a kind that {rules.title} has, "
            f"{', '.join(rules.kinds)}, got {part.kind}."
        )
    return rules.kinds[part.kind]


def _expanded(unit: list[Part], rules: Framework) -> list[list[Layout]]:
    """Returns the layouts of a unit's parts, in each variant, with numbers and directions in names.

    A variant without a place for the number is of a single layer, forward only.
    """
    lowest = min(part.layer for part in unit)
    variants = []
    for variant in zip(*(_layouts(part, rules) for part in unit), strict=False):
        layouts = []
        for part, layout in zip(unit, variant, strict=True):
            direction = rules.directions[part.direction or 0] if len(unit) > 1 else ""
            layouts.append(_renamed(layout, layer=part.layer - lowest, direction=direction))
        if len({layout.arrays[0].name for layout in layouts}) == len(unit):
            variants.append(layouts)
    return variants


def _renamed(layout: Layout, **values: Any) -> Layout:
    arrays = (array._replace(name=array.name.format(**values)) for array in layout.arrays)
    return layout._replace(arrays=tuple(arrays))


def _only(layout: Layout, names: Collection[str]) -> Layout:
    return layout._replace(arrays=tuple(a for a in layout.arrays if a.name in names))


def _size(unit: list[Part], rules: Framework) -> int:
    return sum(len(layout.arrays) for layout in _expanded(unit, rules)[0])


def _find(
    path: str, unit: list[Part], left: Flat, rules: Framework, given: Mapping[str, str]
) -> tuple[Found, list[Layout]]:
    """Returns the one layer of theirs that is a unit of ours, and the layout of each part."""
    part = unit[0]
    key = nearest(path, given)
    within = "" if key is None else as_path(given[key], rules)
    sided = part.direction is not None and not rules.together and key != part.path
    direction = rules.directions[part.direction or 0] if sided else ""
    variants = _expanded(unit, rules)
    joined = [
        layouts[0]._replace(arrays=sum((layout.arrays for layout in layouts), ()))
        for layouts in variants
    ]
    found, beside = find_layers(left, joined, within, direction)
    if len(found) == 1:
        return found[0], variants[joined.index(found[0].layout)]
    wanted = " or ".join(
        f"{layout.layer} ({', '.join(array_names(layout)[0])})" for layout in joined
    )
    where = f" in {given[key]!r}" if key is not None else ""
    start = f"seqjax.convert: {rules.title} weights must have one layer for {part}{where}, {wanted}"
    if found:
        raise ConvertError(
            f"{start}, got {len(found)}: {', '.join(_listed(layer.prefix for layer in found))}. "
            f"Say which: names={{{(path if key is None else key)!r}: ...}}."
        )
    if beside:
        projected = any("weight_hr" in name for name in beside)
        advice = (
            "A projection (proj_size) is in no cell of ours."
            if projected
            else "Our layer must have as many layers and directions as theirs."
        )
        raise ConvertError(f"{start}, got one that also has {', '.join(_listed(beside))}. {advice}")
    raise ConvertError(
        f"{start}, got none among {', '.join(_listed(left)) or 'no arrays'}. Give the layer's name "
        "by `names`, and weights of the same kind of layer."
    )


def _listed(names: Iterable[str]) -> list[str]:
    """Returns a few of the names, and how many more there are."""
    names = [name.rstrip("/") or "(the top)" for name in names]
    return names[:8] + [f"and {len(names) - 8} more"] * (len(names) > 8)


def refuse_left_over(places: Sequence[Place], flat: Flat, rules: Framework) -> None:
    """Refuses arrays that no layer reads."""
    read = {path for place in places for path in place.paths.values()}
    if left := [path for path in flat if path not in read]:
        raise ConvertError(
            f"seqjax.convert: {rules.title} weights must be those of the module, got also "
            f"{', '.join(_listed(left))}. strict=False leaves them out."
        )
