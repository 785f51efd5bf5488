"""A trained model as a file that runs with JAX alone."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from flax import nnx
from jax import export as jax_export

from seqjax._checks import check_choice, check_function, check_names
from seqjax.convert._errors import ConvertError, first_line
from seqjax.convert._files import replace_bytes

PLATFORMS = ("cpu", "cuda", "tpu")
KNOWN_PLATFORMS = (*PLATFORMS, "rocm")


def export(
    model: Callable[..., Any],
    path: str | os.PathLike,
    *inputs: tuple[str, Any],
    platforms: Sequence[str] = PLATFORMS,
) -> None:
    """Writes a model as a file that neither this library nor the model's code is needed for.

    The file holds the program before it is compiled for a device (StableHLO), with the parameters
    in it. It runs anywhere that JAX does; by its documentation a newer JAX reads it for at least
    six months:

        from jax import export
        model = export.deserialize(open("model.jax", "rb").read())
        logits = model.call(tokens, lengths)

    Args:
      model: a module, or any function of arrays that JAX can trace.
      path: of the file.
      *inputs: shape and dtype of each argument. A name in a shape stands for any size of at least
        1, and the same name for the same size: `("batch, time, 3", "float32")`.
      platforms: for which kinds of device.

    Raises:
      TypeError: if the model cannot be called with as many arguments.
      ValueError: if a platform is unknown.
      ConvertError: if a shape is malformed, or the model needs the size of what has a name.
      OSError: if the file cannot be written.

    Example:
      >>> import tempfile, pathlib, jax.numpy as jnp, seqjax
      >>> from flax import nnx
      >>> from seqjax import convert
      >>> layer = seqjax.nn.RNN(seqjax.elman(4), 3, rngs=nnx.Rngs(0))
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     file = pathlib.Path(folder, "model.jax")
      ...     convert.export(layer, file, ("batch, time, 3", "float32"))
      ...     model = jax.export.deserialize(file.read_bytes())
      >>> model.call(jnp.ones((2, 5, 3))).shape
      (2, 5, 4)

    Reference: JAX documentation, Exporting and serializing staged-out computations.
    """
    where = "seqjax.convert.export"
    check_function(where, "model", model, [f"input_{number}" for number in range(len(inputs))])
    check_names(where, platforms=platforms)
    for platform in platforms:
        check_choice(where, "platforms", platform, KNOWN_PLATFORMS)
    graph, variables = nnx.split(model) if isinstance(model, nnx.Module) else (None, None)

    def call(*arguments: Any) -> Any:
        whole: Any = model if graph is None else nnx.merge(graph, variables)
        return _plain(whole(*arguments))

    scope = jax_export.SymbolicScope()
    try:
        specs = [
            jax.ShapeDtypeStruct(jax_export.symbolic_shape(shape, scope=scope), dtype)
            for shape, dtype in inputs
        ]
    except (ValueError, TypeError) as error:
        raise ConvertError(
            "seqjax.convert.export: `inputs` must be pairs of a shape such as 'batch, time, 3' and "
            f"a dtype, got {inputs!r} ({first_line(error)})."
        ) from error
    try:
        exported = jax_export.export(jax.jit(call), platforms=platforms)(*specs)
    except jax.errors.InconclusiveDimensionOperation as error:
        raise ConvertError(
            "seqjax.convert.export: the model must not need a size that has a name, got "
            f"{first_line(error)} Give that size as a number in {inputs!r}."
        ) from error
    replace_bytes(Path(path), bytes(exported.serialize()))


def _plain(tree: Any) -> Any:
    """Returns results as tuples, lists and dictionaries, which need no code to be read."""
    if isinstance(tree, tuple | list):
        return tuple(_plain(each) for each in tree)
    if isinstance(tree, dict):
        return {key: _plain(each) for key, each in tree.items()}
    return tree
