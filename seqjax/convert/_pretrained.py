"""A whole model as a folder: its weights, and the arguments that make it."""

import hashlib
import inspect
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from seqjax import nn
from seqjax.convert import _own as own
from seqjax.convert._errors import ConvertError, first_line
from seqjax.convert._files import read_safetensors, replace_bytes, write_safetensors
from seqjax.nn._module import check_module

WEIGHTS, CONFIG = "model.safetensors", "config.json"
MOST_BYTES = 2**20  # of config.json, and of the names in the weights' file


def save_pretrained(
    model: nnx.Module, folder: str | os.PathLike, config: Mapping[str, Any]
) -> None:
    """Saves a model as `model.safetensors` and `config.json`.

    Args:
      model: any NNX module whose only state is its parameters.
      folder: made when missing; a model that is there is replaced.
      config: the arguments that the class of the model was called with, apart from `rngs`, as JSON
        has them: numbers, strings, booleans, None, lists and dictionaries of them.

    Raises:
      ConvertError: if the class and `config` make another model than this one, the model has other
        state, or `config` is not plain JSON.
      OSError: if the folder cannot be written.

    Example:
      >>> import tempfile, seqjax
      >>> from flax import nnx
      >>> from seqjax import convert
      >>> config = {"in_features": 3, "hidden_size": 8, "num_layers": 2}
      >>> model = seqjax.nn.LSTM(**config, rngs=nnx.Rngs(0))
      >>> folder = tempfile.mkdtemp()
      >>> convert.save_pretrained(model, folder, config)
      >>> convert.load_pretrained(folder).out_features
      8
    """
    where = "seqjax.convert.save_pretrained"
    check_module(where, model)
    config = _plain(where, config)
    if other := nnx.to_flat_state(nnx.state(model, nnx.Not(nnx.Any(nnx.Param, nnx.RngState)))):
        raise ConvertError(
            f"{where}: a model must have no state but parameters, got "
            f"{'.'.join(map(str, other[0][0]))}. Save its nnx.state with Orbax."
        )
    made = _abstract(where, type(model), config)
    if _form(made) != _form(nnx.eval_shape(lambda: model)):
        raise ConvertError(
            f"{where}: {type(model).__name__}(**config, rngs=...) must make the model, got one "
            f"that makes another, with config {json.dumps(config)}. Give all arguments."
        )
    weights = own.dump(model)
    halves = [name for name, array in weights.items() if array.dtype == jax.numpy.bfloat16]
    weights |= {name: weights[name].astype(np.float32) for name in halves}  # safetensors of NumPy
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / WEIGHTS, weights)
    content = {"class": type(model).__name__, "config": config, "sha256": _sha256(folder / WEIGHTS)}
    replace_bytes(folder / CONFIG, (json.dumps(content, indent=2) + "\n").encode())


def load_pretrained(folder: str | os.PathLike, make: Callable[..., Any] | None = None) -> Any:
    """Loads a model that `save_pretrained` saved.

    No file can run a program: `config.json` has arguments, not code, and no class is imported by
    its name. The files are checked before the model is made.

    Args:
      folder: of the model.
      make: the class of the model, called as `make(**config, rngs=...)`. By default one of
        `seqjax.nn`, by the name in `config.json`.

    Returns:
      The model.

    Raises:
      ConvertError: if a file is missing, damaged, too large, or not what was saved; the class is
        another or unknown; or the parameters have other names or shapes than those of the model.

    Example:
      See `save_pretrained`.
    """
    where, folder = "seqjax.convert.load_pretrained", Path(folder)
    name, config, sha256 = _read_config(where, folder / CONFIG)
    if make is None:
        known: dict[str, Any] = {k: kind for k, kind in vars(nn).items() if inspect.isclass(kind)}
        if (make := known.get(name)) is None:
            raise ConvertError(
                f"{where}: without `make`, the class must be one of {', '.join(sorted(known))}, "
                f"got {name!r}. Pass the class: load_pretrained(folder, {name})."
            )
    model = _abstract(where, make, config)
    if type(model).__name__ != name:
        raise ConvertError(
            f"{where}: `make` must make a {name}, which {folder} holds, got a "
            f"{type(model).__name__}."
        )
    shapes = {
        ".".join(map(str, path)): param.shape
        for path, param in nnx.to_flat_state(nnx.state(model, nnx.Param))
    }
    file, numbers = folder / WEIGHTS, sum(map(math.prod, shapes.values()))
    size = _size(where, file)
    if size > 16 * numbers + MOST_BYTES:
        raise ConvertError(
            f"{where}: {str(file)!r} must hold the {numbers:,} parameters of the model, got "
            f"{size:,} bytes. Save the model again."
        )
    if _sha256(file) != sha256:
        raise ConvertError(
            f"{where}: {str(file)!r} must be the file that was saved with {CONFIG}, got another or "
            "a damaged one. Save the model again."
        )
    weights = read_safetensors(file)
    got = {key: array.shape for key, array in weights.items()}
    if differing := [key for key in {**shapes, **got} if shapes.get(key) != got.get(key)]:
        key = differing[0]
        raise ConvertError(
            f"{where}: parameter {key!r} must have shape {shapes.get(key, 'none')} for the model "
            f"of {CONFIG}, got {got.get(key, 'none')}. Save the model again."
        )
    made: Any = make(**config, rngs=nnx.Rngs(0))
    own.load(made, weights)
    return made


def _plain(where: str, config: Any) -> dict[str, Any]:
    try:
        plain = (
            json.loads(json.dumps(config, allow_nan=False)) if isinstance(config, dict) else None
        )
    except (TypeError, ValueError):
        plain = None
    if plain is None or plain != config:
        raise ConvertError(
            f"{where}: `config` must be a dictionary of names to plain JSON, got {config!r}. Give "
            "lists for tuples, and names for dtypes and functions."
        )
    return plain


def _abstract(where: str, make: Callable[..., Any], config: dict[str, Any]) -> nnx.Module:
    """Returns the model that a class makes, with shapes for arrays: nothing is computed."""
    try:
        model = nnx.eval_shape(lambda: make(**config, rngs=nnx.Rngs(0)))
    except (TypeError, ValueError) as error:
        name = getattr(make, "__name__", "make")
        raise ConvertError(
            f"{where}: {name}(**config, rngs=...) must make the model, got {first_line(error)}"
        ) from error
    check_module(where, model)
    return model


def _form(model: nnx.Module) -> tuple[Any, Any]:
    """Returns the structure of a model in its test mode, and the shapes of its parameters."""
    model.eval()
    graph, params, _ = nnx.split(model, nnx.Param, ...)
    return graph, jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), nnx.to_pure_dict(params))


def _read_config(where: str, path: Path) -> tuple[str, dict[str, Any], str]:
    if _size(where, path) > MOST_BYTES:
        raise ConvertError(f"{where}: {str(path)!r} must have at most {MOST_BYTES:,} bytes.")
    try:
        content = json.loads(path.read_bytes())
        name, config, sha256 = (content[key] for key in ("class", "config", "sha256"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConvertError(
            f"{where}: {str(path)!r} must hold what `save_pretrained` wrote, got "
            f"{type(error).__name__}: {first_line(error)}."
        ) from error
    if not (isinstance(name, str) and isinstance(config, dict) and isinstance(sha256, str)):
        raise ConvertError(f"{where}: {str(path)!r} must hold what `save_pretrained` wrote.")
    return name, config, sha256


def _size(where: str, path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise ConvertError(
            f"{where}: {str(path)!r} must be a file that can be read, got {error.strerror}."
        ) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
