"""Names of arrays: one flat form of every mapping, and the search for a layer's arrays in it."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from seqjax.convert._conventions import Framework, Layout
from seqjax.convert._errors import ConvertError

Keys = tuple[Any, ...]


class Entry(NamedTuple):
    """An array and the keys that lead to it in the mapping it came in."""

    keys: Keys
    array: Any


Flat = dict[str, Entry]
"""Entries by their path, whose parts are joined by `/` in every framework."""


def flatten(weights: Mapping[Any, Any], framework: Framework) -> Flat:
    """Returns the arrays of a flat or nested mapping by path.

    Raises:
      ConvertError: if a key is no name, or two arrays have the same path.

    Example:
      >>> from seqjax.convert._conventions import FRAMEWORKS
      >>> list(flatten({"params": {"Dense_0": {"kernel": 0}}}, FRAMEWORKS["linen"]))
      ['params/Dense_0/kernel']
    """
    flat: Flat = {}
    left: list[tuple[Keys, Any]] = [((), weights)]
    while left:
        keys, node = left.pop()
        if isinstance(node, Mapping):
            left += [((*keys, key), node[key]) for key in reversed(list(node))]
            continue
        path = "/".join(part for key in keys for part in _parts(key, framework))
        if path in flat:
            raise ConvertError(
                f"seqjax.convert: names must be distinct, got {path!r} twice in the "
                f"{framework.title} weights."
            )
        flat[path] = Entry(keys, node)
    return flat


def unflatten(entries: Collection[Entry]) -> dict[Any, Any]:
    """Returns arrays in nested dictionaries, each where its keys lead."""
    nested: dict[Any, Any] = {}
    for keys, array in entries:
        place = nested
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = array
    return nested


def as_path(name: str, framework: Framework) -> str:
    """Returns a name that a user gave as a path."""
    return "/".join(_parts(name, framework))


class Found(NamedTuple):
    """A layer among the weights.

    Attributes:
      prefix: what stands before the names of its arrays, ending in `/` or empty.
      layout: how its arrays are laid out.
      present: names of the layout that are there; a bias may be missing.
    """

    prefix: str
    layout: Layout
    present: tuple[str, ...]


def array_names(layout: Layout) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the names of a layout's kernels, which must be there, and of its biases."""
    names = {part.name: "kernel" in part.role for part in layout.arrays}
    kernels = tuple(name for name, kernel in names.items() if kernel)
    return kernels, tuple(name for name in names if name not in kernels)


def find_layers(
    flat: Mapping[str, Any], layouts: Sequence[Layout], within: str, direction: str
) -> tuple[list[Found], list[str]]:
    """Finds the layers whose arrays are exactly those of a layout.

    Args:
      flat: entries by path.
      layouts: the layouts that will do.
      within: a run of path parts that the layer must lie in or be; empty for anywhere.
      direction: how a part of the path must begin; empty for any.

    Returns:
      The layers, and for messages what else stands beside arrays that would have done. Where some
      layers have their biases and others have none, only those with them.
    """
    found, beside = [], []
    for layout in layouts:
        kernels, biases = array_names(layout)
        ends = [path for path in flat if ("/" + path).endswith("/" + kernels[0])]
        for prefix in (path[: len(path) - len(kernels[0])] for path in ends):
            if not _lies_within(prefix, within) or not _has_direction(prefix, direction):
                continue
            if any(prefix + name not in flat for name in kernels):
                continue
            here = {prefix + name for name in (*kernels, *biases)}
            folders = {path.rpartition("/")[0] for path in here}
            others = [p for p in flat if p not in here and p.rpartition("/")[0] in folders]
            present = tuple(name for name in (*kernels, *biases) if prefix + name in flat)
            if others:
                beside += others
            elif len(present) in (len(kernels), len(kernels) + len(biases)):
                found.append(Found(prefix, layout, present))
            else:
                missing = [name for name in biases if name not in present]
                beside += [f"no {prefix}{name}" for name in missing]
    complete = [layer for layer in found if len(layer.present) > len(array_names(layer.layout)[0])]
    return complete or found, beside


def _parts(key: Any, framework: Framework) -> list[str]:
    """Returns the parts of a key: a name, a number of a list, or a tuple of such."""
    if isinstance(key, tuple):
        return [part for each in key for part in _parts(each, framework)]
    if not isinstance(key, str | int):
        raise ConvertError(
            f"seqjax.convert: names of {framework.title} weights must be strings, got {key!r}."
        )
    return [p for p in re.split(f"[{re.escape(framework.separators)}]", str(key)) if p]


def _lies_within(prefix: str, within: str) -> bool:
    return not within or f"/{within}/" in f"/{prefix}"


def _has_direction(prefix: str, direction: str) -> bool:
    return not direction or f"/{direction}" in f"/{prefix}"
