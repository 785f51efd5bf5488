"""Compiles one step of a module, for inputs that arrive one at a time."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from seqjax._checks import check_function
from seqjax.nn._module import check_module


def make_step(
    module: Any, call: Callable[[Any, Any, Any], tuple[Any, Any]] | None = None
) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Compiles a step of a module with its current parameters.

    `make_step` splits the module once. `nnx.jit` would split it at every call, which costs more
    than the step of a small network. A call of the returned function runs one compiled program.

    Args:
      module: a recurrent layer that does not look ahead. With `call`, any module.
      call: `call(module, x, state) -> (y, state)`; by default `module.step(x, state)`.

    Returns:
      `step(x, state) -> (y, state)`. It copies the current parameters of the module, so make a new
      one after more training. Start from `layer.initial_state((B,))`.

    Raises:
      TypeError: if `module` is not a module, or `call` cannot be called.
      ValueError: when called, if a layer looks ahead or a shape does not fit.

    Example:
      A tagger that scores each word as it arrives:

      >>> import jax.numpy as jnp, seqjax
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> layer = seqjax.nn.RNN(seqjax.gru(8), 3, rngs=rngs)
      >>> model = nnx.Dict(recurrent=layer, head=nnx.Linear(8, 2, rngs=rngs))
      >>> def call(model, x, state):
      ...     y, state = model.recurrent.step(x, state)
      ...     return model.head(y), state
      >>> step = seqjax.nn.make_step(model, call)
      >>> state = layer.initial_state((1,))
      >>> for x in jnp.ones((5, 1, 3)):
      ...     scores, state = step(x, state)
      >>> scores.shape
      (1, 2)
    """
    check_module("seqjax.nn.make_step", module)
    arguments = ["module", "x", "state"]
    check_function("seqjax.nn.make_step", "call", call, arguments, optional=True)
    call = (lambda module, x, state: module.step(x, state)) if call is None else call
    graph, variables = nnx.split(module)
    # Pass a flat tuple of arrays: JAX flattens it without running Python code.
    leaves, structure = jax.tree.flatten(variables)
    # Copy the arrays, because later training may overwrite the module's.
    leaves = tuple(jax.numpy.array(leaf) for leaf in leaves)

    @jax.jit
    def run(leaves: tuple[jax.Array, ...], x: Any, state: Any) -> tuple[Any, Any]:
        return call(nnx.merge(graph, jax.tree.unflatten(structure, leaves)), x, state)

    def step(x: Any, state: Any) -> tuple[Any, Any]:
        return run(leaves, x, state)

    return step
