"""A program of any framework on JAX, from a function of our weights and one of its own."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from peers import Program, Weights


def jax_program(
    run: Callable[[Any, jax.Array], jax.Array],
    place: Callable[[Sequence[Any]], Any],
    weights: Sequence[Weights],
    xs: np.ndarray,
    cotangent: np.ndarray,
    *,
    batch_first: bool = False,
    put: Callable[[Any, int | None], Any] = lambda tree, axis: tree,
) -> Program:
    """Makes the program.

    Args:
      run: `run(own weights, xs) -> ys`, with time first or, where `batch_first`, the batch.
      place: our weights to the framework's own, in `jnp` operations.
      weights: ours, a dictionary a direction.
      xs: inputs, (T, B, D).
      cotangent: of the outputs, (T, B, N).
      batch_first: which axis of `run`'s input and outputs is the batch.
      put: `put(tree, batch axis or None)` places arrays on the devices.

    Returns:
      The program.
    """
    batch_axis = 0 if batch_first else 1
    xs, cotangent = (np.swapaxes(a, 0, 1) if batch_first else a for a in (xs, cotangent))
    # Copied, so that frameworks which own their arrays do not share NumPy's unaligned memory.
    xs, cotangent = put((jnp.array(xs), jnp.array(cotangent)), batch_axis)
    own = put(jax.tree.map(jnp.array, place(weights)), None)
    ours = put(jax.tree.map(jnp.array, list(weights)), None)

    def loss(own, xs, cotangent):
        ys = run(own, xs)
        return (ys * cotangent).sum(), ys

    forward = jax.jit(run)
    backward = jax.jit(jax.grad(lambda *args: loss(*args)[0], (0, 1)))
    checked = jax.jit(jax.grad(lambda ours, *rest: loss(place(ours), *rest), (0, 1), has_aux=True))

    def results() -> dict[str, np.ndarray]:
        (of_weights, of_xs), ys = checked(ours, xs, cotangent)
        swap = (lambda a: np.swapaxes(a, 0, 1)) if batch_first else (lambda a: a)
        named = {
            f"{index}.{name}": np.asarray(leaf)
            for index, direction in enumerate(of_weights)
            for name, leaf in direction.items()
        }
        return {"ys": swap(np.asarray(ys)), "xs": swap(np.asarray(of_xs)), **named}

    return Program(
        inference=lambda: jax.block_until_ready(forward(own, xs)),
        train=lambda: jax.block_until_ready(backward(own, xs, cotangent)),
        results=results,
    )


def negated_update(columns: jax.Array, order: Sequence[int] = (1, 0, 2)) -> jax.Array:
    """Returns a GRU's columns (..., 3 H), gates update, reset, candidate, as others order them.

    The update gate, whose sign is the other way round there, changes its sign on the way.
    """
    update, reset, candidate = jnp.split(columns, 3, axis=-1)
    gates = (-update, reset, candidate)
    return jnp.concatenate([gates[i] for i in order], axis=-1)
