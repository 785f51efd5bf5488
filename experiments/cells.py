"""Which recurrent cell: one of the library, or a user's own, by `--cell=module:function`.

`--cell=my_cells:minimal` is the function `minimal(hidden_size)` of my_cells.py, in the current
folder or anywhere Python imports from; `--cell=bi:my_cells:minimal` runs it in both directions. To
import a module is to run it, so that happens for a name that stands on the command line and for no
other: the `config.json` of a run folder, which may be a stranger's, loads nothing. Python code says
the same by `seqjax.register_cell`.
"""

import ast
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

import seqjax
from experiments.command_line import ConfigError, setting
from seqjax.cells import CELLS, USER_CELLS, AssociativeCell
from seqjax.cells._cell import FlatState
from seqjax.cells._linear import LinearCell
from seqjax.cells._registry import suggestion
from seqjax.executors import EXECUTORS, Newton
from seqjax.online import METHODS
from seqjax.train import RunError
from seqjax.train._files import replace_file
from seqjax.train._mesh import check_mesh

FEEDFORWARD = "feedforward"
"""The cell that is none: `seqjax.nn.TDNN` in its place."""


def cell_setting(default: str, help: str, choices: Sequence[str]) -> Any:
    """Declares the field of a configuration that names a cell.

    Args:
      default: its default.
      help: the flag's help text.
      choices: the cells of the library that are allowed; one's own is allowed beside them, and in
        both directions where theirs are.

    Returns:
      The field.
    """
    both = any(name.startswith("bi") for name in choices)

    def check(value: str) -> None:
        one_way, is_both = directions(value)
        if value in choices or (one_way in USER_CELLS and (both or not is_both)):
            return
        if one_way in USER_CELLS:
            raise ConfigError(f"--cell must run in one direction: {one_way}; got {value!r}.")
        if one_way == "conv_lstm":
            raise ConfigError(
                "--cell=conv_lstm needs images, and no experiment has them. Use seqjax.conv_lstm "
                "in Python."
            )
        known = ", ".join(name for name in choices if not directions(name)[1])
        known += ", or bi before one for both directions" * both
        advice = suggestion(value, choices).rstrip()
        advice = f" {advice}" if advice else not_loaded(value)
        raise ConfigError(f"--cell must be one of {known}; got {value!r}.{advice}")

    own = "module:function" + (" or bi:module:function" if both else "")
    help = f"{help}: {', '.join(name for name in choices if directions(name) == (name, False))}"
    help += "; with bi before it for both directions" if both else ""
    return setting(default, f"{help}; or your own, {own}", check=check, load=load)


def gradient_setting() -> Any:
    """Declares the field of a configuration that says how gradients go through time."""
    return setting(
        "bptt",
        "how gradients go through time: bptt, backwards through all steps; or forwards with the "
        "steps, by a method of seqjax.online",
        choices=("bptt", *METHODS),
    )


def check_gradient(config: Any, hidden_size: int) -> None:
    """Refuses an online method where it would not be what its name says.

    Args:
      config: a configuration with the fields `cell`, `cell_options`, `executor`, `gradient` and
        `num_layers`.
      hidden_size: hidden units.

    Raises:
      ConfigError: naming the reason.
    """
    flag = f"--gradient={config.gradient}"
    if config.gradient == "bptt":
        return
    one_way, both = directions(config.cell)
    if both or one_way == FEEDFORWARD:
        reason = "reads its sequences backwards" if both else "has no state"
        raise ConfigError(f"{flag} goes forwards with the steps; --cell={config.cell} {reason}.")
    if config.num_layers > 1:
        raise ConfigError(
            f"{flag} needs --num_layers=1, got {config.num_layers}: below the top layer, errors do "
            "not go through time."
        )
    if config.executor != "auto":
        raise ConfigError(
            f"{flag} says itself how the layer runs in time; leave out "
            f"--executor={config.executor}."
        )
    if reason := METHODS[config.gradient]().refusal(make_cell(config, hidden_size)):
        raise ConfigError(f"{flag} cannot train --cell={config.cell}: {reason}.")


def make_cell(config: Any, hidden_size: int, **options: Any) -> seqjax.cells.Cell:
    """Makes the cell of a configuration, of one direction.

    Args:
      config: a configuration with the fields `cell` and `cell_options`.
      hidden_size: hidden units.
      **options: what the experiment itself sets; `cell_options` has the last word.

    Raises:
      ConfigError: if the cell has no such option, or refuses its value.
    """
    one_way, _ = directions(config.cell)
    options |= read_options(one_way, config.cell_options)
    try:
        return seqjax.make_cell(one_way, hidden_size, **options)
    except (ValueError, TypeError) as error:
        if not config.cell_options:
            raise
        raise ConfigError(f"--cell_options={config.cell_options}: {error}") from error


def read_options(cell: str, text: str) -> dict[str, Any]:
    """Returns the options of a cell that are written as text.

    Example:
      >>> read_options("slstm", "heads=4,block_ratio=0.5")
      {'heads': 4, 'block_ratio': 0.5}

    Raises:
      ConfigError: if the text is malformed, or names an option that the cell does not have.
    """
    constructor = {**CELLS, **USER_CELLS}.get(cell)
    parameters = {} if constructor is None else inspect.signature(constructor).parameters
    # What is written in a few letters: not an initialiser, nor a default that is a function.
    known = [
        name
        for name, parameter in parameters.items()
        if name not in ("hidden_size", "name") and not callable(parameter.default)
    ]
    options = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or name not in known:
            raise ConfigError(
                f"--cell_options must be name=value with commas between, and the options of "
                f"--cell={cell} are {', '.join(known) or 'none'}; got {part!r}."
            )
        try:
            options[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[name] = value  # a name, such as that of an activation
        default = parameters[name].default
        kind = bool if isinstance(default, bool) else int | float
        if isinstance(default, int | float) and not isinstance(options[name], kind):
            raise ConfigError(
                f"--cell_options: {name} of --cell={cell} must be like its default, {default}; "
                f"got {value}."
            )
    return options


def check_cell(config: Any, hidden_size: int) -> None:
    """Refuses options that the cell does not take, and an executor that cannot run it.

    Args:
      config: a configuration with the fields `cell`, `cell_options` and `executor`.
      hidden_size: hidden units.

    Raises:
      ConfigError: naming the reason.
    """
    one_way, _ = directions(config.cell)
    if one_way == FEEDFORWARD:
        read_options(one_way, config.cell_options)
        return
    cell = make_cell(config, hidden_size)
    if config.executor == "auto":
        return
    if reason := EXECUTORS[config.executor]().refusal(cell):
        raise ConfigError(
            f"--executor={config.executor} cannot run --cell={config.cell}: {reason}."
        )
    if config.executor == "newton" and (reason := Newton().size_refusal(cell, _state_size(cell))):
        raise ConfigError(
            f"--executor=newton cannot run --cell={config.cell} with --hidden_size={hidden_size}: "
            f"{reason}. Lower --hidden_size, or leave out --executor."
        )


def check_time(config: Any, mesh: str) -> None:
    """Refuses a mesh that splits time if the recurrent layers cannot be split.

    Args:
      config: a configuration with the fields `cell`, `cell_options`, `hidden_size` and `executor`.
      mesh: the value of `--mesh`.

    Raises:
      ConfigError: naming the reason.
    """
    if "time" not in (check_mesh(mesh) or {}):
        return
    one_way, _ = directions(config.cell)
    online = getattr(config, "gradient", "bptt")
    cell = None if one_way == FEEDFORWARD else make_cell(config, config.hidden_size)
    newton = cell if config.executor == "newton" else None
    if not newton and not isinstance(cell, LinearCell | AssociativeCell):
        reason = (
            f"--cell={config.cell} is not linear in its state; take one such as min_gru or lru, or "
            "--executor=newton"
        )
    elif not newton and config.executor not in ("auto", "associative"):
        reason = f"--executor={config.executor} runs on one device; leave it out"
    elif newton and (wide := _too_wide(newton)):
        reason = f"{wide}; lower --hidden_size, or take a cell such as para_gru"
    elif online != "bptt":
        reason = f"--gradient={online} goes step by step"
    else:
        return
    raise ConfigError(f"--mesh={mesh} splits time over devices, but {reason}.")


def _too_wide(cell: seqjax.cells.Cell) -> str | None:
    """Returns why Newton's method cannot split a cell's steps over devices."""
    return Newton().parts_refusal(cell, _state_size(cell))


def _state_size(cell: seqjax.cells.Cell) -> int:
    """Returns how many numbers a state has; inputs of two features suit every cell."""
    state = jax.eval_shape(lambda key: cell.initial_state(cell.init(key, 2)), jax.random.key(0))
    return FlatState(state).size


def not_loaded(cell: str) -> str:
    """Returns what to do about a user's own cell that is not known; nothing for other names."""
    if cell.endswith(".py"):
        return f" For a cell of your own, write --cell={cell.removesuffix('.py')}:function."
    if ":" not in cell:
        return ""
    return (
        " A cell of your own is loaded only where the command line itself names it (in Python, by "
        "seqjax.register_cell): do so, if you trust its code."
    )


def directions(cell: str) -> tuple[str, bool]:
    """Returns the cell of one direction, and whether it is to run in both.

    Example:
      >>> directions("bilstm"), directions("gru"), directions("bi:my_cells:minimal")
      (('lstm', True), ('gru', False), ('my_cells:minimal', True))
    """
    if cell.startswith("bi:"):
        return cell.removeprefix("bi:"), True
    if ":" in cell or not cell.startswith("bi"):
        return cell, False
    return cell.removeprefix("bi"), True


def in_both_directions(cell: str) -> str:
    """Returns the name of a cell run in both directions.

    Example:
      >>> in_both_directions("lstm"), in_both_directions("my_cells:minimal")
      ('bilstm', 'bi:my_cells:minimal')
    """
    return f"bi:{cell}" if ":" in cell else f"bi{cell}"


def takes(cell: str, option: str) -> bool:
    """Says whether the constructor of a cell has an option of this name.

    Example:
      >>> takes("bilstm", "max_timescale"), takes("rnn", "max_timescale")
      (True, False)
    """
    constructor = {**CELLS, **USER_CELLS}.get(directions(cell)[0])
    return constructor is not None and option in inspect.signature(constructor).parameters


def load(names: str) -> None:
    """Imports the user's own cells of a command line, which runs their code.

    Args:
      names: what a flag says, names with commas between them where it may have several.

    Raises:
      ConfigError: if there is no such module or function, the module does not load, or the
        function makes no cell.
    """
    for cell in (directions(part.strip())[0] for part in names.split(",")):
        module, colon, function = cell.partition(":")
        if colon:
            if module.endswith(".py"):
                stem = Path(module).stem
                raise ConfigError(
                    f"--cell must name a module, not a file: write --cell={stem}:{function}, got "
                    f"{cell!r}. Run in the folder of the file, or add that folder to PYTHONPATH."
                )
            if not re.fullmatch(r"[\w.]+:\w+", cell):
                raise ConfigError(
                    "--cell of your own must be written module:function, with bi: before it for "
                    f"both directions; got {cell!r}."
                )
            constructor = getattr(_imported(cell, module), function, None)
            if constructor is None:
                raise ConfigError(f"--cell={cell}: {module} has no {function!r}.")
            try:
                seqjax.register_cell(cell, constructor)
            except (TypeError, ValueError) as error:
                raise ConfigError(f"--cell={cell}: {error}") from error
            except SystemExit as error:
                raise ConfigError(
                    f"--cell={cell}: {function} must return a cell, and ends the program "
                    f"(SystemExit: {error})."
                ) from error


def _imported(cell: str, module: str) -> Any:
    """Imports a module of the user's; whatever is wrong with it is a line."""
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]:
            raise ConfigError(
                f"--cell={cell}: there is no module {module!r} in the current folder or where "
                "Python imports from (PYTHONPATH)."
            ) from error
        what = f"{type(error).__name__}: {error}"
        if not isinstance(error, SyntaxError):  # which names its own line
            place = traceback.extract_tb(error.__traceback__)[-1]
            what += f" ({place.filename}:{place.lineno})"
        raise ConfigError(f"--cell={cell}: {module} cannot be imported: {what}.") from error


def keep_code(cell: str, folder: Path) -> None:
    """Leaves the file of a user's own cell in the run folder, and refuses one that has changed.

    Args:
      cell: the setting; nothing happens for a cell of the library, or one without a file.
      folder: the run folder; the file goes to `code/<module>.py` and is never run from there.

    Raises:
      RunError: if the run was begun with another content of the file.
    """
    module, colon, _ = directions(cell)[0].partition(":")
    file = getattr(sys.modules.get(module), "__file__", None) if colon else None
    if file is None:
        return
    code, kept = Path(file).read_bytes(), folder / "code" / f"{module}.py"
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        replace_file(kept, code)
    elif kept.read_bytes() != code:
        raise RunError(
            f"{file} is not what it was when the run in {folder} began; that is kept in {kept}. "
            "Put it back, or choose another --workdir."
        )
