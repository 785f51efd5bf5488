"""The conditional random field, against an enumeration of all sequences of tags."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

import seqjax
from seqjax.nn import CRF
from seqjax.nn._crf import (
    CRFScores,
    crf_decode,
    crf_log_partition,
    crf_marginals,
    crf_nll,
    crf_score,
)

B, T, K = 3, 4, 3
FUNCTIONS = {
    "log_partition": jax.jit(crf_log_partition),
    "score": jax.jit(crf_score),
    "nll": jax.jit(crf_nll),
    "decode": jax.jit(crf_decode),
    "marginals": jax.jit(crf_marginals),
    "nll_gradient": jax.jit(jax.grad(lambda *arguments: crf_nll(*arguments).sum(), argnums=(0, 1))),
}


def draw(seed, scale=1.0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    values = [(scale * rng.normal(size=shape)).astype(dtype) for shape in ((K, K), K, K)]
    emissions = (scale * rng.normal(size=(B, T, K))).astype(dtype)
    return CRFScores(*values), emissions, rng.integers(0, K, (B, T)).astype(np.int32)


def score_of(scores, emissions, tags):
    """One sequence of tags, as the equation has it."""
    if not len(tags):
        return 0.0
    total = scores.start[tags[0]] + scores.end[tags[-1]]
    total += sum(emissions[t, tag] for t, tag in enumerate(tags))
    return float(total + sum(scores.transitions[pair] for pair in itertools.pairwise(tags)))


def enumerated(scores, emissions, length):
    """Log partition, best tags and marginals of one sequence, from all K ** length of them."""
    scores = CRFScores(*(np.asarray(values, np.float64) for values in scores))
    emissions = np.asarray(emissions, np.float64)
    every = list(itertools.product(range(K), repeat=length))
    values = np.array([score_of(scores, emissions, tags) for tags in every])
    log_partition = np.logaddexp.reduce(values)
    marginals = np.zeros((T, K))
    for tags, value in zip(every, values, strict=True):
        for t, tag in enumerate(tags):
            marginals[t, tag] += np.exp(value - log_partition)
    return log_partition, every[values.argmax()], values.max(), marginals


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    lengths=st.lists(st.integers(0, T), min_size=B, max_size=B),
    scale=st.sampled_from([0.1, 1.0, 10.0]),
)
def test_equals_the_enumeration(seed, lengths, scale):
    scores, emissions, tags = draw(seed, scale)
    given_lengths = np.array(lengths, np.int32)
    log_partition = FUNCTIONS["log_partition"](scores, emissions, given_lengths)
    score = FUNCTIONS["score"](scores, emissions, tags, given_lengths)
    nll = FUNCTIONS["nll"](scores, emissions, tags, given_lengths)
    best, best_score = FUNCTIONS["decode"](scores, emissions, given_lengths)
    marginals = FUNCTIONS["marginals"](scores, emissions, given_lengths)
    close = {"rtol": 1e-4, "atol": 1e-4}
    for row, length in enumerate(lengths):
        wanted = enumerated(scores, emissions[row], length)
        truth = score_of(scores, emissions[row], tags[row, :length].tolist())
        np.testing.assert_allclose(log_partition[row], wanted[0], **close)
        np.testing.assert_allclose(score[row], truth, **close)
        np.testing.assert_allclose(nll[row], wanted[0] - truth, **close)
        assert best[row].tolist() == [*wanted[1]] + [0] * (T - length)
        np.testing.assert_allclose(best_score[row], wanted[2], **close)
        np.testing.assert_allclose(marginals[row], wanted[3], **close)


@settings(max_examples=20)
@given(
    lengths=st.lists(st.integers(0, T), min_size=B, max_size=B),
    garbage=st.sampled_from([np.nan, np.inf, -1e30]),
)
def test_padding_does_not_matter(lengths, garbage):
    scores, emissions, tags = draw(1)
    lengths = np.array(lengths, np.int32)
    padding = np.arange(T)[None] >= lengths[:, None]
    other = np.where(padding[..., None], np.float32(garbage), emissions)
    other_tags = np.where(padding, 2**31 - 1, tags).astype(np.int32)
    for name, function in FUNCTIONS.items():
        given_tags = (tags,) if name in ("score", "nll", "nll_gradient") else ()
        put_tags = (other_tags,) if given_tags else ()
        first = function(scores, emissions, *given_tags, lengths)
        second = function(scores, other, *put_tags, lengths)
        for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)
            assert np.isfinite(a).all()


def test_lengths_zero_and_one():
    scores, emissions, tags = draw(2)
    lengths = np.array([0, 1, 1], np.int32)
    log_partition = FUNCTIONS["log_partition"](scores, emissions, lengths)
    assert log_partition[0] == 0
    first = scores.start + emissions[:, 0] + scores.end
    np.testing.assert_allclose(
        log_partition[1:], jax.nn.logsumexp(first[1:], axis=-1), rtol=1e-5, atol=1e-6
    )
    assert FUNCTIONS["nll"](scores, emissions, tags, lengths)[0] == 0
    of_scores, of_emissions = FUNCTIONS["nll_gradient"](scores, emissions, tags, lengths)
    assert not of_emissions[0].any()
    assert not of_scores.transitions.any()
    assert of_scores.start.any()


def test_gradient(x64):
    scores, emissions, tags = draw(3, dtype=np.float64)
    lengths = np.array([4, 2, 0])

    @jax.jit
    def nll(scores, emissions):
        return crf_nll(scores, emissions, jnp.asarray(tags), lengths)

    check_grads(nll, (scores, jnp.asarray(emissions)), order=1, modes=("fwd", "rev"))


def test_batch_axes_and_all_steps_by_default():
    scores, emissions, tags = draw(4)
    whole = FUNCTIONS["nll"](scores, emissions, tags, np.full(B, T, np.int32))
    nll = FUNCTIONS["nll"](scores, emissions[None, :, None], tags[None, :, None])
    np.testing.assert_allclose(nll[0, :, 0], whole, rtol=1e-5)
    best, score = FUNCTIONS["decode"](scores, emissions[1])
    both = FUNCTIONS["decode"](scores, emissions, np.full(B, T, np.int32))
    assert best.tolist() == both[0][1].tolist()
    np.testing.assert_allclose(score, both[1][1], rtol=1e-6)


def test_long_sequences_do_not_overflow():
    """A thousand steps of large scores: the numbers themselves would be infinite or zero."""
    scores = CRFScores(np.eye(2, dtype=np.float32), np.zeros(2), np.zeros(2))
    emissions = np.full((1000, 2), 50, np.float32)
    wanted = 50 * 1000 + 999 * np.log(1 + np.e) + np.log(2)
    np.testing.assert_allclose(crf_log_partition(scores, emissions), wanted, rtol=1e-5)


def test_half_precision_is_summed_in_float32():
    scores, emissions, tags = draw(5)
    half = jax.tree.map(lambda values: jnp.asarray(values, jnp.bfloat16), (scores, emissions))
    full = jax.tree.map(lambda values: values.astype(jnp.float32), half)
    nll = crf_nll(*half, tags)
    assert nll.dtype == jnp.float32
    np.testing.assert_array_equal(nll, crf_nll(*full, tags))


def test_module():
    """At its start a softmax at every step; afterwards the functions of its scores."""
    scores, emissions, tags = draw(6)
    lengths = np.array([4, 0, 2])
    crf = CRF(K)
    assert seqjax.nn.num_params(crf) == K * K + 2 * K
    mask = np.arange(T)[None] < lengths[:, None]
    np.testing.assert_allclose(
        crf.marginals(emissions, lengths)[mask], jax.nn.softmax(emissions)[mask], rtol=1e-5
    )
    np.testing.assert_array_equal(
        crf.decode(emissions, lengths), np.where(mask, emissions.argmax(-1), 0)
    )
    nnx.update(crf, nnx.State({name: jnp.asarray(v) for name, v in scores._asdict().items()}))
    np.testing.assert_array_equal(
        crf.nll(emissions, tags, lengths), crf_nll(scores, emissions, tags, lengths)
    )
    np.testing.assert_array_equal(
        crf.decode(emissions, lengths), crf_decode(scores, emissions, lengths)[0]
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s, e, y: crf_log_partition(s, e[:, :0]), ValueError, "T at least 1, got"),
        (lambda s, e, y: crf_log_partition(s, e[0, 0]), ValueError, "shape .*T, K.* got"),
        (lambda s, e, y: crf_decode(s, e[..., :2]), ValueError, "`scores` must have shapes"),
        (lambda s, e, y: crf_score(s, e, y[:, 1:]), ValueError, "`tags` must have shape"),
        (lambda s, e, y: crf_score(s, e, y * 1.0), TypeError, "`tags` must be integers"),
        (lambda s, e, y: crf_nll(s, e, y, [1, 2]), ValueError, "`lengths` must have shape"),
        (lambda s, e, y: crf_nll(s, e, y, [1, 2, T + 1]), ValueError, "must lie in 0 ... T"),
        (lambda s, e, y: crf_nll(s, e, y - K), ValueError, "`tags` must lie in 0 ... num_tags - 1"),
        (lambda s, e, y: CRF(0), ValueError, "`num_tags` must be an integer of at least 1"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(*draw(0))


def test_a_tag_out_of_range_gives_nan_under_jit():
    """A negative tag was read as the last one; tags in the padding count for nothing."""
    scores, emissions, tags = draw(0)
    lengths, nll = jnp.array([T, 2, T]), FUNCTIONS["nll"]
    strange = jnp.asarray(tags).at[0, 1].set(-1).at[1, 3].set(-1).at[2, 0].set(K)
    assert np.isnan(nll(scores, emissions, strange, lengths)).tolist() == [True, False, True]
    np.testing.assert_array_equal(
        nll(scores, emissions, strange, lengths)[1], nll(scores, emissions, tags, lengths)[1]
    )
