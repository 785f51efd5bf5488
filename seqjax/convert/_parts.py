"""Our side of a conversion: the layers of a module whose weights other frameworks have too."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from flax import nnx

from seqjax.cells import Cell, GatedCell
from seqjax.cells._cell import check_cell
from seqjax.convert._blocks import Sizes
from seqjax.convert._conventions import OURS, Layout
from seqjax.convert._errors import ConvertError
from seqjax.nn._classifier import SequenceClassifier
from seqjax.nn._embedding import Embedding
from seqjax.nn._module import check_module
from seqjax.nn._recurrent import RNN, Bidirectional, Recurrent
from seqjax.nn._stack import Stack


class Part(NamedTuple):
    """A layer with arrays of its own.

    Attributes:
      path: where it is in the module, such as `recurrent.layers.0.forward`.
      kind: key of `OURS`.
      sizes: features of its input and output.
      params: object whose attributes are its arrays; None where they are not there yet.
      direction: 0 or 1 for the forward or backward layer of a `Bidirectional`, None otherwise.
      layer: its number in the stack, from 0.
      owner: path of the outermost recurrent layer that it belongs to, or its own.
    """

    path: str
    kind: str
    sizes: Sizes
    params: Any
    direction: int | None = None
    layer: int = 0
    owner: str = ""

    @property
    def layout(self) -> Layout:
        """Our layout, without the arrays that this layer does not have."""
        layout = OURS[self.kind]
        if self.params is None:
            return layout
        arrays = (a for a in layout.arrays if getattr(self.params, a.name, None) is not None)
        return layout._replace(arrays=tuple(arrays))

    def __str__(self) -> str:
        return f"`{self.path}`" if self.path else f"the {self.kind} layer"


def parts_of(module: nnx.Module) -> list[Part]:
    """Returns the layers of a module.

    Raises:
      ConvertError: if the module has parameters that belong to none, or a cell of another kind.
      TypeError: if it is not a module.
    """
    check_module("seqjax.convert", module)
    parts = list(_walk(module, "", set()))
    known = {
        _join(part.path, "weights" if isinstance(part.params, tuple) else "", array.name)
        for part in parts
        for array in part.layout.arrays
    }
    flat = nnx.to_flat_state(nnx.state(module, nnx.Param))
    if unknown := [path for path in (_join(*path) for path, _ in flat) if path not in known]:
        raise ConvertError(
            "seqjax.convert: a module must have no parameters that other frameworks lack, got "
            f"{', '.join(unknown[:6])}. Convert its layers one by one, or keep the whole as "
            "'seqjax' weights."
        )
    return parts


def kind_of(cell: Cell) -> str:
    """Returns the kind of a cell.

    Raises:
      ConvertError: if no framework has it.
      TypeError: if it is not a cell.
    """
    check_cell("seqjax.convert", cell)
    layout = OURS.get(cell.name)
    gates = cell.gates if isinstance(cell, GatedCell) else None
    if layout is None or gates not in (None, layout.arrays[0].gates):
        known = ", ".join(kind for kind in OURS if kind not in ("linear", "embedding"))
        raise ConvertError(
            f"seqjax.convert: the cell must be one of {known}, got {cell!r}. Weights of other "
            "cells are kept as 'seqjax' weights."
        )
    return cell.name


def named_parts(
    parts: Sequence[Part], names: Mapping[str, Any] | str | Sequence[str] | None
) -> dict[str, str]:
    """Returns the names that a user gave to layers, by path.

    Args:
      parts: the layers.
      names: by path; a sequence names the layers of a stack. One name, or one sequence, is that of
        the module itself.

    Raises:
      ConvertError: if a path is not one of the module's.
    """
    given = names if isinstance(names, Mapping) else {} if names is None else {"": names}
    known = {path for part in parts for path in _ancestors(part.path)}
    found: dict[str, str] = {}
    for path, name in given.items():
        many = isinstance(name, Sequence) and not isinstance(name, str)
        each = {f"{_join(path, 'layers', i)}": n for i, n in enumerate(name)} if many else {}
        for key, value in (each or {path: name}).items():
            if key not in known or not isinstance(value, str):
                raise ConvertError(
                    "seqjax.convert: `names` must map layers of the module, "
                    f"{', '.join(part.path or repr('') for part in parts)} or what they lie in, "
                    f"to names, got {key!r}: {value!r}."
                )
            found[key] = value
    return found


def in_order(module: nnx.Module, parts: Sequence[Part], names: Mapping[str, str]) -> list[Part]:
    """Returns the layers in the order of a list of weights.

    Raises:
      ConvertError: if neither the module nor `names` says in which order its layers act.
    """
    keys, order = [nearest(part.path, names) for part in parts], list(names)
    if None not in keys:
        return sorted(parts, key=lambda part: order.index(str(nearest(part.path, names))))
    # Flax sorts the attributes of any module by their names when it compiles what uses it.
    if not isinstance(module, Recurrent | Embedding | nnx.Linear | SequenceClassifier):
        raise ConvertError(
            f"seqjax.convert: a list of weights needs the order of the layers, which a "
            f"{type(module).__name__} does not tell. Give weights by path, or all layers in their "
            "order by `names`."
        )
    return list(parts)


def nearest(path: str, names: Mapping[str, str]) -> str | None:
    """Returns the path itself or its nearest ancestor that has a name."""
    return next((key for key in _ancestors(path) if key in names), None)


def _ancestors(path: str) -> list[str]:
    pieces = path.split(".") if path else []
    return [".".join(pieces[:end]) for end in range(len(pieces), -1, -1)]


def _join(*pieces: Any) -> str:
    return ".".join(str(piece) for piece in pieces if piece != "")


def _walk(module: Any, path: str, seen: set[int]) -> Iterator[Part]:
    if isinstance(module, nnx.Module):
        if id(module) in seen:
            return
        seen.add(id(module))
    match module:
        case RNN() | Bidirectional() | Stack():
            yield from _recurrent(module, path, path, 0)
        case Embedding():
            yield Part(path, "embedding", Sizes(*module.table.shape), module, owner=path)
        case nnx.Linear():
            sizes = Sizes(module.in_features, module.out_features)
            yield Part(path, "linear", sizes, module, owner=path)
        case list() | tuple() | nnx.List():
            for index, child in enumerate(module):
                yield from _walk(child, _join(path, index), seen)
        case SequenceClassifier():  # in the order in which they act
            for name in ("embedding", "recurrent", "pooling", "hidden", "head"):
                yield from _walk(getattr(module, name), _join(path, name), seen)
        case nnx.Module():
            for name, child in vars(module).items():
                yield from _walk(child, _join(path, name), seen)


def _recurrent(layer: Any, path: str, owner: str, number: int) -> Iterator[Part]:
    match layer:
        case RNN():
            sizes = Sizes(layer.in_size, layer.out_size)
            yield Part(path, kind_of(layer.cell), sizes, layer.weights, None, number, owner)
        case Bidirectional():
            for direction, side in enumerate(("forward", "backward")):
                for part in _recurrent(getattr(layer, side), _join(path, side), owner, number):
                    yield part._replace(direction=direction)
        case Stack():
            for index, below in enumerate(layer.layers):
                yield from _recurrent(below, _join(path, "layers", index), owner, index)
        case _:
            raise ConvertError(
                f"seqjax.convert: a stack must hold RNN and Bidirectional layers, got a "
                f"{type(layer).__name__} at {path}."
            )
