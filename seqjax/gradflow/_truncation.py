"""Measures the gradient bias of truncated back-propagation through time."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from seqjax._checks import check_sizes
from seqjax._unroll import unroll, widened
from seqjax.cells._cell import Cell
from seqjax.gradflow._flat import floating
from seqjax.gradflow._norms import Loss, check_measure, checked_scalar, with_extra_input


class TruncationBias(NamedTuple):
    """The truncated gradient compared with the full gradient, for each segment length.

    Attributes:
      steps: steps in a segment, k, shape (K,).
      cosine: cosine of the angle between the two gradients, shape (K,); 0 if either is zero.
      norm_ratio: norm of the truncated gradient divided by the norm of the full gradient, shape
        (K,).
    """

    steps: Array
    cosine: Array
    norm_ratio: Array


def truncation_bias(
    cell: Cell,
    params: Any,
    xs: ArrayLike,
    loss: Loss,
    steps: Sequence[int],
    *,
    initial_state: Any = None,
) -> TruncationBias:
    """Compares the gradient truncated to segments of k steps with the full gradient.

    Time is cut into segments of k steps, counted from the end. No gradient passes from a segment to
    the previous segment. The states and the loss are the same as in the full run.

    The gradient of a loss on the last output reaches exactly the last k steps. The gradient of an
    output at step j of its segment reaches the first j steps of that segment. Training in chunks
    with a carried state computes the same gradient. It is defined for any cell and costs one
    backward pass for each k. If every output reached back exactly k steps, it would cost k passes.

    Args:
      cell: any cell.
      params: its parameters. The gradients are with respect to `params`.
      xs: inputs, shape (T, *B, D).
      loss: `loss(ys, final_state) -> scalar`, over the whole batch.
      steps: segment lengths k to compare, each at least 1. From k = T on, the gradient is full.
      initial_state: the state before the first step; by default `cell.initial_state`.

    Returns:
      The cosine and the norm ratio for each k.

    Raises:
      ValueError: if a length is below 1 or the loss is not a scalar, and in the cases of
        `seqjax.unroll`.
      TypeError: if `cell` is not a cell, or `loss` cannot be called as above.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.lstm(4)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> xs = jax.random.normal(jax.random.key(1), (8, 2, 3))
      >>> bias = truncation_bias(cell, params, xs, lambda ys, state: ys[-1].sum(), [1, 4, 8])
      >>> bool(bias.cosine[0] < bias.cosine[1] < bias.cosine[2]), float(bias.norm_ratio[2])
      (True, 1.0)

    Reference: Williams and Peng (1990), An efficient gradient-based algorithm for on-line training
    of recurrent network trajectories; Tallec and Ollivier (2017), Unbiasing truncated
    backpropagation through time.
    """
    where = "seqjax.gradflow.truncation_bias"
    check_measure(where, cell, loss)
    check_sizes(where, **{f"steps[{index}]": length for index, length in enumerate(steps)})
    if not len(steps):
        raise ValueError(f"{where}: `steps` must hold one segment length or more, got none.")
    xs = floating(xs)
    num_steps = xs.shape[0]
    params = widened(params)

    def cut_state(step, state, cut):
        def choose(leaf: Array) -> Array:
            # The flag has the batch axes and one more axis. A leaf has the batch axes and its own.
            flag = cut.reshape(*cut.shape[:-1], *(1 for _ in range(leaf.ndim - cut.ndim + 1)))
            return jnp.where(jnp.broadcast_to(flag > 0, leaf.shape), lax.stop_gradient(leaf), leaf)

        return step(jax.tree.map(choose, state))

    extended = with_extra_input(cell, cut_state, xs.shape[-1])

    def gradient(length: Array) -> Array:
        # The state is cut before the first step of each segment.
        cuts = ((num_steps - jnp.arange(num_steps)) % length == 0).astype(xs.dtype)
        cuts = cuts.at[0].set(0)
        cuts = jnp.broadcast_to(cuts.reshape(-1, *(1 for _ in xs.shape[1:])), (*xs.shape[:-1], 1))
        inputs = jnp.concatenate([xs, cuts], axis=-1)

        def total(params: Any) -> Array:
            ys, final = unroll(extended, params, inputs, initial_state=initial_state)
            return checked_scalar(loss(ys, final), "truncation_bias")

        return as_vector(jax.grad(total, allow_int=True)(params))

    full = gradient(jnp.asarray(num_steps))
    tried = jnp.asarray(np.minimum(steps, num_steps))
    cosine, ratio = lax.map(lambda steps: agreement(gradient(steps), full), tried)
    return TruncationBias(jnp.asarray(np.asarray(steps)), cosine, ratio)


def agreement(estimate: Array, full: Array) -> tuple[Array, Array]:
    """Returns cosine and norm ratio of an estimated gradient and the full one, as vectors."""
    own, length = jnp.linalg.norm(estimate), jnp.linalg.norm(full)
    both = own * length
    cosine = jnp.where(both > 0, (estimate @ full) / jnp.where(both > 0, both, 1), 0)
    return cosine, own / length


def as_vector(gradients: Any) -> Array:
    """Returns gradients as one real vector; complex numbers become two, integers are omitted."""
    parts = [jnp.zeros(0)]  # so that an empty tree works too
    for leaf in jax.tree.leaves(gradients):
        if leaf.dtype != jax.dtypes.float0:
            parts += [leaf.real, leaf.imag] if jnp.iscomplexobj(leaf) else [leaf]
    return jnp.concatenate([part.ravel() for part in parts])
