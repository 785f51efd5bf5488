"""Beam search over anything that gives the log-probabilities of a next token, in static shapes."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqjax._checks import check_function, check_sizes

Step = Callable[[Any, Array], tuple[Any, Array]]
"""`step(state, tokens) -> (state, log_probs)`: the tokens before, integers (B, K), for K hypotheses
about each of B inputs; leaves of the state (B, K, ...); log-probabilities (B, K, V)."""


class Hypotheses(NamedTuple):
    """What a search came to, the best first.

    Attributes:
      tokens: the end token last, and nothing but end tokens behind it, integers (B, K, L).
      lengths: tokens of each, the end token included, (B, K).
      log_probs: of all tokens of each, (B, K); minus infinity where there is no hypothesis.
      scores: what they are ordered by, `log_probs / ((5 + length) / 6)^alpha`, (B, K).
      ended: whether the end token was written, (B, K).
    """

    tokens: Array
    lengths: Array
    log_probs: Array
    scores: Array
    ended: Array


class _Search(NamedTuple):
    step: Array
    state: Any
    live: Array  # tokens of the hypotheses that go on
    live_log_probs: Array
    ended: Hypotheses


def length_penalty(length: Any, alpha: float) -> Any:
    """Returns `((5 + length) / 6) ** alpha`, by which log-probabilities are divided.

    Example:
      >>> length_penalty(7, 1.0), length_penalty(7, 0.0)
      (2.0, 1.0)

    Reference: Wu et al. (2016), Google's neural machine translation system.
    """
    return ((5.0 + length) / 6.0) ** alpha


def beam_search(
    step: Step,
    state: Any,
    start: Array,
    *,
    end_id: int,
    width: int,
    max_length: int,
    alpha: float = 0.0,
) -> Hypotheses:
    """Searches for the most probable sequences that end with the end token.

    At each step every live hypothesis is continued by every token. Of the `width` best of these
    those that end are finished; the `width` best of the others live on. The search stops when no
    live hypothesis of any input can come to a better score than the worst finished one. Hypotheses
    that have not ended at `max_length` are returned only behind all that have.

    Args:
      step: pure function, `step(state, tokens) -> (state, log_probs)`, from the tokens before,
        integers (B, K), and a state with leaves (B, K, ...) to log-probabilities (B, K, V). What
        does not differ among the hypotheses of an input, such as the states of an encoder, need not
        be in its state.
      state: before the first step, leaves (B, ...).
      start: the token before the first, integers (B,).
      end_id: the token that ends a sequence.
      width: hypotheses kept for each input, `K`.
      max_length: tokens of a sequence at most, the end token included, `L`.
      alpha: exponent of the length penalty; 0 for none, larger for longer sequences.

    Returns:
      The hypotheses.

    Raises:
      ValueError: if `width` or `max_length` is below 1, `alpha` below 0, `start` not of shape (B,),
        or `end_id` no token of the step.

    Example:
      >>> table = jnp.log(jnp.array([[0.1, 0.6, 0.3], [0.6, 0.1, 0.3], [0.1, 0.1, 0.8]]))
      >>> def step(state, tokens):  # a chain of three tokens, of which 0 ends
      ...     return state, table[tokens]
      >>> found = beam_search(step, (), jnp.array([2]), end_id=0, width=2, max_length=4)
      >>> found.tokens[0].tolist(), found.lengths[0].tolist()
      ([[0, 0, 0, 0], [2, 0, 0, 0]], [1, 2])

    Reference: Graves (2012), Sequence transduction with recurrent neural networks (the search); Wu
    et al. (2016), Google's neural machine translation system (the penalty).
    """
    where = "seqjax.decode.beam_search"
    check_function(where, "step", step, ["state", "tokens"])
    check_sizes(where, width=width, max_length=max_length)
    check_sizes(where, at_least=0, end_id=end_id)
    if not 0 <= alpha < math.inf:
        raise ValueError(f"{where}: `alpha` must be a finite number of at least 0, got {alpha}.")
    if jnp.ndim(start) != 1 or not jnp.issubdtype(start.dtype, jnp.integer):
        raise ValueError(
            f"{where}: `start` must be integers of shape (B,), got {start.dtype} of shape "
            f"{start.shape}."
        )
    batch = start.shape[0]
    for leaf in jax.tree.leaves(state):
        if jnp.shape(leaf)[:1] != (batch,):
            raise ValueError(
                f"{where}: leaves of `state` must have shape (B, ...) = ({batch}, ...), got "
                f"{jnp.shape(leaf)}."
            )

    def go_on(search: _Search) -> Array:
        # A log-probability only falls, and a negative one weighs least at the greatest length.
        possible = search.live_log_probs.max(axis=1) / length_penalty(max_length, alpha)
        hopeful = (possible > search.ended.scores.min(axis=1)).any()
        return (search.step < max_length) & hopeful

    def body(search: _Search) -> _Search:
        number = search.step
        previous = jnp.where(
            number > 0, search.live[:, :, jnp.maximum(number - 1, 0)], start[:, None]
        )
        state, log_probs = step(search.state, previous)
        totals = search.live_log_probs[:, :, None] + log_probs
        vocab_size = log_probs.shape[-1]
        if end_id >= vocab_size:
            raise ValueError(
                f"{where}: `end_id` must be one of the {vocab_size} tokens that `step` gives "
                f"log-probabilities of, got {end_id}."
            )
        # Each live hypothesis has one continuation that ends, so twice the width holds enough.
        best, places = jax.lax.top_k(totals.reshape(batch, -1), min(2, vocab_size) * width)
        parents, tokens = places // vocab_size, places % vocab_size
        ends = tokens == end_id
        written = _take(search.live, parents).at[:, :, number].set(tokens)

        scores = best[:, :width] / length_penalty(number + 1, alpha)
        new = Hypotheses(
            tokens=written[:, :width],
            lengths=jnp.full((batch, width), number + 1),
            log_probs=best[:, :width],
            scores=jnp.where(ends[:, :width], scores, -jnp.inf),
            ended=ends[:, :width] & jnp.isfinite(scores),
        )
        live_log_probs, kept = jax.lax.top_k(jnp.where(ends, -jnp.inf, best), width)
        return _Search(
            step=number + 1,
            state=jax.tree.map(lambda leaf: _take(leaf, _take(parents, kept)), state),
            live=_take(written, kept),
            live_log_probs=live_log_probs,
            ended=_best(search.ended, new, width),
        )

    nowhere = jnp.full((batch, width), -jnp.inf)
    empty = jnp.full((batch, width, max_length), end_id)
    lengths = jnp.zeros((batch, width), int)
    search = _Search(
        step=jnp.array(0),
        state=jax.tree.map(
            lambda leaf: jnp.repeat(jnp.asarray(leaf)[:, None], width, axis=1), state
        ),
        live=empty,
        # All hypotheses are the same at first: only one may be continued.
        live_log_probs=nowhere.at[:, 0].set(0.0),
        ended=Hypotheses(empty, lengths, nowhere, nowhere, jnp.zeros((batch, width), bool)),
    )
    search = jax.lax.while_loop(go_on, body, search)
    return _with_unended(search, alpha)


def _with_unended(search: _Search, alpha: float) -> Hypotheses:
    """Fills places that no ended hypothesis took with live ones, behind those that ended."""
    live = Hypotheses(
        tokens=search.live,
        lengths=jnp.full(search.live.shape[:2], search.step),
        log_probs=search.live_log_probs,
        scores=search.live_log_probs / length_penalty(search.step, alpha),
        ended=jnp.zeros(search.live.shape[:2], bool),
    )
    both = jax.tree.map(lambda *two: jnp.concatenate(two, axis=1), search.ended, live)
    behind = jnp.where(search.ended.ended, 0, 2)  # a place that is left comes after the live ones
    groups = jnp.concatenate([behind, jnp.ones_like(behind)], axis=1)
    order = jnp.lexsort((-both.scores, groups), axis=1)[:, : search.live.shape[1]]
    return jax.tree.map(lambda leaf: _take(leaf, order), both)


def greedy_search(
    step: Step, state: Any, start: Array, *, end_id: int, max_length: int
) -> Hypotheses:
    """Takes the most probable token at each step: a beam of one.

    Args:
      step: as that of `beam_search`; K is 1.
      state: before the first step, leaves (B, ...).
      start: the token before the first, integers (B,).
      end_id: the token that ends a sequence.
      max_length: tokens of a sequence at most, the end token included.

    Returns:
      One hypothesis for each input.

    Example:
      >>> table = jnp.log(jnp.array([[0.1, 0.6, 0.3], [0.7, 0.1, 0.2], [0.3, 0.5, 0.2]]))
      >>> def step(state, tokens):
      ...     return state, table[tokens]
      >>> greedy_search(step, (), jnp.array([2]), end_id=0, max_length=4).tokens.tolist()
      [[[1, 0, 0, 0]]]
    """
    return beam_search(step, state, start, end_id=end_id, width=1, max_length=max_length)


def _take(values: Array, indices: Array) -> Array:
    """Returns the chosen hypotheses of each input: values (B, K, ...), indices (B, N)."""
    indices = indices.reshape(indices.shape + (1,) * (values.ndim - 2))
    return jnp.take_along_axis(values, indices, axis=1)


def _best(old: Hypotheses, new: Hypotheses, width: int) -> Hypotheses:
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), old, new)
    _, kept = jax.lax.top_k(both.scores, width)
    return jax.tree.map(lambda leaf: _take(leaf, kept), both)
