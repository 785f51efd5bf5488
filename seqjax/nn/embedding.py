"""Token embeddings with the two dropouts that text needs."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike, DTypeLike


class Embedding(nnx.Module):
    """A table of token vectors.

    Args:
      vocab_size: number of token ids.
      features: size of a vector.
      dropout: rate at which single numbers of a vector are dropped.
      token_dropout: rate at which whole tokens are dropped, a vector of zeros in their place.
      table: start of the table, (vocab_size, features); random otherwise.
      param_dtype: dtype of the table.
      rngs: gives the key of the initialiser.

    Raises:
      ValueError: if a size is below 1, or `table` has another shape.

    Example:
      >>> import jax.numpy as jnp, seqjax
      >>> from flax import nnx
      >>> embed = seqjax.nn.Embedding(10, 4, rngs=nnx.Rngs(0))
      >>> embed(jnp.array([[1, 2, 3]])).shape
      (1, 3, 4)
    """

    def __init__(
        self,
        vocab_size: int,
        features: int,
        *,
        dropout: float = 0.0,
        token_dropout: float = 0.0,
        table: ArrayLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Initialises the table."""
        if vocab_size < 1 or features < 1:
            raise ValueError(
                "seqjax.nn.Embedding: `vocab_size` and `features` must be at least 1, got "
                f"{vocab_size} and {features}."
            )
        if table is None:
            table = 0.05 * jax.random.normal(rngs.params(), (vocab_size, features), param_dtype)
        elif jnp.shape(table) != (vocab_size, features):
            raise ValueError(
                f"seqjax.nn.Embedding: `table` must have shape {(vocab_size, features)}, got "
                f"{jnp.shape(table)}."
            )
        self.vocab_size = vocab_size
        self.features = features
        self.table = nnx.Param(jnp.asarray(table, param_dtype))
        self.dropout = nnx.Dropout(dropout)
        self.token_dropout = nnx.Dropout(token_dropout, broadcast_dims=(-1,))

    def __call__(self, tokens: Array, *, key: Array | None = None) -> Array:
        """Looks tokens up.

        Args:
          tokens: integers of shape (*B, T).
          key: key of the dropouts; none is applied without it.

        Returns:
          Array of shape (*B, T, features).
        """
        if not jnp.issubdtype(tokens.dtype, jnp.integer):
            raise TypeError(f"seqjax.nn.Embedding: `tokens` must be integers, got {tokens.dtype}.")
        vectors = jnp.take(self.table[...], tokens, axis=0, mode="clip")
        if key is None:
            return vectors
        token_key, number_key = jax.random.split(key)
        vectors = self.token_dropout(vectors, deterministic=False, rngs=token_key)
        return self.dropout(vectors, deterministic=False, rngs=number_key)
