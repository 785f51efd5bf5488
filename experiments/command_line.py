"""From a frozen dataclass of settings to absl flags and back, and mistakes in one line.

A field of the dataclass becomes a flag: its annotation gives the type, its default the default,
and its metadata (see `setting`) the help text and the choices.
"""

import dataclasses
import difflib
import hashlib
import json
import math
import signal
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from absl import app, flags, logging

from experiments import help_page
from seqjax._errors import OneLineError
from seqjax.data import DataError
from seqjax.train import DivergedError, RunError, StoppedError
from seqjax.train._errors import PeerError
from seqjax.train._files import plain
from seqjax.train._processes import is_first_process
from seqjax.train._streams import protect_streams

FLAGS = flags.FLAGS
flags.disclaim_key_flags()  # --help lists them as the program's own


class ConfigError(OneLineError):
    """A setting that cannot be used."""


def setting(
    default: Any,
    help: str,
    *,
    choices: Sequence[str] = (),
    minimum: float | None = None,
    below: float | None = None,
    names_run: bool = True,
    check: Callable[[Any], None] | None = None,
    load: Callable[[Any], None] | None = None,
    tasks: Sequence[str] = (),
    needed: bool = False,
) -> Any:
    """Declares a field of a configuration.

    Args:
      default: its default.
      help: the flag's help text.
      choices: the allowed values, where there is a list of them.
      minimum: the smallest allowed value of a number.
      below: a number that is not negative must be below this, as a rate below 1.
      names_run: whether a run with another value has a folder of its own; not so where the value
        decides only how a finished run is asked.
      check: `check(value)`, which raises `ConfigError` for a value that cannot be used.
      load: `load(value)`, called for a value that stands on the command line, and for no other,
        before it is checked.
      tasks: those that read it, where not all do; its default says that it is not given.
      needed: whether these cannot do without it.

    Returns:
      The field.
    """
    metadata = {
        "help": help,
        "choices": tuple(choices),
        "minimum": minimum,
        "below": below,
        "names_run": names_run,
        "check": check,
        "load": load,
        "tasks": tuple(tasks),
        "needed": needed,
    }
    return dataclasses.field(default=default, metadata=metadata)


def define_flags(config_type: type, *, shown: Any) -> None:
    """Defines a flag for every field of a configuration.

    Args:
      config_type: frozen dataclass whose fields are made by `setting`.
      shown: configuration whose values the help texts show; flags that are not given stay
        None, so that a preset can fill them in.
    """
    for field in dataclasses.fields(config_type):
        kind = field_type(config_type, field.name)
        value = getattr(shown, field.name)
        help = field.metadata["help"] + ("" if value in (None, "") else f" (default: {value})")
        if field.metadata["choices"]:
            flags.DEFINE_enum(field.name, None, field.metadata["choices"], help)
        elif kind is bool:
            flags.DEFINE_boolean(field.name, None, help)
        elif kind is int:
            flags.DEFINE_integer(field.name, None, help)
        elif kind is float:
            flags.DEFINE_float(field.name, None, help)
        else:
            flags.DEFINE_string(field.name, None, help)


def given_settings(config_type: type) -> dict[str, Any]:
    """Returns the settings that stand on the command line, what they name being loaded."""
    fields = [field for field in dataclasses.fields(config_type) if FLAGS[field.name].present]
    for field in fields:
        if field.metadata["load"] is not None:
            field.metadata["load"](FLAGS[field.name].value)
    return {field.name: FLAGS[field.name].value for field in fields}


def parse_setting(config_type: type, name: str, text: str) -> Any:
    """Returns the value of a setting that is written as text.

    Args:
      config_type: frozen dataclass whose fields are made by `setting`.
      name: which of them.
      text: its value, as a flag would have it.

    Raises:
      ConfigError: if there is no such setting, or the text is not one of its values.
    """
    names = [field.name for field in dataclasses.fields(config_type)]
    if name not in names:
        raise ConfigError(f"There is no setting {name!r}; there are {', '.join(names)}.")
    kind, text = field_type(config_type, name), text.strip()
    parsers = {bool: flags.BooleanParser(), int: flags.IntegerParser(), float: flags.FloatParser()}
    try:
        return parsers[kind].parse(text) if kind in parsers else text
    except (ValueError, TypeError):
        raise ConfigError(f"--{name} must be of type {kind.__name__}, got {text!r}.") from None


def field_type(config_type: type, name: str) -> type:
    """Returns the type of a field, that of `int | None` being `int`."""
    annotation = typing.get_type_hints(config_type)[name]
    if isinstance(annotation, types.UnionType):
        return next(kind for kind in typing.get_args(annotation) if kind is not type(None))
    return annotation


def check_settings(config: Any) -> None:
    """Refuses values outside the declared choices and bounds.

    Args:
      config: a configuration whose fields are made by `setting`.

    Raises:
      ConfigError: naming the setting, what it must be and what it is.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        choices, minimum = field.metadata["choices"], field.metadata["minimum"]
        below = field.metadata["below"]
        if choices and value not in choices:
            raise ConfigError(f"--{field.name} must be one of {', '.join(choices)}; got {value!r}.")
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"--{field.name} must be finite, got {value}.")
        if minimum is not None and value is not None and not value >= minimum:
            raise ConfigError(f"--{field.name} must be at least {minimum:g}, got {value}.")
        if below is not None and value is not None and not 0 <= value < below:
            raise ConfigError(f"--{field.name} must lie in [0, {below:.10g}), got {value}.")
        if field.metadata["check"] is not None:
            field.metadata["check"](value)


def default_workdir(experiment: str, config: Any) -> Path:
    """Returns the folder of a run for which none is given.

    Args:
      experiment: its name.
      config: a configuration whose fields are made by `setting`, one of them `cell`.

    Returns:
      `runs/<experiment>/<cell>-<hash>`, the hash being that of the settings that name a run.
    """
    fields = [field for field in dataclasses.fields(config) if field.metadata["names_run"]]
    settings = {field.name: getattr(config, field.name) for field in fields}
    return named_workdir(experiment, config.cell, settings)


def config_hash(config: Mapping[str, Any]) -> str:
    """Returns a short name for a configuration.

    Args:
      config: every resolved setting.

    Returns:
      Ten hexadecimal digits, whatever the order of the settings.

    Example:
      >>> config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1})
      True
    """
    text = json.dumps(plain(dict(config)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def named_workdir(experiment: str, cell: str, config: Mapping[str, Any]) -> Path:
    """Returns where a run goes if nobody says otherwise.

    Args:
      experiment: name of the experiment.
      cell: name of the cell; its colons become points, since not every file system has them.
      config: every resolved setting.

    Returns:
      `runs/<experiment>/<cell>-<config hash>`.

    Example:
      >>> named_workdir("imdb", "bigru", {"seeds": 3}).as_posix()
      'runs/imdb/bigru-38a0cb50fc'
    """
    return Path("runs") / experiment / f"{cell.replace(':', '.')}-{config_hash(config)}"


def from_mapping(config_type: type, values: Mapping[str, Any]) -> Any:
    """Makes a configuration from the content of a `config.json`.

    Raises:
      ConfigError: if a setting is unknown or missing, or of another type.
    """
    known = {field.name for field in dataclasses.fields(config_type)}
    if known != set(values):
        raise ConfigError(
            f"config.json must hold exactly the settings of this version; missing "
            f"{sorted(known - set(values))}, unknown {sorted(set(values) - known)}."
        )
    for name, annotation in typing.get_type_hints(config_type).items():
        kinds = typing.get_args(annotation) or (annotation,)
        if type(values[name]) not in (*kinds, *((int,) if float in kinds else ())):
            raise ConfigError(
                f"config.json must hold {name} of type {field_type(config_type, name).__name__}, "
                f"got {str(values[name])[:40]!r}."
            )
    return config_type(**values)


def define_device_flags() -> None:
    """Defines the flags that say on what a run computes; they neither name it nor change it."""
    flags.DEFINE_string(
        "mesh",
        "auto",
        "how devices share the work: members trains seeds, and what a sweep has of the same "
        "shapes, together where their batches are alike; batch trains them in turn and splits the "
        "batch over all devices; auto is batch on CPUs and members elsewhere; 4x2 splits the batch "
        "in 4, and in 2 the kernels of recurrent layers; 2xtime4 splits the batch in 2, and in 4 "
        "the steps of recurrent layers, if they are linear or --executor=newton; time4 the steps "
        "alone",
    )
    flags.DEFINE_string(
        "coordinator",
        None,
        "host:port of the first of several processes that compute together, or auto where the "
        "cluster says (Slurm, Open MPI, Kubernetes, Cloud TPU)",
    )
    flags.DEFINE_integer("num_processes", None, "how many processes there are")
    flags.DEFINE_integer("process_id", None, "the number of this process, from 0")


def run_program(define: Callable[[], None], body: Callable[[], None]) -> NoReturn:
    """Runs a program: exit status 0 if it finished, 2 with one line for a user's mistake.

    After SIGTERM or SIGHUP it is 143, after Ctrl-C 130, as shells have it. Whatever the system
    refuses is one line, too. Where nobody can receive the lines the program goes on without them.

    Args:
      define: defines the flags.
      body: the program, called after the flags are read.
    """
    protect_streams()
    logging.set_verbosity(logging.WARNING)  # the libraries tell of every file they close
    define()
    app.run(lambda _: _run(body), flags_parser=_parse)
    raise SystemExit(0)


def _parse(args: Sequence[str]) -> list[str]:
    app.define_help_flags()
    if help_page.asked_for(args[1:]):
        main_module = sys.modules["__main__"]
        spec = getattr(main_module, "__spec__", None)
        program = f"python -m {spec.parent}" if spec and spec.parent else f"python {args[0]}"
        print(help_page.page(program, main_module.__doc__ or "", FLAGS))
        raise SystemExit(0)
    try:
        rest = FLAGS(args)
    except flags.UnrecognizedFlagError as error:
        fail(f"there is no option --{error.flagname}.{suggested_option(error.flagname, [*FLAGS])}")
    except flags.Error as error:
        fail(str(error))
    except SystemExit:  # Abseil's, with status 1, after the help that was asked for
        raise SystemExit(0) from None
    if len(rest) > 1:
        fail(f"unexpected argument {rest[1]!r}; settings are written --name=value.")
    return rest


def suggested_option(name: str, known: Iterable[str]) -> str:
    """Returns the option that is meant, by its initials, its beginning or a slip of the fingers.

    Example:
      >>> suggested_option("lr", ["batch_size", "learning_rate"])
      ' Did you mean --learning_rate?'
    """
    known = list(known)
    close = [each for each in known if "".join(word[0] for word in each.split("_")) == name]
    close += [each for each in known if each.startswith(f"{name}_")]
    close += difflib.get_close_matches(name.replace("-", "_").lower(), known)
    return f" Did you mean --{close[0]}?" if close else " --help lists them all."


def _run(body: Callable[[], None]) -> None:
    try:
        body()
    except (ConfigError, DataError, RunError) as error:
        # A process says what it met itself; what another met, or all, the first one says.
        if isinstance(error, PeerError | DivergedError) and not is_first_process():
            raise SystemExit(2) from None
        fail(str(error))
    except StoppedError as error:
        if is_first_process():
            print(error, file=sys.stderr)
        raise SystemExit(128 + signal.SIGTERM) from None
    except (OSError, MemoryError, RuntimeError) as error:
        fail(_of_the_system(error))
    except KeyboardInterrupt:
        print("Interrupted; run the same command with --resume to continue.", file=sys.stderr)
        raise SystemExit(130) from None


def _of_the_system(error: Exception) -> str:
    """Returns what the system refused; raises the error if it was none of that."""
    if isinstance(error, OSError):
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        reason = error.strerror or str(error) or type(error).__name__
        return f"{' to '.join(names) or 'the system'}: {reason}."
    # JAX's own kind is a RuntimeError with a code in front.
    if isinstance(error, MemoryError) or str(error).startswith("RESOURCE_EXHAUSTED"):
        reason = str(error).split("\n")[0] or "no more can be had"
        return f"not enough memory: {reason} Lower --batch_size or the sizes of the model."
    if "home directory" in str(error):  # pathlib's, of ~ or ~name
        return "there is no such user, or no home folder to put for ~. Give the whole path."
    raise error


def fail(message: str) -> NoReturn:
    """Ends the program with status 2 and one line on standard error."""
    print("error: " + " ".join(message.split()), file=sys.stderr)
    raise SystemExit(2)
