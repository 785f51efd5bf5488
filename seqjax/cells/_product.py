"""The recurrent product of a gated cell: dense, or block-diagonal by heads.

A dense kernel has shape (H, G * H). A kernel of `n` heads has shape (n, H / n, G * H / n): each
head multiplies its own part of the state, and its columns are ordered gate by gate. Either way the
results have shape (..., G * H), ordered gate by gate.
"""

import jax.numpy as jnp
from jax import Array, lax

from seqjax.cells._operations import affine


def recurrent_product(hidden: Array, kernel: Array) -> Array:
    """Returns the product of states (..., H) and a kernel: (..., G * H), in float32 or wider."""
    if kernel.ndim == 2:
        return affine(hidden, kernel)
    return _joined(_by_head(split_heads(hidden, len(kernel)), kernel), kernel.shape[1])


def transposed_kernel(kernel: Array) -> Array:
    """Returns the kernel in the layout that `transposed_product` takes."""
    return jnp.swapaxes(kernel, -1, -2)


def transposed_product(gates: Array, kernel: Array) -> Array:
    """Returns the cotangents of the states, (..., H), from the cotangents of the gates.

    Args:
      gates: cotangents of the gates, (..., G * H).
      kernel: the result of `transposed_kernel`.
    """
    if kernel.ndim == 2:
        return affine(gates, kernel)
    parts = _by_head(_heads_of_gates(gates, kernel), kernel)
    return parts.reshape(*parts.shape[:-2], parts.shape[-2] * parts.shape[-1])


def kernel_gradient(hidden: Array, gates: Array, kernel: Array) -> Array:
    """Returns `hidden^T gates`, summed over the steps and within each part of the batch.

    Args:
      hidden: states before the steps, split into parts of the batch: (K, parts, ..., H).
      gates: cotangents of the gates, (K, parts, ..., G * H).
      kernel: the kernel; only its shape is read.

    Returns:
      Array of shape (parts, *kernel.shape), float32 or wider.
    """
    gates = gates.astype(hidden.dtype)
    shared: tuple[int, ...] = (1,)
    if kernel.ndim == 3:
        hidden = split_heads(hidden, len(kernel))
        gates = _heads_of_gates(gates, jnp.swapaxes(kernel, -1, -2))
        shared = (1, hidden.ndim - 2)
    summed = tuple(axis for axis in range(hidden.ndim - 1) if axis not in shared)
    return lax.dot_general(
        hidden,
        gates,
        ((summed, summed), (shared, shared)),
        preferred_element_type=jnp.promote_types(hidden.dtype, jnp.float32),
    )


def dropped(hidden: Array, factor: Array | None) -> Array:
    """Multiplies states (..., H) by the factor of dropout; None changes nothing.

    A factor of shape (..., G * H) holds one factor per gate. The result then has that shape too,
    and the product needs the kernel of `kernel_by_gate`.
    """
    if factor is None:
        return hidden
    copies = factor.shape[-1] // hidden.shape[-1]
    return jnp.concatenate([hidden] * copies, axis=-1) * factor.astype(hidden.dtype)


def transposed_dropped(d_hidden: Array, factor: Array | None, size: int) -> Array:
    """Returns the cotangents of the states, (..., H), from those of `dropped`."""
    if factor is None:
        return d_hidden
    d_hidden = d_hidden * factor.astype(d_hidden.dtype)
    return d_hidden.reshape(*d_hidden.shape[:-1], -1, size).sum(axis=-2)


def kernel_by_gate(kernel: Array) -> Array:
    """Returns the square block of each gate: (..., H, G * H) to (..., G, H, H)."""
    *lead, size, columns = kernel.shape
    return jnp.moveaxis(kernel.reshape(*lead, size, columns // size, size), -2, -3)


def transposed_kernel_by_gate(kernel: Array) -> Array:
    """Undoes `kernel_by_gate`: (..., G, H, H) to (..., H, G * H)."""
    kernel = jnp.moveaxis(kernel, -3, -2)
    return kernel.reshape(*kernel.shape[:-2], -1)


def dense_kernel(kernel: Array, num_gates: int) -> Array:
    """Returns a kernel as one dense array (H, G, H), with zeros between heads."""
    if kernel.ndim == 2:
        return kernel.reshape(kernel.shape[0], num_gates, -1)
    heads, size, _ = kernel.shape
    blocks = kernel.reshape(heads, size, num_gates, size)
    diagonal = jnp.eye(heads, dtype=kernel.dtype)
    spread = diagonal[:, None, None, :, None] * blocks[:, :, :, None, :]
    return spread.reshape(heads * size, num_gates, heads * size)


def split_heads(hidden: Array, heads: int) -> Array:
    """Returns states (..., H) by head: (..., n, H / n)."""
    return hidden.reshape(*hidden.shape[:-1], heads, hidden.shape[-1] // heads)


def _by_head(x: Array, kernel: Array) -> Array:
    """Multiplies (..., n, a) by (n, a, b) for each head separately: (..., n, b)."""
    dtype = jnp.promote_types(kernel.dtype, jnp.float32)
    return jnp.einsum(
        "...na,nab->...nb", x.astype(kernel.dtype), kernel, preferred_element_type=dtype
    )


def _joined(gates: Array, size: int) -> Array:
    """Reorders gates from head by head, (..., n, G * size), to gate by gate, (..., G * H)."""
    *lead, heads, columns = gates.shape
    gates = gates.reshape(*lead, heads, columns // size, size)
    return jnp.swapaxes(gates, -3, -2).reshape(*lead, heads * columns)


def _heads_of_gates(gates: Array, transposed: Array) -> Array:
    """Reorders gates from gate by gate, (..., G * H), to head by head, (..., n, G * H / n)."""
    heads, columns, size = transposed.shape
    *lead, _ = gates.shape
    gates = gates.reshape(*lead, columns // size, heads, size)
    return jnp.swapaxes(gates, -3, -2).reshape(*lead, heads, columns)
