"""A classifier of token sequences: embedding, recurrent layers, pooling, read-out."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from seqjax._checks import check_function, check_kind, check_optional_sizes, check_sizes
from seqjax._padding import checked_lengths
from seqjax.nn._embedding import Embedding
from seqjax.nn._module import Module, check_rngs, drop, make_dropout, split_key
from seqjax.nn._pooling import Pooling
from seqjax.nn._recurrent import RNN, Bidirectional, Recurrent
from seqjax.nn._stack import Stack

WHERE = "seqjax.nn.SequenceClassifier"


class SequenceClassifier(Module):
    """Many to one: maps a sequence of tokens to the logits of its class.

    Args:
      embedding: module that maps tokens (B, T) to vectors (B, T, D), such as `Embedding`.
      recurrent: `RNN`, `Bidirectional` or `Stack` over the vectors.
      num_classes: number of logits; 1 for binary classification with a sigmoid.
      pooling: kind of `Pooling` over the recurrent outputs. "last" is the output at the last step
        that each direction runs.
      segment_length: if given, sequences are cut into segments of this many steps. The segments run
        in parallel, each from the initial state, and are pooled together, so a sequence of T steps
        needs only `segment_length` sequential steps. Does not work with `pooling="last"`.
      hidden_size: units of a ReLU layer before the read-out; by default there is none.
      dropout: dropout rate before the read-out, or before the ReLU layer if there is one.
      rngs: provides the keys of the initialisers.

    Raises:
      ValueError: if `pooling` is unknown, `segment_length` is given with `pooling="last"`, a size
        is below 1 or does not fit, `dropout` is not in [0, 1), or `recurrent` returns a pair of
        outputs.
      TypeError: if `recurrent` is not a layer, `embedding` cannot be called, or `rngs` is not
        `nnx.Rngs`.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> model = seqjax.nn.SequenceClassifier(
      ...     seqjax.nn.Embedding(100, 8, rngs=rngs),
      ...     seqjax.nn.Bidirectional(seqjax.gru(16), 8, rngs=rngs),
      ...     num_classes=2,
      ...     pooling="mean_max",
      ...     rngs=rngs,
      ... )
      >>> jax.jit(model)(jnp.ones((3, 7), int), jnp.array([7, 2, 0])).shape
      (3, 2)
    """

    def __init__(
        self,
        embedding: Any,
        recurrent: RNN | Bidirectional | Stack,
        *,
        num_classes: int,
        pooling: str = "last",
        segment_length: int | None = None,
        hidden_size: int | None = None,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        """Initialises pooling and read-out."""
        check_sizes(WHERE, num_classes=num_classes)
        check_optional_sizes(WHERE, segment_length=segment_length, hidden_size=hidden_size)
        check_function(WHERE, "embedding", embedding, ["tokens"], ["key"])
        check_kind(WHERE, "recurrent", recurrent, Recurrent, "a layer such as seqjax.nn.RNN")
        check_rngs(WHERE, rngs)
        if recurrent.time_major:
            raise ValueError(
                f"{WHERE}: `recurrent` must be batch first, got time_major=True. Leave it out."
            )
        features = getattr(embedding, "features", recurrent.in_size)
        if features != recurrent.in_size:
            raise ValueError(
                f"{WHERE}: `recurrent` must have in_size = {features}, the features of the "
                f"embedding, got {recurrent.in_size}."
            )
        if segment_length is not None and pooling == "last":
            raise ValueError(
                f'{WHERE}: `pooling` must not be "last" with '
                "`segment_length`, since the last segment alone would decide. Use mean_max."
            )
        if getattr(recurrent, "merge", None) == "none":
            raise ValueError(
                f'{WHERE}: `recurrent` must return one array, got merge="none". Use concat, sum, '
                "mul or mean."
            )
        self.segment_length = segment_length
        self.embedding = embedding
        self.recurrent = recurrent
        self.pooling = Pooling(pooling, recurrent.out_size, rngs=rngs)
        self.dropout = make_dropout(WHERE, dropout)
        read_out_size = self.pooling.out_size
        if hidden_size is not None:
            self.hidden = nnx.Linear(read_out_size, hidden_size, rngs=rngs)
            read_out_size = hidden_size
        else:
            self.hidden = None
        self.head = nnx.Linear(read_out_size, num_classes, rngs=rngs)

    def __call__(self, tokens: Array, lengths: Array, *, key: Array | None = None) -> Array:
        """Classifies sequences.

        Args:
          tokens: integers of shape (B, T).
          lengths: number of tokens of each sequence, shape (B,), 0 <= length <= T.
          key: random key of all dropouts; without it there is no dropout.

        Returns:
          Logits of shape (B, num_classes).

        Raises:
          ValueError: if a shape does not fit, or a known token or length is out of range.
        """
        if isinstance(self.embedding, Embedding) and tokens.ndim != 2:
            raise ValueError(f"{WHERE}: `tokens` must have shape (B, T), got {tokens.shape}.")
        lengths = checked_lengths(WHERE, lengths, tokens.shape[:1], tokens.shape[1])
        keys = split_key(key, 3)
        features = self.pooled(tokens, lengths, keys[0], keys[1])
        features = drop(self.dropout, features, keys[2])
        if self.hidden is not None:
            features = nnx.relu(self.hidden(features))
        return self.head(features)

    def pooled(
        self,
        tokens: Array,
        lengths: Array,
        embedding_key: Array | None = None,
        recurrent_key: Array | None = None,
    ) -> Array:
        """Returns the pooled features of each sequence, (B, pooling.out_size)."""
        vectors = self.embedding(tokens, key=embedding_key)
        if self.pooling.kind == "last":
            return self.recurrent(
                vectors, lengths=lengths, return_sequences=False, key=recurrent_key
            )
        num_steps = tokens.shape[1]
        if self.segment_length is None:
            outputs = self.recurrent(vectors, lengths=lengths, key=recurrent_key)
        else:
            segments = to_segments(vectors, self.segment_length)
            first_steps = jnp.arange(segments.shape[1]) * self.segment_length
            inside = jnp.clip(lengths[:, None] - first_steps[None], 0, self.segment_length)
            outputs = self.recurrent(segments, lengths=inside, key=recurrent_key)
            outputs = outputs.reshape(tokens.shape[0], -1, outputs.shape[-1])[:, :num_steps]
        mask = jnp.arange(num_steps)[None] < lengths[:, None]
        return self.pooling(outputs, mask)


def to_segments(xs: Array, length: int) -> Array:
    """Cuts (B, T, D) into (B, S, length, D) and pads the last segment with zeros.

    Example:
      >>> import jax.numpy as jnp
      >>> to_segments(jnp.ones((2, 7, 3)), 5).shape
      (2, 2, 5, 3)
    """
    padding = -xs.shape[1] % length
    xs = jnp.pad(xs, ((0, 0), (0, padding), (0, 0)))
    return xs.reshape(xs.shape[0], -1, length, xs.shape[2])
