"""Encoder and decoder: one step at a time equals all at once, and what padding may not change."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import seqjax
from seqjax import nn
from seqjax.nn._attention_decoder import in_sizes

V, E, H, D = 11, 4, 3, 5
RNG = np.random.default_rng(0)
SOURCE, LENGTHS = RNG.integers(4, V, (3, 6)), np.array([6, 3, 1])
TARGET, TARGET_LENGTHS = RNG.integers(4, V, (3, 7)), np.array([7, 4, 2])


def make(cell="rnn", layers=1, attend_from=-1, input_feeding=False, dropout=0.0, kind="additive"):
    rngs = nnx.Rngs(0)
    sizes = in_sizes(E, [D] * layers, 2 * H, attend_from, input_feeding)
    decoder = nn.AttentionDecoder(
        nn.Embedding(V, E, dropout=dropout, rngs=rngs),
        [nn.RNN(seqjax.make_cell(cell, D), size, rngs=rngs) for size in sizes],
        nn.Attention(kind, D, 2 * H, rngs=rngs),
        attend_from=attend_from,
        input_feeding=input_feeding,
        dropout=dropout,
        rngs=rngs,
    )
    encoder = nn.Bidirectional(seqjax.make_cell(cell, H), E, rngs=rngs)
    return nn.Seq2Seq(nn.Embedding(V, E, rngs=rngs), encoder, decoder, rngs=rngs)


WIRINGS = [
    {},
    {"cell": "lstm", "layers": 2, "attend_from": 0, "kind": "general"},
    {"cell": "gru", "layers": 2, "attend_from": 0, "input_feeding": True},
]


@pytest.mark.parametrize("wiring", WIRINGS)
def test_step_by_step_equals_teacher_forcing(wiring):
    model = make(**wiring)
    model.decoder.bias[...] = RNG.normal(size=V)

    @jax.jit
    def at_once(model):
        memory, state = model.encode(SOURCE, LENGTHS)
        final, outputs, weights = model.decoder(state, jnp.asarray(TARGET), memory)
        return (memory, state), final, model.decoder.logits(outputs), weights

    @jax.jit
    def step(model, memory, state, tokens):
        state, outputs, weights = model.decoder.step(state, tokens[:, None], memory)
        return state, model.decoder.logits(outputs)[:, 0], weights[:, 0]

    (memory, state), final, logits, weights = at_once(model)
    for t in range(TARGET.shape[1]):
        state, mine, looked = step(model, memory, state, TARGET[:, t])
        np.testing.assert_allclose(mine, logits[:, t], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(looked, weights[:, t], rtol=1e-4, atol=1e-6)
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(final), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wiring", [{}, {"cell": "lstm", "input_feeding": True}])
def test_final_state_is_that_of_each_targets_last_step(wiring):
    """With input feeding it was the state after step T, whatever the lengths."""
    model = make(**wiring)
    ends = np.array([7, 4, 0])

    @jax.jit
    def run(model, tokens, lengths):
        memory, state = model.encode(SOURCE, LENGTHS)
        return state, model.decoder(state, tokens, memory, lengths=lengths)[0]

    start, padded = run(model, jnp.asarray(TARGET), ends)
    for row, end in enumerate(ends):
        alone = run(model, jnp.asarray(TARGET[:, :end]), None)[1] if end else start
        for one, other in zip(jax.tree.leaves(padded), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(one[row], other[row], rtol=1e-5, atol=1e-6)


def test_hypotheses_of_one_source_do_not_touch_each_other():
    model = make(layers=2, attend_from=0, input_feeding=True)
    memory, state = jax.jit(lambda model: model.encode(SOURCE, LENGTHS))(model)
    take = jax.jit(lambda model, *args: model.decoder.step(*args))
    both = jax.tree.map(lambda leaf: jnp.concatenate([leaf, 2 * leaf], axis=1), state)
    tokens = jnp.asarray(TARGET[:, :2])
    together = take(model, both, tokens, memory)
    for number in range(2):
        mine = slice(number, number + 1)
        state = jax.tree.map(lambda leaf, mine=mine: leaf[:, mine], both)
        alone = take(model, state, tokens[:, mine], memory)
        for one, other in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(one[:, mine], other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wiring", [WIRINGS[1], WIRINGS[2]])
def test_padding_changes_nothing(wiring):
    model = make(**wiring)
    call = jax.jit(lambda model, *args: model(*args, target_lengths=TARGET_LENGTHS))
    outputs, weights = call(model, SOURCE, LENGTHS, TARGET)
    source = np.where(np.arange(6)[None] < LENGTHS[:, None], SOURCE, 0)
    target = np.where(np.arange(7)[None] < TARGET_LENGTHS[:, None], TARGET, 0)
    others = call(model, source, LENGTHS, target)
    real = np.arange(7)[None] < TARGET_LENGTHS[:, None]
    np.testing.assert_array_equal(outputs[real], others[0][real])
    np.testing.assert_array_equal(weights[real], others[1][real])
    assert (outputs[real][:, 0] != 0).all()
    shorter, _ = jax.jit(lambda model, *args: model(*args))(
        model, source[1:2, :3], LENGTHS[1:2], target[1:2, :4]
    )
    np.testing.assert_allclose(outputs[1, :4], shorter[0], rtol=1e-4, atol=1e-6)


def test_the_target_is_not_seen_ahead():
    model = make(**WIRINGS[1])
    call = jax.jit(lambda model, target: model(SOURCE, LENGTHS, target)[0])
    changed = TARGET.copy()
    changed[:, 4:] = 4 + (changed[:, 4:] - 3) % (V - 4)
    before, after = call(model, TARGET), call(model, changed)
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert (before[:, 4:] != after[:, 4:]).any(-1).all()


def test_dropout_and_sampling():
    model = make(dropout=0.5, layers=2)
    call = jax.jit(
        lambda model, key, rate: model(SOURCE, LENGTHS, TARGET, key=key, sampling_rate=rate)[0],
        static_argnums=2,
    )
    keys = jax.random.split(jax.random.key(0))
    np.testing.assert_array_equal(call(model, keys[0], 0.0), call(model, keys[0], 0.0))
    assert (call(model, keys[0], 0.0) != call(model, keys[1], 0.0)).any()
    # Without dropout, sampling leaves the first step alone and then changes some of those behind.
    model = make(layers=2)
    known, sampled = call(model, keys[0], 0.0), call(model, keys[0], 0.9)
    np.testing.assert_allclose(known[:, 0], sampled[:, 0], rtol=1e-4, atol=1e-6)
    assert (abs(known[:, 1:] - sampled[:, 1:]) > 1e-4).any(-1).mean() > 0.5
    with pytest.raises(ValueError, match="`sampling_rate` needs a key"):
        model(SOURCE, LENGTHS, TARGET, sampling_rate=0.5)


def test_a_sampled_token_is_the_models_own():
    """Where the model is sure of one token, sampling always gives it that one."""
    model = make()
    model.decoder.bias[...] = jnp.where(jnp.arange(V) == 7, 1e4, 0.0)
    key = jax.random.key(0)
    sampled = jax.jit(
        lambda model: model(SOURCE, LENGTHS, TARGET, key=key, sampling_rate=1 - 1e-7)[0]
    )(model)
    own = np.concatenate([TARGET[:, :1], np.full((3, 6), 7)], axis=1)
    wanted = jax.jit(lambda model: model(SOURCE, LENGTHS, own)[0])(model)
    np.testing.assert_allclose(sampled, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy(smoothing):
    decoder = make().decoder
    decoder.bias[...] = RNG.normal(size=V)
    outputs = RNG.normal(size=(3, 7, E)).astype(np.float32)
    wanted_labels = optax.smooth_labels(jax.nn.one_hot(TARGET, V), smoothing)

    def mine(outputs):
        return decoder.cross_entropy(outputs, TARGET, label_smoothing=smoothing)[0].sum()

    def plain(outputs):
        return optax.softmax_cross_entropy(decoder.logits(outputs), wanted_labels).sum()

    (one, slope), (other, wanted) = (jax.value_and_grad(f)(outputs) for f in (mine, plain))
    np.testing.assert_allclose(one, other, rtol=1e-5)
    np.testing.assert_allclose(slope, wanted, rtol=1e-4, atol=1e-5)
    _, nll = decoder.cross_entropy(outputs, TARGET, label_smoothing=smoothing)
    log_probs = jax.nn.log_softmax(decoder.logits(outputs))
    np.testing.assert_allclose(
        nll, -np.take_along_axis(np.asarray(log_probs), TARGET[..., None], -1)[..., 0], rtol=1e-4
    )


def test_errors():
    rngs = nnx.Rngs(0)
    embedding, cell = nn.Embedding(V, E, rngs=rngs), seqjax.gru(D)
    attention = nn.Attention("general", D, 2 * H, rngs=rngs)
    layer = nn.RNN(cell, E, rngs=rngs)
    with pytest.raises(ValueError, match="the index of a layer, got 1 for 1 layers"):
        nn.AttentionDecoder(embedding, [layer], attention, attend_from=1, rngs=rngs)
    with pytest.raises(ValueError, match=r"must read \[8\] features, got \[4\]"):
        nn.AttentionDecoder(embedding, [layer], attention, input_feeding=True, rngs=rngs)
    wrong = nn.Attention("general", D + 1, 2 * H, rngs=rngs)
    with pytest.raises(ValueError, match="query_size = 5, the out_size of layer 0, got 6"):
        nn.AttentionDecoder(embedding, [layer], wrong, rngs=rngs)
    decoder = nn.AttentionDecoder(embedding, [layer], attention, rngs=rngs)
    with pytest.raises(ValueError, match="`encoder` must have in_size = 4"):
        nn.Seq2Seq(embedding, nn.RNN(cell, 9, rngs=rngs), decoder, rngs=rngs)
    with pytest.raises(ValueError, match=r"must have memory_size = 5, .* got 6"):
        nn.Seq2Seq(embedding, nn.RNN(cell, E, rngs=rngs), decoder, rngs=rngs)
