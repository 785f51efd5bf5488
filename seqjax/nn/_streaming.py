"""A module's step as one compiled function, for inputs that come one by one."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx


def make_step(
    module: Any, call: Callable[[Any, Any, Any], tuple[Any, Any]] | None = None
) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Compiles a step of a module with its present parameters.

    The module is taken apart here, once: taking it apart at every call, as `nnx.jit` does, would
    cost more than the step of a small network. What is left at a call is one compiled program.

    Args:
      module: a recurrent layer that looks at no later input, or any module, given `call`.
      call: `call(module, x, state) -> (y, state)`; by default `module.step(x, state)`.

    Returns:
      `step(x, state) -> (y, state)`. It keeps the parameters that the module has now; after more
      training make it anew. Start from `layer.initial_state((B,))`.

    Raises:
      ValueError: when called, if a layer looks ahead, or a shape does not fit.

    Example:
      A tagger of which each word is asked as it comes:

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
    call = (lambda module, x, state: module.step(x, state)) if call is None else call
    graph, variables = nnx.split(module)
    # A tuple of arrays, which the compiled function takes apart without a line of Python.
    leaves, structure = jax.tree.flatten(variables)
    # Own copies, as later training may write over the module's.
    leaves = tuple(jax.numpy.array(leaf) for leaf in leaves)

    @jax.jit
    def run(leaves: tuple[jax.Array, ...], x: Any, state: Any) -> tuple[Any, Any]:
        return call(nnx.merge(graph, jax.tree.unflatten(structure, leaves)), x, state)

    def step(x: Any, state: Any) -> tuple[Any, Any]:
        return run(leaves, x, state)

    return step
