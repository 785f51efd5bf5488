"""Which arrays of another framework are those of which of our layers."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from seqjax.convert._checks import Place, listed
from seqjax.convert._conventions import Framework, Layout
from seqjax.convert._errors import ConvertError
from seqjax.convert._names import Entry, Flat, Found, array_names, as_path, find_layers, flatten
from seqjax.convert._parts import Part, nearest
from seqjax.convert._units import array_count, layouts_of, units_of, variants_of


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
    units = units_of(parts, rules, given)
    # Named layers first, then those with the most arrays: what is small may look like a piece of
    # what is large, and is not looked for among what has been found.
    units.sort(key=lambda unit: (nearest(unit[0], given) is None, -array_count(unit[1], rules)))
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
    for path, unit in units_of(parts, rules, given):
        for part, layout in zip(unit, variants_of(unit, rules)[0], strict=True):
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
    layouts = [layouts_of(part, rules)[0] for part in parts]
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


def _only(layout: Layout, names: Collection[str]) -> Layout:
    return layout._replace(arrays=tuple(a for a in layout.arrays if a.name in names))


def _find(
    path: str, unit: list[Part], left: Flat, rules: Framework, given: Mapping[str, str]
) -> tuple[Found, list[Layout]]:
    """Returns the one layer of theirs that is a unit of ours, and the layout of each part."""
    part = unit[0]
    key = nearest(path, given)
    within = "" if key is None else as_path(given[key], rules)
    sided = part.direction is not None and not rules.together and key != part.path
    direction = rules.directions[part.direction or 0] if sided else ""
    variants = variants_of(unit, rules)
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
            f"{start}, got {len(found)}: {', '.join(listed(layer.prefix for layer in found))}. "
            f"Say which: names={{{(path if key is None else key)!r}: ...}}."
        )
    if beside:
        projected = any("weight_hr" in name for name in beside)
        advice = (
            "No projection (proj_size) is read."
            if projected
            else "Our layer must have as many layers and directions as theirs."
        )
        raise ConvertError(f"{start}, got one that also has {', '.join(listed(beside))}. {advice}")
    raise ConvertError(
        f"{start}, got none among {', '.join(listed(left)) or 'no arrays'}. Give the layer's name "
        "by `names`, and weights of the same kind of layer."
    )
