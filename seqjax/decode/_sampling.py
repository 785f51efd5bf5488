"""From logits to a token: filters of logits, which compose, and samplers made of them."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqjax._checks import check_sizes

Sampler = Callable[[Array, Array], Any]
"""`sample(key, logits) -> tokens`, from logits (*B, V) to tokens of shape (*B,)."""


def keep_top_k(logits: Array, k: int) -> Array:
    """Keeps the k largest logits and makes the others -inf.

    Of equal logits at the border those with the smaller ids are kept.

    Args:
      logits: shape (*B, V).
      k: at least 1; one of V or more keeps all.

    Returns:
      Shape (*B, V).

    Raises:
      ValueError: if k is below 1.

    Example:
      >>> keep_top_k(jnp.array([1.0, 3.0, 2.0, 3.0]), 2).tolist()
      [-inf, 3.0, -inf, 3.0]

    Reference: Fan et al. (2018), Hierarchical neural story generation.
    """
    check_sizes("seqjax.decode.keep_top_k", k=k)
    return jnp.where(_ranks(logits) < k, logits, -jnp.inf)


def keep_top_p(logits: Array, p: float) -> Array:
    """Keeps the nucleus, the fewest likeliest tokens that have the probability p together.

    With tokens in falling order of probability, the n-th is kept where `P_1 + ... + P_{n-1} < p`,
    so that the first always is. The others become -inf.

    Args:
      logits: shape (*B, V).
      p: above 0 and at most 1; 1 keeps every token that has a probability.

    Returns:
      Shape (*B, V).

    Raises:
      ValueError: if p is outside (0, 1].

    Example:
      >>> keep_top_p(jnp.log(jnp.array([0.2, 0.5, 0.3])), 0.6).tolist()[0]
      -inf

    Reference: Holtzman et al. (2020), The curious case of neural text degeneration.
    """
    if not 0 < p <= 1:
        raise ValueError(f"seqjax.decode.keep_top_p: `p` must lie in (0, 1], got {p}.")
    if p == 1:
        return logits
    probabilities = jax.nn.softmax(logits, axis=-1)
    order = jnp.argsort(-logits, axis=-1)
    falling = jnp.take_along_axis(probabilities, order, axis=-1)
    before = jnp.cumsum(falling, axis=-1) - falling
    ranks = jnp.argsort(order, axis=-1)
    before = jnp.take_along_axis(before, ranks, axis=-1)
    # The first by its rank, since in a sum of rounded numbers nothing is certain.
    return jnp.where((before < p) | (ranks == 0), logits, -jnp.inf)


def greedy(key: Array | None, logits: Array) -> Array:
    """Returns the likeliest token, the one with the smallest id of several; the key is not used.

    Args:
      key: any, so that it can stand where a sampler does.
      logits: shape (*B, V).

    Returns:
      int32 (*B,).

    Example:
      >>> int(greedy(None, jnp.array([0.0, 2.0, 2.0])))
      1
    """
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def make_sampler(
    temperature: float = 1.0, *, top_k: int | None = None, top_p: float | None = None
) -> Sampler:
    """Makes a sampler of softmax(logits / temperature), cut to the likeliest tokens.

    The temperature comes first, then top-k, then top-p of what is left.

    Args:
      temperature: 1 samples what was learnt, less is more sure of itself, 0 is `greedy`.
      top_k: see `keep_top_k`.
      top_p: see `keep_top_p`.

    Returns:
      `sample(key, logits) -> tokens`, a pure function.

    Raises:
      ValueError: if a number is out of its range.

    Example:
      >>> sample = make_sampler(0.5, top_k=10, top_p=0.9)
      >>> sample(jax.random.key(0), jnp.zeros((3, 20))).shape
      (3,)
    """
    _check_temperature("seqjax.decode.make_sampler", temperature)
    # Here, so that a mistake is met when the sampler is made and not when it is traced.
    filters = []
    if top_k is not None:
        keep_top_k(jnp.zeros(1), top_k)
        filters.append(lambda logits: keep_top_k(logits, top_k))
    if top_p is not None:
        keep_top_p(jnp.zeros(1), top_p)
        filters.append(lambda logits: keep_top_p(logits, top_p))
    if temperature == 0:
        return greedy

    def sample(key: Array, logits: Array) -> Array:
        logits = logits / temperature
        for keep in filters:
            logits = keep(logits)
        return jax.random.categorical(key, logits, axis=-1).astype(jnp.int32)

    return sample


def make_bernoulli_sampler(temperature: float = 1.0) -> Sampler:
    """Makes a sampler of independent bits, such as the notes of a piano roll.

    Args:
      temperature: as of `make_sampler`; 0 takes the likelier value of every bit.

    Returns:
      `sample(key, logits) -> bits`, 0 or 1 in the dtype and shape of the logits.

    Raises:
      ValueError: if the temperature is below 0.

    Example:
      >>> make_bernoulli_sampler(0)(None, jnp.array([-3.0, 4.0])).tolist()
      [0.0, 1.0]
    """
    _check_temperature("seqjax.decode.make_bernoulli_sampler", temperature)

    def sample(key: Array, logits: Array) -> Array:
        if temperature == 0:
            return (logits > 0).astype(logits.dtype)
        probabilities = jax.nn.sigmoid(logits / temperature)
        return jax.random.bernoulli(key, probabilities).astype(logits.dtype)

    return sample


def _check_temperature(where: str, temperature: float) -> None:
    if not 0 <= temperature < math.inf:
        raise ValueError(
            f"{where}: `temperature` must be a finite number of at least 0, got {temperature}."
        )


def _ranks(logits: Array) -> Array:
    """Returns each logit's place in the falling order, equal ones in the order of their ids."""
    return jnp.argsort(jnp.argsort(-logits, axis=-1), axis=-1)
