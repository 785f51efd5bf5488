"""Generation with carried state: all steps in one program, or one at a time as they come."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqjax._checks import (
    check_function,
    check_integers,
    check_optional_sizes,
    check_range,
    check_sizes,
)
from seqjax.decode._sampling import Sampler

Step = Callable[[Any, Any], tuple[Any, Array]]
"""`step(state, tokens) -> (state, logits)`: reads a token of every sequence, predicts the next."""


class Generated(NamedTuple):
    """What was generated.

    Attributes:
      tokens: shape (*B, N); after a stop token there are more of it.
      lengths: tokens of each sequence up to and with its stop token, int32 (*B,).
      state: the state that has read them, up to and with the stop token.
      logits: what it predicts next.
    """

    tokens: Any
    lengths: Array
    state: Any
    logits: Array


def generate(
    step: Step,
    state: Any,
    logits: Array,
    *,
    key: Array,
    num_steps: int,
    sample: Sampler,
    stop_token: int | None = None,
) -> Generated:
    """Continues sequences by a scan: token n is `sample(fold_in(key, n), logits)`, then is read.

    The prompt is read beforehand, by the model unrolled as usual; its last state and logits come
    in here. Where a sequence has stopped its state stays as it is.

    Args:
      step: `step(state, tokens) -> (state, logits)`, reads a token of every sequence and predicts
        the next.
      state: state that has read the prompts, leaves (*B, ...).
      logits: what it predicts, (*B, V).
      key: of all that is random.
      num_steps: tokens to generate, N.
      sample: from `make_sampler`, or any `sample(key, logits) -> tokens`.
      stop_token: ends a sequence; only where tokens are ids.

    Returns:
      The tokens and what is needed to go on.

    Raises:
      ValueError: if `num_steps` is below 1, the stop token is not one of the V ids, or one is given
        and tokens are no ids.

    Example:
      >>> from seqjax.decode import greedy
      >>> count = lambda state, tokens: (state, jax.nn.one_hot(tokens + 1, 10))
      >>> key, first = jax.random.key(0), jax.nn.one_hot(jnp.array([3]), 10)
      >>> found = generate(
      ...     count, (), first, key=key, num_steps=5, sample=greedy, stop_token=5
      ... )
      >>> found.tokens.tolist(), found.lengths.tolist()
      ([[3, 4, 5, 5, 5]], [3])

    Reference: Graves (2013), Generating sequences with recurrent neural networks.
    """
    _check("seqjax.decode.generate", step, sample, logits, stop_token)
    check_sizes("seqjax.decode.generate", num_steps=num_steps)
    batch = logits.shape[:-1]
    advance = _advance(step, sample, stop_token)

    def body(carry: tuple, number: Array) -> tuple:
        state, logits, done, length = carry
        tokens, state, logits, now_done = advance(state, logits, done, key, number)
        return (state, logits, now_done, length + ~done), tokens

    start = (state, logits, jnp.zeros(batch, bool), jnp.zeros(batch, jnp.int32))
    (state, logits, _, lengths), tokens = jax.lax.scan(body, start, jnp.arange(num_steps))
    return Generated(jnp.moveaxis(tokens, 0, len(batch)), lengths, state, logits)


def stream(
    step: Step,
    state: Any,
    logits: Array,
    *,
    key: Array,
    sample: Sampler,
    num_steps: int | None = None,
    stop_token: int | None = None,
) -> Iterator[Any]:
    """Continues sequences token by token, as long as it is asked: the tokens of `generate`.

    Args:
      step: `step(state, tokens) -> (state, logits)`, reads a token of every sequence and predicts
        the next.
      state: state that has read the prompts.
      logits: what it predicts.
      key: of all that is random.
      sample: from `make_sampler`, or any `sample(key, logits) -> tokens`.
      num_steps: where to end; never by itself if None.
      stop_token: ends a sequence; generation ends when all have.

    Returns:
      An iterator over a token of every sequence, shape (*B,), as soon as it is drawn.

    Raises:
      ValueError: if `num_steps` is below 1, or the stop token is not one of the V ids.

    Example:
      >>> from seqjax.decode import greedy
      >>> count = lambda state, token: (state, jax.nn.one_hot(token + 1, 10))
      >>> first = jax.nn.one_hot(3, 10)
      >>> tokens = stream(count, (), first, key=jax.random.key(0), sample=greedy, stop_token=6)
      >>> [int(token) for token in tokens]
      [3, 4, 5, 6]
    """
    _check("seqjax.decode.stream", step, sample, logits, stop_token)
    check_optional_sizes("seqjax.decode.stream", num_steps=num_steps)
    advance = jax.jit(_advance(step, sample, stop_token))

    def tokens_of(state: Any, logits: Array) -> Iterator[Any]:
        done = jnp.zeros(logits.shape[:-1], bool)
        for number in itertools.count() if num_steps is None else range(num_steps):
            if number and bool(done.all()):
                return
            tokens, state, logits, done = advance(state, logits, done, key, number)
            yield tokens

    return tokens_of(state, logits)


def _check(where: str, step: Step, sample: Sampler, logits: Array, stop_token: Any) -> None:
    check_function(where, "step", step, ["state", "tokens"])
    check_function(where, "sample", sample, ["key", "logits"])
    if jnp.ndim(logits) < 1:
        raise ValueError(f"{where}: `logits` must have shape (*B, V), got a single number.")
    if stop_token is not None:
        check_integers(where, "stop_token", stop_token)
        check_range(where, "stop_token", stop_token, logits.shape[-1] - 1, "V - 1")


def _advance(step: Step, sample: Sampler, stop_token: int | None) -> Callable[..., Any]:
    """Returns the function that draws a token of every sequence and reads it."""

    def advance(state: Any, logits: Array, done: Array, key: Array, number: Any) -> tuple:
        tokens = sample(jax.random.fold_in(key, number), logits)
        if stop_token is None:
            return tokens, *step(state, tokens), done
        if not jnp.issubdtype(tokens.dtype, jnp.integer) or tokens.shape != done.shape:
            raise ValueError(
                "seqjax.decode: `stop_token` needs a sampler of ids, one for each sequence "
                f"{done.shape}, got {tokens.dtype} of shape {tokens.shape}. Leave it out."
            )
        tokens = jnp.where(done, stop_token, tokens)

        def unless_done(old: Array, new: Array) -> Array:
            return jnp.where(jnp.expand_dims(done, tuple(range(done.ndim, new.ndim))), old, new)

        state, logits = jax.tree.map(unless_done, (state, logits), step(state, tokens))
        return tokens, state, logits, done | (tokens == stop_token)

    return advance
