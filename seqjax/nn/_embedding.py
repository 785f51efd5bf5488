"""Embeddings of tokens and hashed token pairs, with dropout for text."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike, DTypeLike


class Embedding(nnx.Module):
    """A table of token vectors, optionally with a second table of token-pair vectors.

    The vector of the pair (previous token, token) is appended to the token's vector. Pairs are
    hashed into a table of fixed size, so you need no vocabulary of pairs. If two pairs share a row,
    the tokens' own vectors still distinguish them.

    Args:
      vocab_size: number of token ids.
      features: size of a token's vector.
      pair_features: size of a pair's vector; 0 means no pairs.
      pair_buckets: rows of the pair table.
      dropout: dropout rate of single features, with one mask for all steps of a sequence.
      token_dropout: dropout rate of whole tokens; a dropped token's vector is zero.
      table: initial value of the token table, (vocab_size, features); random by default.
      param_dtype: dtype of the tables.
      rngs: provides the keys of the initialisers.

    Attributes:
      features: size of a returned vector, the token's plus the pair's.

    Raises:
      ValueError: if `vocab_size` or `features` is below 1, or `table` has another shape.
      TypeError: when called, if `tokens` is not integer.

    Example:
      >>> import jax.numpy as jnp, seqjax
      >>> from flax import nnx
      >>> embed = seqjax.nn.Embedding(10, 4, rngs=nnx.Rngs(0))
      >>> embed(jnp.array([[1, 2, 3]])).shape
      (1, 3, 4)

    Reference: Joulin et al. (2017), Bag of tricks for efficient text classification (hashed pairs);
    Gal and Ghahramani (2016), A theoretically grounded application of dropout in recurrent neural
    networks (one dropout mask for all steps).
    """

    def __init__(
        self,
        vocab_size: int,
        features: int,
        *,
        pair_features: int = 0,
        pair_buckets: int = 2**16,
        dropout: float = 0.0,
        token_dropout: float = 0.0,
        table: ArrayLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Initialises the tables."""
        if vocab_size < 1 or features < 1:
            raise ValueError(
                "seqjax.nn.Embedding: `vocab_size` and `features` must be at least 1, got "
                f"{vocab_size} and {features}."
            )
        if table is None:
            table = _initial_table(rngs, vocab_size, features, param_dtype)
        elif jnp.shape(table) != (vocab_size, features):
            raise ValueError(
                f"seqjax.nn.Embedding: `table` must have shape {(vocab_size, features)}, got "
                f"{jnp.shape(table)}."
            )
        self.vocab_size = vocab_size
        self.features = features + pair_features
        self.table = nnx.Param(jnp.asarray(table, param_dtype))
        if pair_features:
            pairs = _initial_table(rngs, pair_buckets, pair_features, param_dtype)
            self.pair_table = nnx.Param(pairs)
        else:
            self.pair_table = None
        self.dropout = nnx.Dropout(dropout, broadcast_dims=(-2,))
        self.token_dropout = nnx.Dropout(token_dropout, broadcast_dims=(-1,))

    def __call__(self, tokens: Array, *, key: Array | None = None) -> Array:
        """Looks up tokens; ids out of range are clipped.

        Args:
          tokens: integers of shape (*B, T).
          key: random key of the dropouts; without it there is no dropout.

        Returns:
          Array of shape (*B, T, features).
        """
        if not jnp.issubdtype(tokens.dtype, jnp.integer):
            raise TypeError(f"seqjax.nn.Embedding: `tokens` must be integers, got {tokens.dtype}.")
        # Use the table's own `take`: in training it may hold only the rows that a batch reads.
        vectors = self.table.get_value().take(tokens, axis=0, mode="clip")
        if self.pair_table is not None:
            buckets = pair_buckets(tokens, self.pair_table.shape[0])
            pairs = self.pair_table.get_value().take(buckets, axis=0, mode="clip")
            vectors = jnp.concatenate([vectors, pairs], axis=-1)
        if key is None:
            return vectors
        token_key, number_key = jax.random.split(key)
        vectors = self.token_dropout(vectors, deterministic=False, rngs=token_key)
        return self.dropout(vectors, deterministic=False, rngs=number_key)


def pair_buckets(tokens: Array, num_buckets: int) -> Array:
    """Hashes each token with the one before it (0 before the first) into a bucket.

    Args:
      tokens: integers of shape (*B, T).
      num_buckets: number of buckets.

    Returns:
      Integers of shape (*B, T) from 0 to num_buckets - 1.

    Example:
      >>> import jax.numpy as jnp
      >>> first, second, third = pair_buckets(jnp.array([5, 7, 5]), 1000).tolist()
      >>> first != third
      True
    """
    tokens = tokens.astype(jnp.uint32)
    previous = jnp.concatenate([jnp.zeros_like(tokens[..., :1]), tokens[..., :-1]], axis=-1)
    # Multiply and fold, twice, so that each output bit depends on both tokens. The constants are
    # Knuth's golden ratio and two odd constants of the murmur family.
    mixed = (previous * jnp.uint32(2654435769) + tokens) * jnp.uint32(2246822519)
    mixed = (mixed ^ (mixed >> 15)) * jnp.uint32(3266489917)
    return ((mixed ^ (mixed >> 13)) % jnp.uint32(num_buckets)).astype(jnp.int32)


def _initial_table(rngs: nnx.Rngs, rows: int, features: int, dtype: DTypeLike) -> Array:
    return 0.1 * jax.random.normal(rngs.params(), (rows, features), dtype)
