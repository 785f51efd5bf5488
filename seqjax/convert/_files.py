"""Files of weights: safetensors, which holds arrays and nothing that could run."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from seqjax.convert._checks import as_array
from seqjax.convert._errors import ConvertError, first_line

_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt")
_OTHERS = {b"PK": "a zip archive", b"\x80": "a pickle", b"\x89HDF": "an HDF5 file"}


def read_safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the arrays of a safetensors file.

    Nothing is ever unpickled: a PyTorch `.pt` file can run any program when it is opened, and is
    refused.

    Args:
      path: of the file.

    Returns:
      Arrays by name.

    Raises:
      ConvertError: if the file is of another kind, cut short or malformed, or holds numbers that
        NumPy does not have (bfloat16).
      OSError: if it cannot be opened.

    Example:
      >>> import tempfile, numpy as np
      >>> from seqjax import convert
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     convert.write_safetensors(f"{folder}/a.safetensors", {"fc.bias": np.ones(2)})
      ...     convert.read_safetensors(f"{folder}/a.safetensors")["fc.bias"].tolist()
      [1.0, 1.0]
    """
    path = Path(path)
    with path.open("rb") as file:
        start = file.read(9)
    kind = next((kind for sign, kind in _OTHERS.items() if start.startswith(sign)), None)
    if start.endswith(b"{"):  # the header of safetensors; its length may begin as those files do
        kind = None
    if path.suffix in _PICKLES or kind:
        raise ConvertError(
            f"seqjax.convert: {str(path)!r} must be a safetensors file, got "
            f"{kind or 'a ' + path.suffix + ' file'}, which is not opened. Where it comes from, "
            "write one: safetensors.torch.save_file(torch_model.state_dict(), "
            "'model.safetensors'); of Keras or Flax take the arrays themselves."
        )
    try:
        return load_file(path)
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ConvertError(
            f"seqjax.convert: {str(path)!r} must be a whole safetensors file of float16, float32 "
            f"or float64 arrays, got: {first_line(error)}. Fetch or write it again."
        ) from error


def write_safetensors(path: str | os.PathLike, weights: Mapping[str, Any]) -> None:
    """Writes arrays to a safetensors file, whole or not at all.

    Args:
      path: of the file.
      weights: arrays by name, as `dump` returns them for "torch" and "seqjax".

    Raises:
      ConvertError: if `weights` is no flat mapping of names to arrays.
      OSError: if the file cannot be written.

    Example:
      See `read_safetensors`.
    """
    if not isinstance(weights, Mapping) or not all(isinstance(name, str) for name in weights):
        raise ConvertError(
            "seqjax.convert: a file must be given a flat mapping of names to arrays, got "
            f"{type(weights).__name__}. dump(module, 'torch') or dump(module, 'seqjax') makes one."
        )
    # The library writes the memory of an array, whatever its strides say.
    arrays = {
        name: np.ascontiguousarray(as_array(f"seqjax.convert: {name!r}", array))
        for name, array in weights.items()
    }
    if bad := [name for name, array in arrays.items() if array.dtype.kind not in "fiub"]:
        raise ConvertError(
            f"seqjax.convert: a file must be given arrays of numbers, got others as {bad[:8]}. "
            "dump(module, 'torch') or dump(module, 'seqjax') makes a flat mapping of them."
        )
    replace_bytes(Path(path), save(arrays))


def replace_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
