"""Programs as people write them around `nnx.RNN`: only the import of `nnx` changes.

Each follows a kind of use found in public repositories, in our own words and small.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx as flax_nnx
from marks import with_usual

from seqjax.flax import nnx as our_nnx

B, T, D, H = 2, 5, 3, 4
XS = jax.random.normal(jax.random.key(0), (B, T, D))
TOKENS = jnp.array([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]])


def classifier(nnx):
    """Embedded tokens, an LSTM, a linear layer on the last output."""
    rngs = nnx.Rngs(0)
    embed, head = nnx.Embed(6, D, rngs=rngs), nnx.Linear(H, 2, rngs=rngs)
    rnn = nnx.RNN(nnx.LSTMCell(D, H, rngs=rngs))
    return head(rnn(embed(TOKENS))[:, -1])


def bidirectional_classifier(nnx):
    """Two directions, put together by `nnx.Bidirectional`, in a module of its own."""

    class Model(nnx.Module):
        def __init__(self, rngs):
            forward = nnx.RNN(nnx.LSTMCell(D, H, rngs=rngs))
            backward = nnx.RNN(nnx.LSTMCell(D, H, rngs=rngs))
            self.both = nnx.Bidirectional(forward, backward)
            self.head = nnx.Linear(2 * H, 2, rngs=rngs)

        def __call__(self, xs):
            return self.head(self.both(xs).mean(axis=1))

    return nnx.jit(lambda model, xs: model(xs))(Model(nnx.Rngs(0)), XS)


def time_major_layers(nnx):
    """A textbook's stacked LSTM, time first: every layer hands on its carry, dropout between."""
    rngs = nnx.Rngs(params=0, dropout=1, carry=2)
    options = {"time_major": True, "return_carry": True, "rngs": rngs}
    sizes = [(D, H), (H, H)]
    layers = [nnx.RNN(nnx.LSTMCell(*size, rngs=rngs), **options) for size in sizes]
    dropout = nnx.Dropout(0.5, rngs=rngs)
    carries, xs = [None, None], jnp.swapaxes(XS, 0, 1)
    for chunk in (xs[:3], xs[3:]):
        ys = chunk
        for index, layer in enumerate(layers):
            carries[index], ys = layer(ys, initial_carry=carries[index])
            ys = dropout(ys) if index == 0 else ys
    return carries, ys


def encoder_and_decoder(nnx):
    """A decoder that starts from the carry of the encoder, and looks at its outputs."""
    rngs = nnx.Rngs(0)
    encoder = nnx.RNN(nnx.GRUCell(D, H, rngs=rngs), return_carry=True)
    decoder = nnx.RNN(nnx.GRUCell(D, H, rngs=rngs))
    attention = nnx.MultiHeadAttention(2, H, decode=False, rngs=rngs)
    carry, memory = encoder(XS)
    return attention(decoder(XS[:, ::-1], initial_carry=carry), memory)


def stacked_by_vmap(nnx):
    """Layers of one size made by `vmap` and run by `scan`, as generic encoders do."""

    @nnx.split_rngs(splits=2)
    @nnx.vmap(in_axes=0, out_axes=0)
    def blocks(rngs):
        return nnx.RNN(nnx.OptimizedLSTMCell(D, D, rngs=rngs), rngs=False)

    @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
    def run(xs, block):
        return xs + block(xs, rngs=nnx.Rngs(0))

    return run(XS, blocks(nnx.Rngs(0)))


def summed_directions(nnx):
    """A forecaster: both directions added, a linear layer over time."""
    rngs = nnx.Rngs(0)
    layers = [nnx.RNN(nnx.SimpleCell(D, H, rngs=rngs)) for _ in range(2)]
    encoder, over_time = nnx.Bidirectional(*layers, merge_fn=jnp.add), nnx.Linear(T, 2, rngs=rngs)
    return over_time(jnp.swapaxes(encoder(XS), 1, 2))


def own_cell(nnx):
    """A flow: the cell carries its last output beside the state, and returns two numbers."""

    class Flow(nnx.Module):
        num_feature_axes = 1

        def __init__(self, rngs):
            self.cell = nnx.LSTMCell(D + 1, H, rngs=rngs)
            self.out = nnx.Linear(H, 2, rngs=rngs)

        def __call__(self, carry, x):
            state, last = carry
            state, h = self.cell(state, jnp.concatenate([x, last[:, None]], axis=-1))
            shift, scale = jnp.split(self.out(h), 2, axis=-1)
            y = shift[:, 0] + nnx.softplus(scale[:, 0])
            return (state, y), (jnp.log(nnx.softplus(scale[:, 0])), y)

        def initialize_carry(self, input_shape, rngs):
            return self.cell.initialize_carry(input_shape, rngs), jnp.zeros(input_shape[0])

    return nnx.RNN(Flow(nnx.Rngs(0)))(XS, return_carry=False, rngs=nnx.Rngs(0))


def mixed_uses(nnx):
    """The cell of a layer called step by step, as when a policy acts, after a run in time."""
    cell = nnx.OptimizedLSTMCell(D, H, activation_fn=nnx.relu, rngs=nnx.Rngs(0))
    carry, _ = nnx.RNN(cell, return_carry=True, unroll=8)(XS)
    for _ in range(2):
        carry, y = cell(carry, XS[:, 0])
    return carry, y


def backwards_encoder(nnx):
    """A layer that reads from the end, and a mixed-precision one above it."""
    rngs = nnx.Rngs(0)
    lower = nnx.RNN(nnx.LSTMCell(D, H, rngs=rngs), reverse=True, keep_order=True)
    cell = nnx.OptimizedLSTMCell(H, H, dtype=jnp.bfloat16, rngs=rngs)
    return nnx.RNN(cell, reverse=True)(lower(XS, seq_lengths=jnp.array([T, T])))


def training(nnx):
    """A training loop with an optimiser of Flax, on padded sequences, read at their last steps."""

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.rnn = nnx.RNN(nnx.GRUCell(D, H, rngs=rngs))
            self.head = nnx.Linear(H, 1, rngs=rngs)

        def __call__(self, xs, lengths):
            carry, _ = self.rnn(xs, seq_lengths=lengths, return_carry=True)
            return self.head(carry)

    model = Model(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, xs, lengths):
        loss, grads = nnx.value_and_grad(lambda m: ((m(xs, lengths) - 1) ** 2).mean())(model)
        optimizer.update(model, grads)
        return loss

    losses = [step(model, optimizer, XS, jnp.array([5, 2])) for _ in range(4)]
    assert losses[-1] < losses[0]
    return losses, model(XS, jnp.array([5, 2]))


PROGRAMS = [
    classifier,
    bidirectional_classifier,
    time_major_layers,
    encoder_and_decoder,
    stacked_by_vmap,
    summed_directions,
    own_cell,
    mixed_uses,
    backwards_encoder,
    training,
]


# Parts of these are in the others.
ALIKE = (bidirectional_classifier, time_major_layers, summed_directions, backwards_encoder)


@pytest.mark.parametrize(
    "program",
    with_usual(PROGRAMS, {*PROGRAMS} - {*ALIKE}),
    ids=lambda program: program.__name__,
)
def test_program(program):
    with jax.numpy_rank_promotion("allow"):
        expected, got = program(flax_nnx), program(our_nnx)
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)
