"""What makes a number credible: of what parameters and what software."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.train._processes import fetch

_DECIDING = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_random_seed_offset",
)


def params_sha256(params: Any) -> str:
    """Hashes a pytree of arrays, names, shapes, dtypes and bytes, in the order of its paths.

    Args:
      params: pytree of arrays; PRNG keys count as their data.

    Returns:
      64 hexadecimal digits; equal for two pytrees only if every bit of them is.

    Example:
      >>> params_sha256({"b": np.zeros(2), "a": np.ones(3)})[:8]
      '0e3c0fcd'
    """
    digest = hashlib.sha256()
    named = {jax.tree_util.keystr(p): x for p, x in jax.tree_util.tree_leaves_with_path(params)}
    for path, leaf in sorted(named.items()):
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.asarray(fetch(leaf))
        digest.update(f"{path} {array.shape} {array.dtype.name}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def numerics() -> dict[str, Any]:
    """The settings of JAX that decide numbers.

    Returns:
      Name of the environment variable to value.

    Example:
      >>> numerics()["JAX_ENABLE_X64"]
      'False'
    """
    return {name.upper(): str(getattr(jax.config, name)) for name in _DECIDING}
