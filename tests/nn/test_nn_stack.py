"""Layers on top of each other."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import seqjax
from seqjax.nn import RNN, Bidirectional, Stack
from seqjax.nn._recurrent import Recurrent

pytestmark = pytest.mark.usefixtures("shared_programs")

B, T, D, H = 3, 5, 3, 4
GRU = seqjax.gru(H)
XS = np.random.default_rng(0).normal(size=(B, T, D)).astype(np.float32)
LENGTHS = np.array([5, 0, 2])


def layers(*in_sizes):
    rngs = nnx.Rngs(0)
    return [RNN(GRU, size, rngs=rngs) for size in in_sizes]


def run(layer, xs, **options):
    """Calls a layer and moves the result to NumPy, where indexing compiles nothing."""
    return jax.device_get(layer(xs, **options))


def close(got, expected):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_equals_layers_by_hand():
    rngs = nnx.Rngs(0)
    below = Bidirectional(seqjax.lstm(2), D, rngs=rngs)
    above = RNN(GRU, 4, reverse=True, rngs=rngs)
    stack = Stack([below, above], dropout=0.5)
    ys, states = run(stack, XS, lengths=LENGTHS, return_state=True)
    middle, below_state = run(below, XS, lengths=LENGTHS, return_state=True)
    expected, above_state = run(above, middle, lengths=LENGTHS, return_state=True)
    close(ys, expected)
    close(states, (below_state, above_state))
    close(run(stack, XS, lengths=LENGTHS, return_sequences=False), above_state.hidden)
    assert (stack.in_size, stack.out_size) == (D, H)


def test_states_carry_over():
    stack = Stack(layers(D, H))
    first, states = run(stack, XS[:, :2], return_state=True)
    second = run(stack, XS[:, 2:], initial_state=states)
    close(np.concatenate([first, second], axis=1), run(stack, XS))


def test_resets_and_masks_reach_every_layer():
    stack = Stack(layers(D, H))
    resets = np.zeros((B, T), bool)
    resets[:, 2] = True
    close(run(stack, XS, resets=resets)[:, 2:], run(stack, XS[:, 2:]))
    mask = np.ones((B, T), bool)
    mask[:, 3:] = False
    xs = np.where(mask[..., None], XS, np.nan)
    ys = run(stack, xs, mask=mask)
    close(ys[:, :3], run(stack, XS[:, :3]))
    assert (ys[:, 3:] == 0).all()


def test_residual():
    stack = Stack(layers(D, H, H), residual=True)
    first = run(stack.layers[0], XS)
    second = first + run(stack.layers[1], first)
    close(run(stack, XS), second + run(stack.layers[2], second))


class Recorder(Recurrent):
    """A layer that keeps what it is given and returns it."""

    def __init__(self, size=H):
        self.in_size = self.out_size = size
        self.seen = nnx.data([])

    def over_time(self, xs, **_):
        self.seen.append(jnp.swapaxes(xs, 0, 1))
        return xs, lambda: xs[-1], None


MASK = np.random.default_rng(1).random((B, T)) < 0.6
PADDED = {
    "whole": {},
    "lengths": {"lengths": np.array([T, 0, 1])},
    "mask": {"mask": MASK},
    "both": {"lengths": np.array([T, 0, 2]), "mask": MASK},
}
TOPS = {
    "forward": lambda rngs: RNN(GRU, H, rngs=rngs),
    "backward": lambda rngs: RNN(GRU, H, reverse=True, rngs=rngs),
    "both": lambda rngs: Bidirectional(seqjax.gru(H // 2), H, rngs=rngs),
    "sum": lambda rngs: Bidirectional(GRU, H, merge="sum", rngs=rngs),
    "lru": lambda rngs: RNN(seqjax.lru(H, state_size=3), H, rngs=rngs),
}


@pytest.mark.parametrize("padding", PADDED)
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("top", TOPS)
def test_last_output(top, residual, padding):
    """That of the top layer's last step, which is the first in time for a backward direction.

    With `residual` its input at that step is part of it; zeros where there is no step. The two
    directions of a merge end at different steps, so only "concat" has an input to add.
    """
    rngs, options = nnx.Rngs(0), PADDED[padding]
    stack = Stack([RNN(GRU, D, rngs=rngs), TOPS[top](rngs)], residual=residual)
    if residual and top == "sum":
        with pytest.raises(ValueError, match="needs merge='concat', got 'sum'"):
            stack(XS, return_sequences=False, **options)
        return
    last, states = run(stack, XS, return_sequences=False, return_state=True, **options)
    ys, same = run(stack, XS, return_state=True, **options)
    close(states, same)
    upper = stack.layers[1]
    below = run(stack.layers[0], XS, **options)
    sides = [run(layer, below, **options) for layer in sides_of(upper)]
    lengths = options.get("lengths", np.full(B, T))
    valid = (np.arange(T) < lengths[:, None]) & options.get("mask", np.full((B, T), True))
    for b, steps in enumerate(valid):
        ends = np.flatnonzero(steps)
        if not len(ends):
            assert (last[b] == 0).all()
            continue
        places = [ends[0 if layer.reverse else -1] for layer in sides_of(upper)]
        if top == "sum":
            expected = sum(side[b, place] for side, place in zip(sides, places, strict=True))
        else:
            parts = np.split(ys[b], len(places), axis=-1)
            expected = np.concatenate(
                [part[place] for part, place in zip(parts, places, strict=True)]
            )
        close(last[b], expected)


def sides_of(layer):
    """Returns the layers that run in time."""
    return [layer.forward, layer.backward] if isinstance(layer, Bidirectional) else [layer]


def test_last_output_of_one_layer_and_of_three():
    """A single layer has nothing to add; of three the middle one's output already is a sum."""
    one = Stack(layers(D), residual=True)
    close(run(one, XS, lengths=LENGTHS, return_sequences=False), run_to_end(one))
    three = Stack(layers(D, H, H), residual=True)
    close(run(three, XS, lengths=LENGTHS, return_sequences=False), run_to_end(three))


def run_to_end(layer):
    """Returns the output at the last step of each sequence, zeros for an empty one."""
    ys = run(layer, XS, lengths=LENGTHS)
    return np.stack(
        [y[length - 1] if length else 0 * y[0] for y, length in zip(ys, LENGTHS, strict=True)]
    )


def test_dropout_between_layers_only():
    stack = Stack([Recorder(), Recorder(), Recorder()], dropout=0.5)
    ones = jnp.ones((8, 16, H))
    ys = stack(ones, key=jax.random.key(0))
    first, second, third = (layer.seen[0] for layer in stack.layers)
    np.testing.assert_array_equal(first, ones)
    assert set(np.unique(second)) == {0.0, 2.0}
    assert 0.4 < (second == 0).mean() < 0.6
    # Another mask for the third layer, and none after it.
    assert set(np.unique(third)) == {0.0, 4.0}
    assert 0.65 < (third == 0).mean() < 0.85
    np.testing.assert_array_equal(ys, third)


def test_dropout_needs_a_key_and_follows_it():
    stack = Stack(layers(D, H), dropout=0.5)
    plain = run(stack, XS)
    np.testing.assert_array_equal(plain, run(stack, XS, key=None))
    one, again, other = (run(stack, XS, key=jax.random.key(k)) for k in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3
    assert np.abs(one - plain).max() > 1e-3
    undropped = Stack(layers(D, H), dropout=0.0)
    np.testing.assert_array_equal(run(undropped, XS, key=jax.random.key(1)), run(undropped, XS))


def test_dropped_input_does_not_reach_the_residual():
    """Each layer adds its input as it is; only what the layer itself sees is dropped."""
    stack = Stack([Recorder(), Recorder()], dropout=0.5, residual=True)
    ones = jnp.ones((8, 16, H))
    ys = stack(ones, key=jax.random.key(0))
    assert set(np.unique(ys)) == {1.0, 3.0}


@pytest.mark.parametrize("kind", [pytest.param(RNN, marks=pytest.mark.extended), Bidirectional])
def test_turns_its_sequences_once(kind):
    """However many layers, the compiled program transposes the input and the output alone."""

    def transposes(count):
        rngs, size, stacked = nnx.Rngs(0), 8, []
        for _ in range(count):
            stacked.append(kind(seqjax.gru(8), size, rngs=rngs))
            size = stacked[-1].out_size
        graph, state = nnx.split(Stack(stacked, dropout=0.2))

        def loss(state, xs, key):
            return (nnx.merge(graph, state)(xs, key=key) ** 2).sum()

        xs = jnp.ones((16, 40, 8))
        lowered = jax.jit(jax.grad(loss, (0, 1))).lower(state, xs, jax.random.key(0))
        # The preset of all tests places transposes in another way than users see.
        program = lowered.compile({"xla_cpu_opt_preset": "CPU_OPT_PRESET_DEFAULT"})
        sequences = r"= f32\[(?:16,40|40,16),\d+\]\S* transpose\("
        return len(re.findall(sequences, program.as_text()))

    assert transposes(3) == transposes(1) > 0


def test_no_layers():
    with pytest.raises(ValueError, match="`layers` must hold at least one layer, got none"):
        Stack([])


def test_sizes_do_not_fit():
    match = "layer 1 must have in_size = 4, the out_size of the layer below, got 7"
    with pytest.raises(ValueError, match=match):
        Stack(layers(D, 7))


def test_residual_sizes_do_not_fit():
    rngs = nnx.Rngs(0)
    below, above = RNN(GRU, D, rngs=rngs), RNN(seqjax.gru(6), H, rngs=rngs)
    match = "with `residual` layer 1 must have in_size equal to out_size, got 4 and 6. Choose"
    with pytest.raises(ValueError, match=match):
        Stack([below, above], residual=True)
    assert Stack([below, above]).out_size == 6


def test_wrong_number_of_initial_states():
    match = r"must be \(HiddenState, HiddenState\), got \(NoneType,\)"
    with pytest.raises(ValueError, match=match):
        Stack(layers(D, H))(XS, initial_state=(None,))


def test_pair_of_outputs():
    pair = Bidirectional(seqjax.gru(4), D, merge="none", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match='layer 0 must return one array, got merge="none"'):
        Stack([pair])
