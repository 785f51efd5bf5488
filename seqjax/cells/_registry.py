"""Cells by name, for flags and configuration files."""

import difflib
import inspect
import re
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp

from seqjax._checks import check_function, check_kind
from seqjax.cells._cell import Cell, advance

Constructor = Callable[..., Cell]
"""`constructor(hidden_size, **options) -> cell`."""

CELLS: dict[str, Constructor] = {}
"""Constructors of the library's cells, by name; `seqjax/cells/__init__.py` fills it."""
USER_CELLS: dict[str, Constructor] = {}
"""Constructors that `register_cell` has added, by name."""


def make_cell(name: str, hidden_size: int, **options) -> Cell:
    """Makes a cell by its name.

    Args:
      name: a key of `CELLS`, or a name given to `register_cell`.
      hidden_size: hidden units.
      **options: keyword arguments of the cell's constructor.

    Returns:
      The cell.

    Raises:
      ValueError: if the name is unknown; the message lists the known ones.
      TypeError: if the cell lacks an option; the message lists its options.

    Example:
      >>> make_cell("lstm", 8)
      lstm(8)
    """
    known = {**CELLS, **USER_CELLS}
    if name not in known:
        raise ValueError(
            f"seqjax.make_cell: unknown cell {name!r}; the known cells are {', '.join(known)}. "
            f"{suggestion(name, known)}To name your own cell, call seqjax.register_cell."
        )
    signature = inspect.signature(known[name])
    try:
        signature.bind(hidden_size, **options)
    except TypeError as error:
        taken = ", ".join([*signature.parameters][1:])
        raise TypeError(f"seqjax.make_cell({name!r}): {error}. Its options are {taken}.") from None
    return known[name](hidden_size, **options)


def suggestion(name: object, known: Iterable[str]) -> str:
    """Returns `Did you mean 'lstm'? ` for a name close to a known one, and otherwise nothing.

    Example:
      >>> suggestion("LSTM", ["gru", "lstm"]), suggestion("transformer", ["gru", "lstm"])
      ("Did you mean 'lstm'? ", '')
    """
    close = difflib.get_close_matches(str(name).lower().replace("-", "_"), [*known], n=1)
    return f"Did you mean {close[0]!r}? " if close else ""


def register_cell(name: str, constructor: Constructor) -> None:
    """Names your own cell, so that `make_cell` and every experiment can find it.

    This calls the constructor once and traces one step of the cell to check its shapes; nothing is
    computed. A second call with the same name replaces the constructor, for example when you run a
    notebook cell again.

    Args:
      name: letters, digits and underscores, or `module:function`. It must not be the name of a
        cell of the library. It must not start with "bi", which marks bidirectional models.
      constructor: `constructor(hidden_size, **options) -> cell`.

    Raises:
      ValueError: if the name is not allowed.
      TypeError: if the constructor fails or does not return a cell, a step fails or changes the
        structure, shapes or dtypes of the state, or the output does not have `hidden_size`
        features.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> def leaky(hidden_size):
      ...     def update(state, drive):
      ...         return state._replace(hidden=0.9 * state.hidden + 0.1 * jnp.tanh(drive))
      ...     return seqjax.gated_cell("leaky", hidden_size, gates=("drive",), update=update)
      >>> seqjax.register_cell("leaky", leaky)
      >>> seqjax.make_cell("leaky", 8)
      leaky(8)
    """
    where = f"seqjax.register_cell({name!r})"
    check_kind("seqjax.register_cell", "name", name, str, "a string")
    check_function(where, "constructor", constructor, ["hidden_size"])
    if not re.fullmatch(r"[^\W\d]\w*|[\w.]+:\w+", name):
        raise ValueError(
            f"{where}: `name` must consist of letters, digits and underscores and not start with a "
            "digit, or be module:function."
        )
    if name in CELLS or (name.startswith("bi") and ":" not in name):
        raise ValueError(
            f'{where}: `name` must not be the name of a cell of the library or start with "bi". '
            "Choose another name."
        )
    try:
        cell = constructor(8)
    except Exception as error:
        raise TypeError(
            f"{where}: `constructor` must make a cell when called as constructor(hidden_size), "
            f"but constructor(8) raised {_told(error)}."
        ) from error
    if not isinstance(cell, Cell):
        raise TypeError(
            f"{where}: `constructor` must return a seqjax.cells.Cell, got "
            f"{type(cell).__name__}. seqjax.gated_cell returns one."
        )
    try:
        before, after, output = jax.eval_shape(lambda: _one_step(cell))
    except Exception as error:
        raise TypeError(
            f"{where}: one step of {cell!r} must run on two sequences, but it raised "
            f"{_told(error)}."
        ) from error
    if str(before) != str(after):
        raise TypeError(
            f"{where}: a step of {cell!r} must keep the structure, shapes and dtypes of its state, "
            f"{before}, got {after}."
        )
    if output.shape != (2, 8):
        raise TypeError(
            f"{where}: the output of {cell!r} must have shape (B, H) = (2, 8), got {output.shape}."
        )
    USER_CELLS[name] = constructor


def _one_step(cell: Cell):
    """Returns the state before and after one step of two sequences, and the output."""
    params = cell.init(jax.random.key(0), 3)
    state = cell.initial_state(params, (2,), jnp.float32)
    output, after = advance(cell, params, jnp.zeros((2, 3)), state)
    return state, after, output


def _told(error: Exception) -> str:
    """Returns an error as one line: its type and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
