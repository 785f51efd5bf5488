"""Weights of a module as we name them ourselves: every parameter by its path."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from seqjax.convert._checks import as_array
from seqjax.convert._errors import ConvertError
from seqjax.nn._module import check_module


def dump(module: nnx.Module) -> dict[str, np.ndarray]:
    """Returns every parameter of a module by its path, such as `recurrent.weights.bias`."""
    return {name: np.array(param[...], order="C") for name, param in _params(module).items()}


def load(module: nnx.Module, weights: Any) -> None:
    """Puts every parameter of a module in its place; nothing changes if anything is refused."""
    params = _params(module)
    if not isinstance(weights, Mapping) or set(weights) != set(params):
        names = set(weights) if isinstance(weights, Mapping) else {type(weights).__name__}
        differing = sorted(map(str, names ^ set(params)))
        raise ConvertError(
            "seqjax.convert: seqjax weights must be a mapping with the names of all parameters of "
            f"the module, got a difference in {', '.join(differing[:8])}. Make the module as the "
            "one that was saved."
        )
    arrays = {name: as_array(f"seqjax.convert: {name!r}", weights[name]) for name in params}
    for name, param in params.items():
        shape, dtype = arrays[name].shape, arrays[name].dtype
        complex_too = jnp.issubdtype(param.dtype, jnp.complexfloating)
        kind = jnp.inexact if complex_too else jnp.floating
        if shape != param.shape or not jnp.issubdtype(dtype, kind):
            raise ConvertError(
                f"seqjax.convert: {name!r} must be an array of shape {param.shape}, got {dtype} "
                f"of shape {shape}. Make the module as the one that was saved."
            )
    for name, param in params.items():
        param[...] = jnp.array(arrays[name], param.dtype)


def _params(module: nnx.Module) -> dict[str, Any]:
    check_module("seqjax.convert", module)
    flat = nnx.to_flat_state(nnx.state(module, nnx.Param))
    return {".".join(map(str, path)): param for path, param in flat}
