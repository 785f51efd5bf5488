"""One update: its average, its key, its record."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy

from seqjax.train import data_mesh, make_train_step, shard
from seqjax.train._step import ema


def test_average_closed_form():
    # The gradient is 1 everywhere, so the parameter is -rate * n after n steps.
    def loss(w, key, batch):
        return w, {"weight": batch.size}

    step = make_train_step(loss, optax.sgd(0.5), ema_decay=0.3, mesh=data_mesh(1))
    state = step.init(jnp.float32(0), jax.random.key(0))
    average = 0.0
    for n in range(6):
        decay = min(0.3, (1 + n) / (10 + n))
        average = decay * average + (1 - decay) * -0.5 * (n + 1)
        state, _ = step.update(state, jnp.ones(2))
        np.testing.assert_allclose(state.average, average, rtol=1e-6)
    assert int(state.step) == 6


def test_average_settles_at_its_decay():
    late = ema(jnp.float32(1), jnp.float32(0), decay=0.99, step=10_000)
    np.testing.assert_allclose(late, 0.99, rtol=1e-6)


def test_average_keeps_its_dtype():
    half = jnp.ones(2, jnp.bfloat16)
    assert ema(half, half * 2, decay=0.5, step=3).dtype == jnp.bfloat16


def test_reports_the_norm_before_clipping():
    def loss(w, key, batch):
        return 3.0 * w["a"] + 4.0 * w["b"], {"weight": 1}

    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(1.0))
    step = make_train_step(loss, optimizer, mesh=data_mesh(1))
    state = step.init({"a": jnp.float32(0), "b": jnp.float32(0)}, jax.random.key(0))
    state, record = step.update(state, jnp.ones(2))
    np.testing.assert_allclose(record["grad_norm"], 5.0, rtol=1e-6)
    np.testing.assert_allclose(state.params["a"], -0.6, rtol=1e-6)


def test_key_differs_every_step_and_is_kept():
    def loss(w, key, batch):
        return 0.0 * w, {"weight": 1, "draw": jax.random.uniform(key)}

    step = make_train_step(loss, optax.sgd(1.0), mesh=data_mesh(1))
    state = step.init(jnp.float32(0), jax.random.key(7))
    draws = []
    for _ in range(3):
        state, record = step.update(state, jnp.ones(2))
        draws.append(float(record["draw"]))
    expected = [jax.random.uniform(jax.random.fold_in(jax.random.key(7), n)) for n in range(3)]
    assert draws == [float(x) for x in expected]


def test_two_devices_equal_one():
    states = []
    for num in (1, 2):
        step = toy.make(num_devices=num)
        assert step.mesh.shape["batch"] == num
        state = step.init(toy.init(), jax.random.key(0))
        for batch in toy.batches(1):
            state, record = step.update(state, shard(step.mesh, batch))
        assert len(state.params["w"].sharding.device_set) == num
        states.append(jax.device_get((state.params, state.average, record)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), *states)


@pytest.mark.parametrize(
    ("output", "match"),
    [
        ((jnp.zeros(3), {"weight": 1}), r"must be a scalar, got shape \(3,\)"),
        ((0.0, {"accuracy": 1}), r'must hold "weight".*\[\'accuracy\'\]'),
        ((0.0, {"weight": 1, "loss": 1}), "same name: loss. Rename"),
    ],
)
def test_refuses_a_loss(output, match):
    step = make_train_step(
        lambda w, key, batch: (output[0] + 0 * w, output[1]), optax.sgd(1.0), mesh=data_mesh(1)
    )
    with pytest.raises(ValueError, match=match):
        step.update(step.init(jnp.float32(0), jax.random.key(0)), jnp.ones(2))


def test_refuses_a_decay():
    with pytest.raises(ValueError, match=r"`ema_decay` must lie in \[0, 1\), got 1.0"):
        make_train_step(toy.loss, optax.sgd(1.0), ema_decay=1.0)
