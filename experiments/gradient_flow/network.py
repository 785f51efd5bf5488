"""The networks that are trained: a cell with a linear read-out, and a window without memory."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

import seqjax
from seqjax.cells import Cell


class Network(NamedTuple):
    """A network as pure functions of its parameters.

    Attributes:
      init: `init(key, in_size, out_size) -> params`.
      apply: `apply(params, inputs) -> outputs`, (B, T, in_size) to (B, T, out_size).
    """

    init: Any
    apply: Any


def recurrent(cell: Cell) -> Network:
    """Makes a recurrent network: the cell, and a linear read-out at every step."""

    def init(key: Array, in_size: int, out_size: int) -> dict[str, Any]:
        cell_key, key = jax.random.split(key)
        return {
            "cell": cell.init(cell_key, in_size),
            "read_out": _dense(key, cell.out_size, out_size),
        }

    def apply(params: Any, inputs: Array) -> Array:
        ys, _ = seqjax.unroll(cell, params["cell"], jnp.swapaxes(inputs, 0, 1))
        return jnp.swapaxes(_affine(params["read_out"], ys), 0, 1)

    return Network(init, apply)


def feed_forward(window: int, hidden_size: int) -> Network:
    """Makes two layers of rectified linear units on the last `window` steps; no memory beyond."""

    def init(key: Array, in_size: int, out_size: int) -> dict[str, Any]:
        sizes = (window * in_size, hidden_size, hidden_size, out_size)
        keys = jax.random.split(key, 3)
        pairs = zip(keys, sizes[:-1], sizes[1:], strict=True)
        return {f"layer_{n}": _dense(key, *shape) for n, (key, *shape) in enumerate(pairs)}

    def apply(params: Any, inputs: Array) -> Array:
        length = inputs.shape[1]
        padded = jnp.pad(inputs, ((0, 0), (window - 1, 0), (0, 0)))
        seen = [padded[:, start : start + length] for start in range(window)]
        values = jnp.concatenate(seen, axis=-1)
        values = jax.nn.relu(_affine(params["layer_0"], values))
        values = jax.nn.relu(_affine(params["layer_1"], values))
        return _affine(params["layer_2"], values)

    return Network(init, apply)


def _dense(key: Array, in_size: int, out_size: int) -> dict[str, Array]:
    kernel = jax.nn.initializers.glorot_uniform()(key, (in_size, out_size))
    return {"kernel": kernel, "bias": jnp.zeros(out_size)}


def _affine(layer: dict[str, Array], x: Array) -> Array:
    y = x @ layer["kernel"]
    return y + jnp.broadcast_to(layer["bias"], y.shape)
