"""Linear-chain conditional random field (CRF): scores of whole tag sequences.

The score of a tag sequence y of T steps is

    s(y) = start[y_1] + sum_t emissions[t, y_t] + sum_t transitions[y_{t-1}, y_t] + end[y_T]

and p(y) = exp(s(y) - log Z) with log Z = log sum_y exp(s(y)). A sequence of length 0 has only the
empty tag sequence, with score 0.

All computation is in log space and in at least float32. Padding, even NaN, affects no value and no
gradient. Scores must be finite: to forbid a transition use -1e4, not -inf.

Reference: Lafferty, McCallum and Pereira (2001), Conditional random fields; Lample et al. (2016),
Neural architectures for named entity recognition (on top of a recurrent network).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from seqjax._checks import check_integers, check_range, check_shape, check_sizes
from seqjax._padding import select, valid_steps, zeros_unless
from seqjax.nn._module import Module


class CRFScores(NamedTuple):
    """The scores of a conditional random field, apart from the emissions.

    Attributes:
      transitions: score of the transition from tag i to tag j, (K, K).
      start: score of each tag as the first tag, (K,).
      end: score of each tag as the last tag, (K,).
    """

    transitions: Array
    start: Array
    end: Array


def crf_log_partition(
    scores: CRFScores, emissions: Array, lengths: ArrayLike | None = None
) -> Array:
    """Returns log Z, the log of the sum over all tag sequences, with the forward algorithm.

    Args:
      scores: the transition, start and end scores.
      emissions: score of every tag at every step, (*B, T, K).
      lengths: valid steps of each sequence, (*B,), 0 <= length <= T; by default T.

    Returns:
      Array of shape (*B,), 0 for a sequence without steps.

    Raises:
      ValueError: if shapes do not fit, there is no step, or a known length is out of range.

    Example:
      >>> import jax.numpy as jnp
      >>> zero = CRFScores(jnp.zeros((2, 2)), jnp.zeros(2), jnp.zeros(2))
      >>> jnp.exp(crf_log_partition(zero, jnp.zeros((3, 2)))).round(3).item()
      8.0
    """
    scores, steps, valid = _over_time(scores, emissions, lengths)

    def step(forward: Array, now: tuple[Array, Array]) -> tuple[Array, None]:
        emission, real = now
        paths = forward[..., :, None] + _beside(scores.transitions, forward.ndim + 1)
        return select(real, jax.nn.logsumexp(paths, axis=-2) + emission, forward), None

    first = _beside(scores.start, steps.ndim - 1) + steps[0]
    forward, _ = jax.lax.scan(step, first, (steps[1:], valid[1:]))
    total = jax.nn.logsumexp(forward + _beside(scores.end, forward.ndim), axis=-1)
    return jnp.where(valid[0], total, 0)


def crf_score(
    scores: CRFScores, emissions: Array, tags: Array, lengths: ArrayLike | None = None
) -> Array:
    """Returns s(y), the score of the given tags.

    Args:
      scores: the transition, start and end scores.
      emissions: score of every tag at every step, (*B, T, K).
      tags: integers from 0 to K - 1, (*B, T). Tags in the padding are ignored. Under `jax.jit`,
        another tag out of range gives NaN.
      lengths: valid steps of each sequence, (*B,), 0 <= length <= T; by default T.

    Returns:
      Array of shape (*B,), 0 for a sequence without steps.

    Raises:
      ValueError: if shapes do not fit, there is no step, or a known length or tag is out of range.
      TypeError: if `tags` is not integer.

    Example:
      >>> import jax.numpy as jnp
      >>> scores = CRFScores(jnp.eye(2), jnp.array([5.0, 0.0]), jnp.zeros(2))
      >>> crf_score(scores, jnp.ones((3, 2)), jnp.array([0, 0, 1])).item()
      9.0
    """
    check_shape("seqjax.nn.CRF", "tags", tags, "(*B, T)", emissions.shape[:-1])
    scores, steps, valid = _over_time(scores, emissions, lengths)
    tags = jnp.where(valid, jnp.moveaxis(tags, -1, 0), 0)
    check_integers("seqjax.nn.CRF", "tags", tags)
    check_range("seqjax.nn.CRF", "tags", tags, steps.shape[-1] - 1, "num_tags - 1")
    # A negative index would count from the end; this one is out of range, and gives NaN.
    places = jnp.where(tags < 0, steps.shape[-1], tags)[..., None]
    emitted = jnp.take_along_axis(steps, places, axis=-1, mode="fill")[..., 0]
    moved = scores.transitions[tags[:-1], tags[1:]]
    last = jnp.take_along_axis(tags, jnp.maximum(valid.sum(axis=0) - 1, 0)[None], axis=0)[0]
    total = (
        scores.start[tags[0]]
        + jnp.where(valid, emitted, 0).sum(axis=0)
        + jnp.where(valid[1:], moved, 0).sum(axis=0)
        + scores.end[last]
    )
    return jnp.where(valid[0], total, 0)


def crf_nll(
    scores: CRFScores, emissions: Array, tags: Array, lengths: ArrayLike | None = None
) -> Array:
    """Returns the negative log-likelihood of the given tags, log Z - s(y).

    Args:
      scores: the transition, start and end scores.
      emissions: score of every tag at every step, (*B, T, K).
      tags: integers from 0 to K - 1, (*B, T). Tags in the padding are ignored. Under `jax.jit`,
        another tag out of range gives NaN.
      lengths: valid steps of each sequence, (*B,), 0 <= length <= T; by default T.

    Returns:
      Array of shape (*B,), one number per sequence: the sum over its steps, not the mean.

    Raises:
      ValueError: if shapes do not fit, there is no step, or a known length or tag is out of range.
      TypeError: if `tags` is not integer.

    Example:
      >>> import jax.numpy as jnp
      >>> zero = CRFScores(jnp.zeros((2, 2)), jnp.zeros(2), jnp.zeros(2))
      >>> jnp.exp(-crf_nll(zero, jnp.zeros((3, 2)), jnp.array([0, 1, 1]))).round(4).item()
      0.125
    """
    return crf_log_partition(scores, emissions, lengths) - crf_score(
        scores, emissions, tags, lengths
    )


def crf_decode(
    scores: CRFScores, emissions: Array, lengths: ArrayLike | None = None
) -> tuple[Array, Array]:
    """Returns the tag sequence with the highest score, with the Viterbi algorithm.

    Args:
      scores: the transition, start and end scores.
      emissions: score of every tag at every step, (*B, T, K).
      lengths: valid steps of each sequence, (*B,), 0 <= length <= T; by default T.

    Returns:
      Tags (*B, T), int32, 0 in the padding, and their score (*B,). Ties choose the lower tag.

    Raises:
      ValueError: if shapes do not fit, there is no step, or a known length is out of range.

    Example:
      >>> import jax.numpy as jnp
      >>> sticky = CRFScores(10 * jnp.eye(2), jnp.zeros(2), jnp.zeros(2))
      >>> tags, score = crf_decode(sticky, jnp.array([[0.0, 1.0], [2.0, 0.0], [0.0, 3.0]]))
      >>> tags.tolist(), score.item()
      ([1, 1, 1], 24.0)
    """
    scores, steps, valid = _over_time(scores, emissions, lengths)

    def step(best: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        emission, real = now
        paths = best[..., :, None] + _beside(scores.transitions, best.ndim + 1)
        # In the padding every tag comes from itself, so the backward pass leaves the tag unchanged.
        here = jnp.broadcast_to(_beside(jnp.arange(best.shape[-1]), best.ndim), best.shape)
        came_from = select(real, paths.argmax(axis=-2), here)
        return select(real, paths.max(axis=-2) + emission, best), came_from

    def back(tag: Array, came_from: Array) -> tuple[Array, Array]:
        return jnp.take_along_axis(came_from, tag[..., None], axis=-1)[..., 0], tag

    first = _beside(scores.start, steps.ndim - 1) + steps[0]
    best, came_from = jax.lax.scan(step, first, (steps[1:], valid[1:]))
    best += _beside(scores.end, best.ndim)
    first_tag, others = jax.lax.scan(back, best.argmax(axis=-1), came_from, reverse=True)
    tags = jnp.where(valid, jnp.concatenate([first_tag[None], others]), 0)
    score = jnp.where(valid[0], best.max(axis=-1), 0)
    return jnp.moveaxis(tags, 0, -1).astype(jnp.int32), score


def crf_marginals(scores: CRFScores, emissions: Array, lengths: ArrayLike | None = None) -> Array:
    """Returns p(y_t = k), the derivative of log Z with respect to the emissions.

    Args:
      scores: the transition, start and end scores.
      emissions: score of every tag at every step, (*B, T, K).
      lengths: valid steps of each sequence, (*B,), 0 <= length <= T; by default T.

    Returns:
      Array of shape (*B, T, K). It sums to 1 over the tags at each valid step and is 0 in the
      padding.

    Raises:
      ValueError: if shapes do not fit, there is no step, or a known length is out of range.

    Example:
      >>> import jax.numpy as jnp
      >>> zero = CRFScores(jnp.zeros((2, 2)), jnp.zeros(2), jnp.zeros(2))
      >>> crf_marginals(zero, jnp.zeros((2, 2)), jnp.array(1)).tolist()
      [[0.5, 0.5], [0.0, 0.0]]
    """
    return jax.grad(lambda values: crf_log_partition(scores, values, lengths).sum())(emissions)


class CRF(Module):
    """A conditional random field as the last layer of a tagger.

    All scores are initialised to zero. The layer then equals an independent softmax at each step.

    Args:
      num_tags: number of tags, K.
      param_dtype: dtype of the scores.

    Raises:
      ValueError: if `num_tags` is below 1.

    Example:
      >>> import jax.numpy as jnp, seqjax
      >>> crf = seqjax.nn.CRF(3)
      >>> emissions, lengths = jnp.ones((2, 5, 3)), jnp.array([5, 2])
      >>> crf.nll(emissions, jnp.zeros((2, 5), int), lengths).shape
      (2,)
      >>> crf.decode(emissions, lengths).shape
      (2, 5)

    Reference: Lample et al. (2016), Neural architectures for named entity recognition.
    """

    def __init__(self, num_tags: int, *, param_dtype: DTypeLike = jnp.float32):
        """Initialises the scores."""
        check_sizes("seqjax.nn.CRF", num_tags=num_tags)
        self.transitions = nnx.Param(jnp.zeros((num_tags, num_tags), param_dtype))
        self.start = nnx.Param(jnp.zeros(num_tags, param_dtype))
        self.end = nnx.Param(jnp.zeros(num_tags, param_dtype))

    @property
    def scores(self) -> CRFScores:
        """Returns the scores as `CRFScores`, for the functions of this module."""
        return CRFScores(self.transitions[...], self.start[...], self.end[...])

    def nll(self, emissions: Array, tags: Array, lengths: ArrayLike | None = None) -> Array:
        """Returns the negative log-likelihood of each tag sequence, (*B,)."""
        return crf_nll(self.scores, emissions, tags, lengths)

    def decode(self, emissions: Array, lengths: ArrayLike | None = None) -> Array:
        """Returns the tags with the highest score (Viterbi), (*B, T), 0 in the padding."""
        return crf_decode(self.scores, emissions, lengths)[0]

    def marginals(self, emissions: Array, lengths: ArrayLike | None = None) -> Array:
        """Returns the probability of each tag at each step, (*B, T, K), 0 in the padding."""
        return crf_marginals(self.scores, emissions, lengths)


def _over_time(
    scores: CRFScores, emissions: Array, lengths: ArrayLike | None
) -> tuple[CRFScores, Array, Array]:
    """Returns scores and time-first emissions in one dtype, and which steps are valid."""
    if emissions.ndim < 2 or emissions.shape[-2] < 1:
        raise ValueError(
            "seqjax.nn.CRF: `emissions` must have shape (*B, T, K) with T at least 1, got "
            f"{emissions.shape}."
        )
    size = emissions.shape[-1]
    got = tuple(jnp.shape(values) for values in scores)
    if got != ((size, size), (size,), (size,)):
        raise ValueError(
            f"seqjax.nn.CRF: `scores` must have shapes ({size}, {size}), ({size},) and ({size},) "
            f"for emissions of {size} tags, got {', '.join(map(str, got))}."
        )
    dtype = jnp.promote_types(jnp.result_type(emissions, *scores), jnp.float32)
    steps = jnp.moveaxis(emissions, -2, 0).astype(dtype)
    valid = valid_steps(steps.shape[0], steps.shape[1:-1], lengths, where="seqjax.nn.CRF")
    if valid is None:
        valid = jnp.ones(steps.shape[:-1], bool)
    # Zero the padding here; a mask later is not enough, since NaN times a zero gradient is NaN.
    steps = zeros_unless(valid, steps)
    return jax.tree.map(lambda values: jnp.asarray(values, dtype), scores), steps, valid


def _beside(values: Array, ndim: int) -> Array:
    """Adds leading axes of size 1, so that `values` broadcasts over the batch."""
    return values.reshape((1,) * (ndim - values.ndim) + values.shape)
