"""Which of our layers stand together in one layer of another framework, and under which names."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from seqjax.convert._conventions import Framework, Layout
from seqjax.convert._errors import ConvertError
from seqjax.convert._parts import Part, nearest


def units_of(
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


def layouts_of(part: Part, rules: Framework) -> tuple[Layout, ...]:
    """Returns the layouts that a framework has for a layer; a kind that it lacks is refused."""
    if part.kind not in rules.kinds:
        raise ConvertError(
            f"seqjax.convert: {part} must be of a kind that {rules.title} has, "
            f"{', '.join(rules.kinds)}, got {part.kind}."
        )
    return rules.kinds[part.kind]


def variants_of(unit: list[Part], rules: Framework) -> list[list[Layout]]:
    """Returns the layouts of a unit's parts, in each variant, with numbers and directions in names.

    A variant without a place for the number is of a single layer, forward only.
    """
    lowest = min(part.layer for part in unit)
    variants = []
    for variant in zip(*(layouts_of(part, rules) for part in unit), strict=False):
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


def array_count(unit: list[Part], rules: Framework) -> int:
    """Returns how many arrays the layers of a unit have."""
    return sum(len(layout.arrays) for layout in variants_of(unit, rules)[0])
