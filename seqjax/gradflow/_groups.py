"""Gradient norms by parameter, gate and layer, for any pytree of gradients."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqjax._checks import check_names, check_optional_sizes
from seqjax.cells._cell import Cell
from seqjax.cells._gated import GatedCell

_BY_GATE = ("input_kernel", "recurrent_kernel", "bias", "recurrent_bias")


def gradient_norms(
    gradients: Any, *, gates: Cell | Sequence[str] | None = None, depth: int | None = None
) -> dict[str, Array]:
    """Returns the Euclidean norm of each part of a gradient, named by its path.

    The function splits the parameters of gated cells by gate, as in
    `encoder/recurrent_kernel/forget`. It recognises them anywhere in the tree by a
    `recurrent_kernel` of shape (H, G * H), or (n, H / n, G * H / n) with heads. It also splits the
    `input_kernel` and `bias` next to it, if they have as many columns, and the `recurrent_bias`.
    Any other leaf has one norm.

    Args:
      gradients: a pytree of arrays, such as `GatedParams`, dicts, lists, or the state of an NNX
        module.
      gates: names of the gates in the order of the columns, or a cell that declares them. They name
        the blocks of every kernel with that number of blocks; other blocks are numbered.
      depth: if given, one norm for all parts whose paths share their first `depth` names. 1 gives
        one norm per top-level entry, such as a layer. 0 gives the norm of the whole gradient, under
        the name "all".

    Returns:
      Dict from path to norm, a scalar in float32 or wider.

    Raises:
      ValueError: if the tree has no arrays, or `depth` is negative.
      TypeError: if `gates` is one string.

    Example:
      >>> import jax, seqjax
      >>> cell = seqjax.lstm(4)
      >>> tree = {"layer": cell.init(jax.random.key(0), 3), "head": jnp.ones((4, 2))}
      >>> norms = gradient_norms(tree, gates=cell)
      >>> float(norms["layer/bias/forget"]), float(norms["layer/bias/input"])
      (2.0, 0.0)
      >>> list(gradient_norms(tree, depth=1))
      ['head', 'layer']
    """
    where = "seqjax.gradflow.gradient_norms"
    check_optional_sizes(where, at_least=0, depth=depth)
    if not isinstance(gates, Cell):
        check_names(where, gates=gates)
    leaves = {
        path_names(path): jnp.asarray(leaf)
        for path, leaf in jax.tree_util.tree_flatten_with_path(gradients)[0]
    }
    if not leaves:
        raise ValueError(
            f"{where}: `gradients` must hold arrays, got an empty {type(gradients).__name__}."
        )
    cell = gates if isinstance(gates, GatedCell) else None
    if isinstance(gates, Cell):
        gates = cell.gates if cell else None
    squares: dict[str, list[Array]] = {}
    for path, leaf in leaves.items():
        for name, part in _split_by_gate(path, leaf, leaves, gates, cell):
            part = part.astype(jnp.promote_types(part.dtype, jnp.float32))
            group = name if depth is None else name[:depth]
            squares.setdefault("/".join(group) or "all", []).append(jnp.sum(jnp.abs(part) ** 2))
    return {name: jnp.sqrt(sum(parts, jnp.zeros(()))) for name, parts in squares.items()}


def path_names(path: tuple[Any, ...]) -> tuple[str, ...]:
    """Returns the names along a path of `jax.tree_util`, without the `value` of an NNX variable."""
    names = []
    for number, key in enumerate(path):
        wrapped = isinstance(key, jax.tree_util.GetAttrKey) and key.name == "value"
        if wrapped and number and number == len(path) - 1:
            continue
        for attribute in ("key", "name", "idx"):
            if hasattr(key, attribute):
                names.append(str(getattr(key, attribute)))
                break
        else:
            names.append(str(key))
    return tuple(names)


def _split_by_gate(
    path: tuple[str, ...],
    leaf: Array,
    leaves: dict[tuple[str, ...], Array],
    gates: Sequence[str] | None,
    cell: GatedCell | None,
) -> list[tuple[tuple[str, ...], Array]]:
    kernel = leaves.get((*path[:-1], "recurrent_kernel"))
    if not path or path[-1] not in _BY_GATE or kernel is None or kernel.ndim not in (2, 3):
        return [(path, leaf)]
    *heads, size, columns = kernel.shape
    if cell and not heads and columns == len(cell.gates) * cell.hidden_size:
        size = cell.hidden_size  # a projection has fewer rows
    width, total = size, columns
    if heads:
        bias = leaves.get((*path[:-1], "bias"))
        if bias is None or bias.shape != (heads[0] * columns,):
            return [(path, leaf)]  # stacked kernels of several networks, not heads
        if path[-1] != "recurrent_kernel":
            width, total = heads[0] * size, heads[0] * columns
    if columns % size or leaf.shape[-1] % width:
        return [(path, leaf)]
    if path[-1] != "recurrent_bias" and leaf.shape[-1] != total:
        return [(path, leaf)]  # gates that share the input, or the recurrent kernel
    names = [str(number) for number in range(columns // size)]
    if gates is not None and len(gates) == len(names):
        names = list(gates)
    # `recurrent_bias` has only the unsummed gates, which come last.
    names = names[len(names) - leaf.shape[-1] // width :]
    blocks = jnp.split(leaf, len(names), axis=-1)
    return [((*path, name), block) for name, block in zip(names, blocks, strict=True)]
