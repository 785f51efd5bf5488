"""Additive and multiplicative attention over the states of an encoder."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from seqjax._checks import check_choice, check_shape, check_sizes
from seqjax._padding import valid_steps
from seqjax.nn._module import Module, check_rngs

WHERE = "seqjax.nn.Attention"
ATTENTIONS = ("additive", "dot", "general")
"""The score functions of `Attention`."""


class Memory(NamedTuple):
    """The encoder states that a decoder attends to, prepared once per source by `Attention.memory`.

    Attributes:
      values: states of the encoder, zero in the padding, shape (*B, S, M).
      keys: projected states to compare queries with, shape (*B, S, K).
      mask: True at the valid states, shape (*B, S).
    """

    values: Array
    keys: Array
    mask: Array


class Attention(Module):
    """Weights the states of an encoder by their match with a query.

        score(q, m) = v . tanh(W q + U m)      additive
        score(q, m) = q . m                    dot
        score(q, m) = q . U m                  general
        weights = softmax over the states of score,  context = sum of weight m

    `U m` depends on the states alone, so it is computed once per source, not for every query.

    Args:
      kind: "additive", "dot" or "general".
      query_size: features of a query.
      memory_size: features of a state.
      hidden_size: size of `v` in "additive"; by default `query_size`. The other kinds ignore it.
      param_dtype: dtype of the parameters.
      rngs: provides the keys of the initialisers.

    Raises:
      ValueError: if `kind` is unknown, a size is below 1, or the sizes of "dot" differ.
      TypeError: if `rngs` is not `nnx.Rngs`.

    Example:
      >>> import jax.numpy as jnp, seqjax
      >>> from flax import nnx
      >>> attention = seqjax.nn.Attention("general", 4, 6, rngs=nnx.Rngs(0))
      >>> memory = attention.memory(jnp.ones((2, 5, 6)), lengths=jnp.array([5, 2]))
      >>> context, weights = attention(jnp.ones((2, 3, 4)), memory)
      >>> context.shape, weights[1, 0].tolist()
      ((2, 3, 6), [0.5, 0.5, 0.0, 0.0, 0.0])

    Reference: Bahdanau, Cho and Bengio (2015), Neural machine translation by jointly learning to
    align and translate (additive); Luong, Pham and Manning (2015), Effective approaches to
    attention-based neural machine translation (dot, general).
    """

    def __init__(
        self,
        kind: str,
        query_size: int,
        memory_size: int,
        *,
        hidden_size: int | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Initialises the projections of this kind."""
        size = query_size if hidden_size is None or kind != "additive" else hidden_size
        check_choice(WHERE, "kind", kind, ATTENTIONS)
        check_sizes(WHERE, query_size=query_size, memory_size=memory_size, hidden_size=size)
        check_rngs(WHERE, rngs)
        if kind == "dot" and query_size != memory_size:
            raise ValueError(
                'seqjax.nn.Attention: kind "dot" needs queries and states of the same size, got '
                f'{query_size} and {memory_size}. Use "general".'
            )
        self.kind = kind
        self.query_size = query_size
        self.memory_size = memory_size

        def linear(in_size: int, out_size: int, use_bias: bool = False) -> nnx.Linear:
            return nnx.Linear(
                in_size, out_size, use_bias=use_bias, param_dtype=param_dtype, rngs=rngs
            )

        self.key = None if kind == "dot" else linear(memory_size, size)
        self.query = linear(query_size, size, use_bias=True) if kind == "additive" else None
        self.score = linear(size, 1) if kind == "additive" else None

    def memory(
        self, states: Array, *, lengths: ArrayLike | None = None, mask: Array | None = None
    ) -> Memory:
        """Prepares the states of an encoder.

        Args:
          states: shape (*B, S, M). Values in the padding, even NaN, affect no result.
          lengths: number of states of each source, shape (*B,).
          mask: True at the valid states, shape (*B, S). If `lengths` is also given, a state is
            valid only where both say so.

        Returns:
          The memory to pass to calls of the attention.

        Raises:
          ValueError: if a shape does not fit.
        """
        if states.ndim < 2 or states.shape[-1] != self.memory_size:
            raise ValueError(
                f"seqjax.nn.Attention: `states` must have shape (*B, S, {self.memory_size}), got "
                f"{states.shape}."
            )
        if mask is not None:
            check_shape(WHERE, "mask", mask, "(*B, S)", states.shape[:-1])
        over_time = None if mask is None else jnp.moveaxis(jnp.asarray(mask), -1, 0)
        valid = valid_steps(states.shape[-2], states.shape[:-2], lengths, over_time, where=WHERE)
        if valid is None:
            valid = jnp.ones(states.shape[-2:-1] + states.shape[:-2], bool)
        valid = jnp.moveaxis(valid, 0, -1)
        values = jnp.where(valid[..., None], states, 0)
        return Memory(values, values if self.key is None else self.key(values), valid)

    @property
    def in_features(self) -> int:
        """Features of a query."""
        return self.query_size

    @property
    def out_features(self) -> int:
        """Features of a context: those of the states of the encoder."""
        return self.memory_size

    def __call__(self, queries: Array, memory: Memory) -> tuple[Array, Array]:
        """Computes the context of several queries at once.

        Args:
          queries: shape (*B, T, Q). T may be time steps, or hypotheses for one source.
          memory: the result of `memory`.

        Returns:
          Contexts (*B, T, M), and weights (*B, T, S) that sum to one over the valid states. Both
          are zero for a source without valid states.

        Raises:
          ValueError: if the size of the queries is not `query_size`, or their batch axes differ
            from the memory's.
        """
        expected = (*memory.mask.shape[:-1], self.query_size)
        if queries.ndim < 2 or (*queries.shape[:-2], queries.shape[-1]) != expected:
            raise ValueError(
                "seqjax.nn.Attention: `queries` must have shape (*B, T, Q) with *B, Q = "
                f"{expected}, got {queries.shape}."
            )
        if self.query is not None and self.score is not None:
            asked = self.query(queries)[..., :, None, :]
            scores = self.score(jnp.tanh(asked + memory.keys[..., None, :, :]))[..., 0]
        else:
            scores = jnp.einsum("...tk,...sk->...ts", queries, memory.keys)
        # Use a finite number, not minus infinity: a source without states must not divide by zero.
        mask = memory.mask[..., None, :]
        scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
        weights = jnp.where(mask, jax.nn.softmax(scores, axis=-1), 0)
        return jnp.einsum("...ts,...sm->...tm", weights, memory.values), weights
