"""What makes a number credible: of what parameters, what software, how many seeds."""

import hashlib
from collections.abc import Sequence
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
      False
    """
    return {name.upper(): str(getattr(jax.config, name)) for name in _DECIDING}


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, list[float | None]]:
    """The mean over seeds and Student's t interval for it.

    Why not the percentile bootstrap: it resamples the seeds at hand, so with n = 3 its interval can
    never be wider than they are, ignores that their spread is itself a guess, and covers the true
    mean about 75 % of the time where 95 % is claimed. The t quantile (4.30 at n = 3) accounts for
    that exactly when seeds scatter normally, and well enough when they roughly do.

    Args:
      values: one number a seed.
      confidence: probability that the interval covers the mean.

    Returns:
      The mean, and `[low, high]`: `[None, None]` for a single seed, which says nothing of
      the spread.

    Raises:
      ValueError: if there are no values, or `confidence` is outside (0, 1).

    Example:
      >>> mean, (low, high) = interval([0.80, 0.82, 0.84])
      >>> round(mean, 3), round(low, 3), round(high, 3)
      (0.82, 0.77, 0.87)
    """
    if len(values) == 0 or not 0.0 < confidence < 1.0:
        raise ValueError(
            "seqjax.train.interval: at least one value and 0 < confidence < 1 are required, got "
            f"{len(values)} values and confidence {confidence}."
        )
    array = np.asarray(values, np.float64)
    mean = float(array.mean())
    if len(array) == 1:
        return mean, [None, None]
    from scipy import stats  # half a second, which only finished runs need

    half = float(stats.t.ppf((1.0 + confidence) / 2.0, len(array) - 1) * stats.sem(array))
    return mean, [mean - half, mean + half]


def summarise(per_seed: Sequence[float]) -> dict[str, Any]:
    """A metric as `result.json` holds it.

    Args:
      per_seed: one number a seed.

    Returns:
      `mean`, `ci95` and `per_seed`.

    Example:
      >>> summarise([0.5])
      {'mean': 0.5, 'ci95': [None, None], 'per_seed': [0.5]}
    """
    values = [float(value) for value in per_seed]
    mean, ci95 = interval(values)
    return {"mean": mean, "ci95": ci95, "per_seed": values}
