"""The check that given parameters are those of a cell, by the shapes that its `init` draws."""

import functools
from typing import Any

import jax

from seqjax._padding import known
from seqjax.cells._cell import Cell

Shapes = dict[str, tuple[int, ...]]


def check_params(where: str, cell: Cell, params: Any, in_size: int) -> None:
    """Refuses parameters of another cell or size.

    A learned initial state may be left out or added. A cell whose `init` JAX cannot trace is not
    checked: it may make its parameters in a way of its own.

    Args:
      where: the function that is called.
      cell: the cell.
      params: the given parameters, a pytree of arrays.
      in_size: features of the input.

    Raises:
      ValueError: naming the first parameter that does not fit, or the features of the input.
    """
    if not known(in_size) or (wanted := _drawn(cell, in_size)) is None:
        return
    got = shapes(params)
    if not (names := _differing(wanted, got)):
        return
    advice = f"Make the parameters with cell.init(key, in_size={in_size})"
    for size in got.get(names[0], ()):  # of an input with as many features all might fit
        if size != in_size and not _differing(_drawn(cell, size) or {}, got):
            raise ValueError(
                f"{where}: for the parameters of {cell!r}, the input must have in_size = {size} "
                f"features on its last axis, got {in_size}. {advice}, or fix the input."
            )
    required, given = wanted.get(names[0]), got.get(names[0], "none")
    required = "must not be there" if required is None else f"must have shape {required}"
    raise ValueError(
        f"{where}: the parameter `{names[0]}` of {cell!r} for {in_size} features {required}, got "
        f"{given}. {advice}."
    )


def shapes(params: Any) -> Shapes:
    """Returns the shape of every parameter by its path, such as `units.recurrent`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="."): x.shape for path, x in leaves}


def _differing(wanted: Shapes, got: Shapes) -> list[str]:
    """Returns the names of parameters that differ, apart from what may be on one side only."""
    return [
        name
        for name in {**wanted, **got}
        if wanted.get(name) != got.get(name)
        and ((name in wanted and name in got) or not name.startswith("initial_state"))
    ]


def _drawn(cell: Cell, in_size: int) -> Shapes | None:
    """Returns the shapes of the parameters that a cell draws, or None if they cannot be told."""
    try:
        return _traced(cell, in_size)
    except Exception:  # of a user's own `init`, which may need more than a key and a size
        return None


@functools.lru_cache(maxsize=512)
def _traced(cell: Cell, in_size: int) -> Shapes:
    return shapes(jax.eval_shape(lambda: cell.init(jax.random.key(0), in_size)))
