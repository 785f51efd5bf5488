"""Attention against its formulas in NumPy, and what padding may not change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import seqjax
from seqjax.nn._attention import ATTENTIONS

B, T, S, Q, M = 3, 4, 5, 6, 8
RNG = np.random.default_rng(0)
STATES = RNG.normal(size=(B, S, M)).astype(np.float32)
LENGTHS = np.array([5, 2, 0])


def make(kind):
    memory_size = Q if kind == "dot" else M
    attention = seqjax.nn.Attention(kind, Q, memory_size, hidden_size=7, rngs=nnx.Rngs(0))
    return attention, STATES[..., :memory_size], RNG.normal(size=(B, T, Q)).astype(np.float32)


attend = jax.jit(
    lambda attention, queries, states, lengths, mask: attention(
        queries, attention.memory(states, lengths=lengths, mask=mask)
    )
)


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_formulas(kind):
    attention, states, queries = make(kind)
    if kind == "additive":
        attention.query.bias[...] = RNG.normal(size=7)
    context, weights = attend(attention, queries, states, LENGTHS, np.ones((B, S), bool))
    for b in range(B):
        real = states[b, : LENGTHS[b]]
        for t in range(T):
            if not len(real):
                assert not weights[b, t].any()
                assert not context[b, t].any()
                continue
            match kind:
                case "dot":
                    scores = real @ queries[b, t]
                case "general":
                    scores = (real @ attention.key.kernel[...]) @ queries[b, t]
                case _:
                    asked = queries[b, t] @ attention.query.kernel[...] + attention.query.bias[...]
                    hidden = np.tanh(asked[None] + real @ attention.key.kernel[...])
                    scores = (hidden @ attention.score.kernel[...])[:, 0]
            wanted = np.exp(scores - scores.max())
            wanted = wanted / wanted.sum()
            np.testing.assert_allclose(weights[b, t, : len(real)], wanted, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(context[b, t], wanted @ real, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_padding_reaches_no_result_and_no_gradient(kind):
    attention, states, queries = make(kind)
    graph, params = nnx.split(attention)

    def total(params, states, queries):
        attention = nnx.merge(graph, params)
        context, weights = attention(queries, attention.memory(states, lengths=LENGTHS))
        return (context**2).sum() + (weights**2).sum(), (context, weights)

    garbage = np.where(np.arange(S)[None, :, None] < LENGTHS[:, None, None], states, np.nan)
    run = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True))
    clean, dirty = run(params, states, queries), run(params, garbage, queries)
    for one, other in zip(jax.tree.leaves(clean), jax.tree.leaves(dirty), strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.isfinite(one).all()


@settings(max_examples=30)
@given(st.data())
def test_weights_sum_to_one_over_the_states_there_are(data):
    attention, states, queries = make("general")
    lengths = np.array(data.draw(st.lists(st.integers(0, S), min_size=B, max_size=B)))
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=B * S, max_size=B * S)))
    mask = mask.reshape(B, S)
    _, weights = attend(attention, queries, states, lengths, mask)
    real = mask & (np.arange(S)[None] < lengths[:, None])
    assert not np.where(real[:, None], 0, weights).any()
    totals = np.broadcast_to(real.any(1)[:, None], (B, T))
    np.testing.assert_allclose(weights.sum(-1), totals, rtol=1e-5)


def test_without_lengths_every_state_counts():
    attention, states, queries = make("additive")
    whole = attention(queries, attention.memory(states))
    same = attention(queries, attention.memory(states, lengths=np.full(B, S)))
    for one, other in zip(whole, same, strict=True):
        np.testing.assert_array_equal(one, other)


def test_errors():
    attention, states, queries = make("general")
    with pytest.raises(ValueError, match="`kind` must be one of additive, dot, general, got 'x'"):
        seqjax.nn.Attention("x", 3, 3, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"queries and states of the same size, got 3 and 4"):
        seqjax.nn.Attention("dot", 3, 4, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"must have shape \(\*B, S, 8\), got \(3, 5, 7\)"):
        attention.memory(states[..., :7])
    memory = attention.memory(states)
    with pytest.raises(ValueError, match=r"with \*B, Q = \(3, 6\), got \(2, 4, 6\)"):
        attention(queries[:2], memory)
    with pytest.raises(ValueError, match="`lengths` must have shape"):
        attention.memory(jnp.asarray(states), lengths=np.array([1, 2]))
