"""Embeddings of tokens and hashed token pairs, with dropout for text."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from seqjax._checks import check_integers, check_range, check_shape, check_sizes
from seqjax.nn._module import Module, check_rngs, drop, make_dropout, split_key

WHERE = "seqjax.nn.Embedding"


class Embedding(Module):
    """A table of token vectors, optionally with a second table of token-pair vectors.

    The vector of the pair (previous token, token) is appended to the token's vector. Pairs are
    hashed into a table of fixed size, so you need no vocabulary of pairs. If two pairs share a row,
    the tokens' own vectors still distinguish them.

    Args:
      vocab_size: number of token ids.
      features: size of a token's vector.
      pair_features: size of a pair's vector; 0 means no pairs.
      pair_buckets: rows of the pair table.
      dropout: dropout rate of single features, with one mask for all steps of a sequence. A call
        applies both dropouts if it is given a `key`, see `seqjax.nn`.
      token_dropout: dropout rate of whole tokens; a dropped token's vector is zero.
      table: initial value of the token table, (vocab_size, features); random by default.
      param_dtype: dtype of the tables.
      rngs: provides the keys of the initialisers.

    Attributes:
      features: size of a returned vector, the token's plus the pair's.

    Raises:
      ValueError: if a size is below 1, a rate is not in [0, 1), or `table` has another shape.
      TypeError: if `rngs` is not `nnx.Rngs`.

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
        check_sizes(WHERE, vocab_size=vocab_size, features=features, pair_buckets=pair_buckets)
        check_sizes(WHERE, at_least=0, pair_features=pair_features)
        check_rngs(WHERE, rngs)
        if table is None:
            table = _initial_table(rngs, vocab_size, features, param_dtype)
        check_shape(WHERE, "table", table, "(vocab_size, features)", (vocab_size, features))
        self.vocab_size = vocab_size
        self.features = features + pair_features
        self.table = nnx.Param(jnp.asarray(table, param_dtype))
        if pair_features:
            pairs = _initial_table(rngs, pair_buckets, pair_features, param_dtype)
            self.pair_table = nnx.Param(pairs)
        else:
            self.pair_table = None
        self.dropout = make_dropout(WHERE, dropout, broadcast_dims=(-2,))
        self.token_dropout = make_dropout(
            WHERE, token_dropout, name="token_dropout", broadcast_dims=(-1,)
        )

    @property
    def out_features(self) -> int:
        """Features of the output, by Flax's name for those of a layer."""
        return self.features

    def __call__(self, tokens: Array, *, key: Array | None = None) -> Array:
        """Looks up tokens.

        Args:
          tokens: integers of shape (*B, T), from 0 to vocab_size - 1. Under `jax.jit` their values
            are unknown, and an id out of range gives a vector of NaN.
          key: random key of the dropouts; without it there is no dropout.

        Returns:
          Array of shape (*B, T, features).

        Raises:
          TypeError: if `tokens` is not integer.
          ValueError: if an id that is known is out of range.
        """
        check_integers(WHERE, "tokens", tokens)
        check_range(WHERE, "tokens", tokens, self.vocab_size - 1, "vocab_size - 1")
        # As unsigned integers, negative ids are out of range too, instead of counting from the end.
        ids = jnp.asarray(tokens).astype(jnp.uint32)
        vectors = jnp.take(self.table[...], ids, axis=0, mode="fill", fill_value=jnp.nan)
        if self.pair_table is not None:
            buckets = pair_buckets(ids, self.pair_table.shape[0])
            pairs = jnp.take(self.pair_table[...], buckets, axis=0, mode="clip")
            vectors = jnp.concatenate([vectors, pairs], axis=-1)
        token_key, number_key = split_key(key, 2)
        return drop(self.dropout, drop(self.token_dropout, vectors, token_key), number_key)


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
