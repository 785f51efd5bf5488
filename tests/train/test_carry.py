"""A step that carries something to the next one: what it is, and that it survives a kill."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy

import seqjax
from seqjax.train import data_mesh, fit, make_train_step, open_run

CELL = seqjax.gru(3)
PARAMS = CELL.init(jax.random.key(0), 2)
XS = np.asarray(jax.random.normal(jax.random.key(1), (4, 12, 2)))


def loss(params, key, batch, state):
    """Squared errors of a cell that reads a segment after those before it."""
    ys, state = seqjax.unroll(CELL, params, batch["x"].swapaxes(0, 1), initial_state=state)
    return ((ys - 1) ** 2).mean(), {"weight": ys.size}, state


def segments(epoch):
    """The batches of an epoch; its number is not read, for the streams go on."""
    return [{"x": XS[:, start : start + 4]} for start in range(0, 12, 4)]


def zero():
    return CELL.initial_state(PARAMS, (4,), jnp.float32)


@pytest.mark.parametrize("devices", [1, 2])
def test_segments_are_one_sequence(devices):
    if devices > jax.device_count():
        pytest.skip("needs two devices")
    mesh = data_mesh(devices)
    step = make_train_step(loss, optax.sgd(0.0), mesh=mesh, carry=zero())
    state = step.init(PARAMS, jax.random.key(0))
    losses = []
    for segment in segments(1):
        state, record = step.update(state, segment)
        losses.append(record["loss"])
    ys, last = seqjax.unroll(CELL, PARAMS, XS.swapaxes(0, 1))
    np.testing.assert_allclose(np.mean(losses), ((ys - 1) ** 2).mean(), rtol=1e-5)
    np.testing.assert_allclose(state.carry.hidden, last.hidden, rtol=1e-5)


def test_no_gradient_flows_into_the_step_before():
    """The gradient is that of the segment alone, its first state held fixed."""
    step = make_train_step(loss, optax.sgd(1.0), mesh=data_mesh(1), carry=zero())
    state = step.init(PARAMS, jax.random.key(0))
    first, second, _ = segments(1)
    state, _ = step.update(state, first)
    before, carried = jax.tree.map(np.asarray, (state.params, state.carry))
    state, _ = step.update(state, second)
    gradient = jax.grad(lambda params: loss(params, None, second, carried)[0])(before)
    for old, slope, new in zip(
        *map(jax.tree.leaves, (before, gradient, state.params)), strict=True
    ):
        np.testing.assert_allclose(old - slope, new, rtol=1e-5, atol=1e-6)


def test_the_carry_is_saved_with_the_rest(tmp_path):
    """Stopped in the middle of an epoch and resumed, a run ends with the bits of a whole one."""
    step = make_train_step(loss, optax.adam(0.1), mesh=data_mesh(1), carry=zero())

    def run(name, batches, resume=False):
        return fit(
            step, PARAMS, batches, lambda params: {"sum": params.bias.sum()},
            key=jax.random.key(0), run=open_run(tmp_path / name, toy.CONFIG, resume=resume),
            seed=0, epochs=3, monitor="sum", mode="last", checkpoint_every=2, checkpoint_seconds=0,
        )  # fmt: skip

    def interrupted(epoch):
        for number, segment in enumerate(segments(epoch)):
            if (epoch, number) == (2, 2):
                raise KeyboardInterrupt
            yield segment

    whole = run("whole", segments)
    with pytest.raises(KeyboardInterrupt):
        run("killed", interrupted)
    resumed = run("killed", segments, resume=True)
    for a, b in zip(*map(jax.tree.leaves, (whole.params, resumed.params)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_mistakes_are_refused():
    def shrinking(params, key, batch, carry):
        return params.sum(), {"weight": 1}, carry[:, :1]

    step = make_train_step(shrinking, optax.sgd(1.0), mesh=data_mesh(1), carry=jnp.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"carry on what it was given, float32\[2, 3\], got .*1\]"):
        step.update(step.init(jnp.ones(2), jax.random.key(0)), {"x": jnp.ones(2)})
