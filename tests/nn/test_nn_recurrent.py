"""`RNN` and `Bidirectional` are `unroll` with the batch first, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import every_step_in_sequence
from flax import nnx

import seqjax
from seqjax.nn import RNN, Bidirectional

pytestmark = pytest.mark.usefixtures("shared_programs")

B, T, D, H = 3, 6, 3, 4
GRU, LSTM = seqjax.gru(H), seqjax.lstm(H)
XS = np.random.default_rng(0).normal(size=(B, T, D)).astype(np.float32)
LENGTHS = np.array([6, 0, 3])
MASK = np.random.default_rng(1).random((B, T)) < 0.8
BY_HAND = {
    "concat": lambda a, b: np.concatenate([a, b], axis=-1),
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "mean": lambda a, b: 0.5 * (a + b),
    "none": lambda a, b: (a, b),
}


def randomised(module, seed=0):
    """Replaces every parameter, biases and initial states too, by random numbers."""
    rng = np.random.default_rng(seed)
    state = nnx.state(module, nnx.Param)
    random = jax.tree.map(lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape)), state)
    nnx.update(module, jax.tree.map(lambda a, b: a.astype(b.dtype), random, state))
    return module


def rnn(cell=None, seed=0, **options):
    return randomised(RNN(cell or GRU, D, rngs=nnx.Rngs(0), **options), seed)


def bidirectional(cell=None, seed=0, **options):
    module = Bidirectional(cell or GRU, D, rngs=nnx.Rngs(0), **options)
    return randomised(module, seed)


def run(layer, xs, **options):
    """Calls a layer and moves the result to NumPy, where indexing compiles nothing."""
    return jax.device_get(layer(xs, **options))


def close(got, expected, rtol=1e-5, atol=1e-6):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_rnn_is_unroll_batch_first(reverse):
    layer = rnn(reverse=reverse)
    ys, state = run(layer, XS, lengths=LENGTHS, mask=MASK, return_state=True)
    expected_ys, expected_state = seqjax.unroll(
        layer.cell,
        layer.cell_params(),
        XS.swapaxes(0, 1),
        lengths=LENGTHS,
        mask=MASK.T,
        reverse=reverse,
    )
    close(ys, expected_ys.swapaxes(0, 1))
    close(state, expected_state)
    assert type(state) is type(expected_state)
    last, same = run(
        layer, XS, lengths=LENGTHS, mask=MASK, return_state=True, return_sequences=False
    )
    empty = ~((np.arange(T) < LENGTHS[:, None]) & MASK).any(axis=1)
    np.testing.assert_array_equal(last, np.where(empty[:, None], 0, state.hidden))
    close(same, state)


@every_step_in_sequence
def test_every_cell_runs_in_a_layer(row):
    layer = RNN(row.cell, D, rngs=nnx.Rngs(0))
    ys, state = nnx.eval_shape(lambda xs: layer(xs, return_state=True), XS)
    assert ys.shape == (B, T, row.cell.hidden_size)
    expected = jax.eval_shape(lambda: row.cell.initial_state(layer.cell_params(), (B,)))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), state) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), expected
    )


def test_any_batch_rank():
    layer = rnn()
    ys = run(layer, XS, lengths=LENGTHS)
    close(run(layer, XS[0], lengths=6), ys[0])
    close(
        run(layer, XS[:, None], lengths=LENGTHS[:, None], mask=np.ones((B, 1, T), bool)),
        ys[:, None],
    )


@pytest.mark.parametrize("name", ["mask", "resets"])
def test_shapes_are_told_as_the_user_gave_them(name):
    layer = seqjax.nn.RNN(seqjax.gru(4), 5, rngs=nnx.Rngs(0))
    message = rf"seqjax.nn.RNN: `{name}` must have shape \(\*B, T\) = \(2, 6\), got \(6, 2\)"
    with pytest.raises(ValueError, match=message):
        layer(jnp.ones((2, 6, 5)), **{name: jnp.ones((6, 2), bool)})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: seqjax.nn.RNN("lstm", 8, rngs=nnx.Rngs(0)), "`cell` must be a cell such as"),
        (lambda: seqjax.nn.RNN(8, 16, rngs=nnx.Rngs(0)), "`cell` must be a cell such as"),
        (lambda: seqjax.nn.RNN(seqjax.lstm(4), 3, rngs=0), "`rngs` must be flax.nnx.Rngs"),
        (
            lambda: seqjax.nn.RNN(seqjax.lstm(4), 0, rngs=nnx.Rngs(0)),
            "`in_size` must be an integer",
        ),
        (lambda: seqjax.lstm(4).initial_state(None, 32), r"Write \(32,\) for one batch axis"),
        (lambda: seqjax.lru(4).initial_state(None, 32), r"Write \(32,\) for one batch axis"),
    ],
)
def test_mistakes_of_the_first_hour(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_final_state_and_last_output_of_padded_sequences():
    """The last step that each direction ran: the first one in time for the backward layer."""
    layer = bidirectional()
    ys = run(layer, XS, lengths=LENGTHS)
    last = run(layer, XS, lengths=LENGTHS, return_sequences=False)
    for b, length in enumerate(LENGTHS):
        expected = np.zeros(2 * H)
        if length:
            expected = np.concatenate([ys[b, length - 1, :H], ys[b, 0, H:]])
        close(last[b], expected)


PADDED = {
    "whole": {},
    "lengths": {"lengths": np.array([T, 0, 1])},
    "mask": {"mask": MASK},
    "both": {"lengths": np.array([T, 0, 3]), "mask": MASK},
}


@pytest.mark.parametrize("padding", PADDED)
@pytest.mark.parametrize("merge", BY_HAND)
def test_last_output_is_the_right_step_of_the_sequences(merge, padding):
    """The last valid step of the forward layer, merged with the first of the backward one."""
    options = PADDED[padding]
    layer = bidirectional(merge=merge)
    sides = [
        in_front(run(side, XS, **options), options, side.reverse)
        for side in (layer.forward, layer.backward)
    ]
    last = run(layer, XS, return_sequences=False, **options)
    close(last, BY_HAND[merge](*sides))


@pytest.mark.parametrize("padding", PADDED)
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("cell", [LSTM, seqjax.lru(H, state_size=2)], ids=["lstm", "lru"])
def test_last_output_of_one_direction(cell, reverse, padding):
    """Not the state: the output of an LRU is made of its complex state and its input."""
    options = PADDED[padding]
    layer = rnn(cell, reverse=reverse)
    last = run(layer, XS, return_sequences=False, **options)
    close(last, in_front(run(layer, XS, **options), options, reverse))


def in_front(ys, options, reverse):
    """Returns the output of each sequence's last step, in NumPy; zeros where it has none."""
    lengths = options.get("lengths", np.full(B, T))
    valid = (np.arange(T) < lengths[:, None]) & options.get("mask", np.full((B, T), True))
    places = [np.flatnonzero(steps) for steps in valid]
    return np.stack(
        [
            y[place[0 if reverse else -1]] if len(place) else 0 * y[0]
            for y, place in zip(ys, places, strict=True)
        ]
    )


def test_initial_state_is_used_and_returned_for_empty_sequences():
    layer = rnn(LSTM)
    rng = np.random.default_rng(2)
    start = seqjax.cells.LSTMState(
        *(jnp.asarray(x, jnp.float32) for x in rng.normal(size=(2, B, H)))
    )
    first, state = run(layer, XS[:, :2], initial_state=start, return_state=True)
    second, _ = run(layer, XS[:, 2:], initial_state=state, return_state=True)
    whole = run(layer, XS, initial_state=start)
    close(np.concatenate([first, second], axis=1), whole)
    _, state = run(layer, XS, initial_state=start, lengths=LENGTHS, return_state=True)
    close([leaf[1] for leaf in state], [leaf[1] for leaf in start])


@pytest.mark.parametrize("merge", BY_HAND)
def test_merge_modes(merge):
    layer = bidirectional(merge=merge)
    forward, backward = rnn(), rnn(reverse=True)
    for own, source in ((forward, layer.forward), (backward, layer.backward)):
        nnx.update(own, nnx.state(source))
    ys, states = run(layer, XS, lengths=LENGTHS, return_state=True)
    a, a_state = run(forward, XS, lengths=LENGTHS, return_state=True)
    b, b_state = run(backward, XS, lengths=LENGTHS, return_state=True)
    by_hand = BY_HAND[merge]
    close(ys, by_hand(a, b))
    close(states, (a_state, b_state))
    last = run(layer, XS, lengths=LENGTHS, return_sequences=False)
    close(last, by_hand(a_state.hidden, b_state.hidden))
    assert layer.out_size == (2 * H if merge == "concat" else H)
    assert (ys[0] if merge == "none" else ys).shape == (B, T, layer.out_size)


def test_directions_have_parameters_of_their_own():
    layer = Bidirectional(GRU, D, rngs=nnx.Rngs(0))
    forward, backward = layer.forward.cell_params(), layer.backward.cell_params()
    assert np.abs(forward.input_kernel - backward.input_kernel).max() > 0.1


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_packed_sequences_equal_separate_runs(reverse):
    """Resets mark starts for both directions: sequences of 2, 3 and 1 steps, in one row."""
    layer = rnn(reverse=reverse)
    resets = np.zeros((B, T), bool)
    resets[:, [0, 2, 5]] = True
    ys = run(layer, XS, resets=resets)
    for start, stop in ((0, 2), (2, 5), (5, 6)):
        close(ys[:, start:stop], run(layer, XS[:, start:stop]))


def test_packed_sequences_with_padding_in_both_directions():
    layer = bidirectional()
    resets = np.zeros((B, T), bool)
    resets[0, 4], resets[2, 1] = True, True
    xs = np.where(np.arange(T)[None, :, None] < LENGTHS[:, None, None], XS, np.nan)
    ys = run(layer, xs, resets=resets, lengths=LENGTHS)
    close(ys[0], np.concatenate([run(layer, XS[:1, :4])[0], run(layer, XS[:1, 4:])[0]]))
    close(ys[2, :3], np.concatenate([run(layer, XS[2:, :1])[0], run(layer, XS[2:, 1:3])[0]]))
    assert (ys[2, 3:] == 0).all()
    assert (ys[1] == 0).all()


def test_backward_layer_keeps_its_initial_state_with_resets():
    """The state that is passed in follows the last step, wherever sequences start before it."""
    layer = rnn(reverse=True)
    start = seqjax.cells.HiddenState(jnp.full((B, H), 0.7, jnp.float32))
    resets = np.zeros((B, T), bool)
    close(run(layer, XS, initial_state=start, resets=resets), run(layer, XS, initial_state=start))
    resets[:, 4] = True
    ys = run(layer, XS, initial_state=start, resets=resets)
    close(ys[:, 4:], run(layer, XS[:, 4:], initial_state=start))
    close(ys[:, :4], run(layer, XS[:, :4]))


def test_padding_changes_no_gradient():
    """Through the modules, as training sees it."""
    layer = bidirectional()

    @nnx.jit
    def gradients(layer, xs):
        def loss(layer, xs):
            return (layer(xs, lengths=LENGTHS, mask=MASK) ** 2).sum()

        return nnx.grad(loss, argnums=(0, 1))(layer, xs)

    valid = (np.arange(T) < LENGTHS[:, None]) & MASK
    clean, dirty = (
        gradients(layer, jnp.where(valid[..., None], XS, fill)) for fill in (0.0, np.nan)
    )
    for a, b in zip(jax.tree.leaves(clean), jax.tree.leaves(dirty), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (clean[1][~valid] == 0).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=lambda d: d.__name__)
def test_param_dtype(dtype):
    module = Bidirectional(LSTM, D, param_dtype=dtype, rngs=nnx.Rngs(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(module))} == {jnp.dtype(dtype)}
    out = nnx.eval_shape(module, jax.ShapeDtypeStruct((B, T, D), jnp.bfloat16))
    assert out.dtype == jnp.bfloat16


def test_unknown_merge():
    with pytest.raises(ValueError, match="must be one of concat, sum, mul, mean, none, got 'max'"):
        Bidirectional(GRU, D, merge="max", rngs=nnx.Rngs(0))


def test_wrong_input_reaches_the_clear_message():
    with pytest.raises(
        ValueError, match=r"`xs` must have shape \(\*B, T, D\) with in_size D = 3, got \(3, 6, 5\)"
    ):
        rnn()(np.ones((B, T, 5), np.float32))
