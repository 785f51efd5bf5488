"""Transforms that change the recurrent kernel, once per run, in `prepare`."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.linalg import expm

from seqjax._checks import check_choice, check_rates
from seqjax.cells._gated import GatedCell, KernelMap
from seqjax.cells._product import kernel_by_gate, transposed_kernel_by_gate
from seqjax.transforms._variational_dropout import check_gated


def weight_drop(cell: GatedCell, rate: float = 0.5) -> GatedCell:
    """Drops weights of the recurrent kernel (DropConnect), the same ones at every step of a run.

        R := M * R,     M ~ Bernoulli(1 - p) / (1 - p), drawn once per call

    Without a key, as at test time, nothing is dropped.

    Args:
      cell: a `GatedCell` with a recurrent product.
      rate: `p`, the probability that a weight is dropped.

    Returns:
      The cell. Its parameters and its state are those of `cell`.

    Raises:
      TypeError: if `cell` is not a `GatedCell`.
      ValueError: if `rate` is not in [0, 1), or the cell has no recurrent product, or
        computes its kernel from other parameters.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.transforms.weight_drop(seqjax.lstm(4), 0.5)
      >>> params, xs = cell.init(jax.random.key(0), 3), jnp.ones((7, 2, 3))
      >>> ys, state = seqjax.unroll(cell, params, xs, key=jax.random.key(1))
      >>> ys.shape
      (7, 2, 4)

    Reference: Merity, Keskar and Socher (2018), Regularizing and optimizing LSTM language models.
    """
    _check_kernel("weight_drop", cell)
    check_rates("seqjax.transforms.weight_drop", rate=rate)
    return _mapped(cell, _Drop(rate))


def weight_norm(cell: GatedCell) -> GatedCell:
    """Learns the length and the direction of each recurrent kernel column separately.

        R[:, j] = g_j * V[:, j] / |V[:, j]|

    `cell.init` draws `V` as the kernel of `cell`. `g` starts at the lengths of its columns.

    Args:
      cell: a `GatedCell` with a recurrent product.

    Returns:
      The cell. Its parameter `recurrent_kernel` is a dictionary: `direction` is `V`, and `length`
      is `g`. Its state is that of `cell`.

    Raises:
      TypeError: if `cell` is not a `GatedCell`.
      ValueError: if the cell has no recurrent product, computes its kernel from other parameters,
        or another transform has already changed it.

    Example:
      >>> import jax, seqjax
      >>> cell = seqjax.transforms.weight_norm(seqjax.lstm(4))
      >>> kernel = cell.init(jax.random.key(0), 3).recurrent_kernel
      >>> kernel["direction"].shape, kernel["length"].shape
      ((4, 16), (16,))

    Reference: Salimans and Kingma (2016), Weight normalization.
    """
    _check_kernel("weight_norm", cell)
    if cell.kernel_maps:
        raise ValueError(
            f"seqjax.transforms.weight_norm: it must be the first transform of the kernel, got "
            f"{cell!r} after {type(cell.kernel_maps[-1]).__name__.strip('_').lower()}. Apply "
            "weight_norm first."
        )
    return _mapped(cell, _Norm())


def spectral_bound(cell: GatedCell, bound: float = 1.0, *, iterations: int = 30) -> GatedCell:
    """Bounds the largest singular value of each gate's recurrent kernel.

        R := R * min(1, bound / sigma(R))

    Power iteration computes `sigma`, the largest singular value. It always starts at the same
    vector and keeps no state between runs. The gradient flows through `sigma`; the singular
    vectors count as constants.

    Args:
      cell: a `GatedCell` with a recurrent product.
      bound: upper bound of the largest singular value.
      iterations: steps of the power iteration. With too few, `sigma` is too small, so the kernel
        may exceed the bound.

    Returns:
      The cell. Its parameters and its state are those of `cell`.

    Raises:
      TypeError: if `cell` is not a `GatedCell`.
      ValueError: if `bound` is not above 0, `iterations` is below 1, or the cell has no recurrent
        product, or computes its kernel from other parameters.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.transforms.spectral_bound(seqjax.elman(4), 0.9)
      >>> kernel = cell.prepare(cell.init(jax.random.key(0), 3)).recurrent_kernel
      >>> round(float(jnp.linalg.norm(kernel, 2)), 3)
      0.9

    Reference: Miyato et al. (2018), Spectral normalization for generative adversarial networks.
    """
    _check_kernel("spectral_bound", cell)
    if not bound > 0 or iterations < 1:
        raise ValueError(
            "seqjax.transforms.spectral_bound: `bound` must be above 0 and `iterations` at least "
            f"1, got {bound!r} and {iterations!r}."
        )
    return _mapped(cell, _Bound(float(bound), iterations))


def orthogonal(cell: GatedCell, method: Literal["cayley", "exponential"] = "cayley") -> GatedCell:
    """Keeps each gate's recurrent kernel orthogonal, so that it neither shrinks nor grows a state.

        A = M - M^T
        R = (I + A)^-1 (I - A)      "cayley"
        R = exp(A)                  "exponential"

    where `M` is the parameter that replaces `R`. A kernel of the Cayley form never has the
    eigenvalue -1.

    Args:
      cell: a `GatedCell` with a recurrent product; with heads, each block is orthogonal.
      method: "cayley" or "exponential".

    Returns:
      The cell. Its parameters have the same shapes as those of `cell`. Its state is that of `cell`.

    Raises:
      TypeError: if `cell` is not a `GatedCell`.
      ValueError: if `method` is unknown, or the cell has no recurrent product, or
        computes its kernel from other parameters.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.transforms.orthogonal(seqjax.elman(4))
      >>> kernel = cell.prepare(cell.init(jax.random.key(0), 3)).recurrent_kernel
      >>> bool(jnp.allclose(kernel @ kernel.T, jnp.eye(4), atol=1e-5))
      True

    Reference: Helfrich, Willmott and Ye (2018), Orthogonal recurrent neural networks with scaled
    Cayley transform; Lezcano-Casado and Martinez-Rubio (2019), Cheap orthogonal constraints in
    neural networks.
    """
    _check_kernel("orthogonal", cell)
    check_choice("seqjax.transforms.orthogonal", "method", method, ("cayley", "exponential"))
    return _mapped(cell, _Orthogonal(method))


def _check_kernel(where: str, cell: GatedCell) -> None:
    """Refuses a cell whose `prepare` computes its kernel from other parameters."""
    check_gated(where, cell)
    if type(cell).prepare is not GatedCell.prepare:
        raise ValueError(
            f"seqjax.transforms.{where}: the recurrent kernel of `cell` must be a parameter, got "
            f"{cell!r}, whose `prepare` computes it. Use a cell such as seqjax.lstm(64)."
        )


def _mapped(cell: GatedCell, kernel_map: KernelMap) -> GatedCell:
    return dataclasses.replace(cell, kernel_maps=(*cell.kernel_maps, kernel_map))


@dataclasses.dataclass(frozen=True)
class _Drop(KernelMap):
    rate: float
    draws_noise = True

    def __call__(self, kernel: Any, key: Array | None) -> Array:
        if key is None:
            return kernel
        keep = jax.random.bernoulli(key, 1 - self.rate, kernel.shape)
        return jnp.where(keep, kernel / (1 - self.rate), 0)


@dataclasses.dataclass(frozen=True)
class _Norm(KernelMap):
    def start(self, kernel: Any) -> Any:
        return {"direction": kernel, "length": _lengths(kernel).squeeze(-2)}

    def __call__(self, kernel: Any, key: Array | None) -> Array:
        direction = kernel["direction"]
        return kernel["length"][..., None, :] * direction / _lengths(direction)


@dataclasses.dataclass(frozen=True)
class _Bound(KernelMap):
    bound: float
    iterations: int

    def __call__(self, kernel: Any, key: Array | None) -> Array:
        blocks = kernel_by_gate(kernel)
        # A vector of ones may be orthogonal to the singular vector; a random one almost never is.
        v = jax.random.normal(jax.random.key(0), (*blocks.shape[:-2], blocks.shape[-1], 1))
        v = v.astype(blocks.dtype)
        fixed = lax.stop_gradient(blocks)
        turned = jnp.swapaxes(fixed, -1, -2)
        for _ in range(self.iterations - 1):
            v = _unit(turned @ _unit(fixed @ v))
        u = _unit(fixed @ v)
        v = _unit(turned @ u)
        sigma = jnp.swapaxes(u, -1, -2) @ blocks @ v
        scale = jnp.minimum(1, self.bound / jnp.maximum(sigma, jnp.finfo(sigma.dtype).tiny))
        return transposed_kernel_by_gate(blocks * scale)


@dataclasses.dataclass(frozen=True)
class _Orthogonal(KernelMap):
    method: str

    def __call__(self, kernel: Any, key: Array | None) -> Array:
        blocks = kernel_by_gate(kernel)
        skew = blocks - jnp.swapaxes(blocks, -1, -2)
        if self.method == "exponential":
            return transposed_kernel_by_gate(expm(skew))
        identity = jnp.broadcast_to(jnp.eye(blocks.shape[-1], dtype=blocks.dtype), blocks.shape)
        return transposed_kernel_by_gate(jnp.linalg.solve(identity + skew, identity - skew))


def _lengths(kernel: Array) -> Array:
    return jnp.sqrt((kernel**2).sum(axis=-2, keepdims=True))


def _unit(x: Array) -> Array:
    # A kernel of zeros has no direction.
    return x / jnp.maximum(_lengths(x), jnp.finfo(x.dtype).tiny)
