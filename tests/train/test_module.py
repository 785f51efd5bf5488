"""Training of a module in one call."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from seqjax.train import DivergedError, fit_module

XS = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
OPTIMIZER = optax.sgd(0.1)


class Model(nnx.Module):
    """A linear layer, dropout that a key turns on, and an integer that is no parameter."""

    def __init__(self):
        self.linear = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
        self.drop = nnx.Dropout(0.5)
        self.calls = nnx.Variable(jnp.zeros((), int))

    def __call__(self, xs, key):
        return self.linear(self.drop(xs, rngs=key))


def loss(model, key, batch):
    return ((model(batch, key) - 1) ** 2).mean()


def batches(epoch):
    return [XS[:4] * epoch, XS[4:]]


def test_equals_a_loop_by_hand():
    """The same numbers as plain JAX: the keys, the order, the parameters written back."""
    model, key = Model(), jax.random.key(3)
    graph, params, rest = nnx.split(Model(), nnx.Param, ...)
    means = []
    for epoch in (1, 2):
        losses = []
        for index, batch in enumerate(batches(epoch)):
            step = 2 * (epoch - 1) + index
            value, grads = jax.value_and_grad(
                lambda p, step=step, batch=batch: loss(
                    nnx.merge(graph, p, rest), jax.random.fold_in(key, step), batch
                )
            )(params)
            params = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
            losses.append(value)
        means.append(np.mean(losses))
    told = []
    got = fit_module(
        model,
        loss,
        batches,
        optimizer=OPTIMIZER,
        epochs=2,
        key=key,
        report=lambda epoch, value: told.append((epoch, value)),
    )
    np.testing.assert_allclose(got, means, rtol=1e-5)
    assert told == [(1, got[0]), (2, got[1])]
    for a, b in zip(
        jax.tree.leaves(nnx.state(model, nnx.Param)), jax.tree.leaves(params), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def kernel(model):
    return np.asarray(model.linear.kernel[...])


def counting(model, key, batch):
    model.calls[...] += 1
    return loss(model, key, batch)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"loss": counting},
            ValueError,
            "change no variable but parameters, got a change of calls",
        ),
        ({"loss": lambda m, k, b: m(b, k)}, ValueError, "the loss must be a scalar"),
        ({"loss": lambda m, b: m(b)}, TypeError, "`loss` must be a function that can be called"),
        ({"train_batches": lambda epoch: []}, ValueError, "epoch 1 has no batches"),
        ({"train_batches": [XS]}, TypeError, "`train_batches` must be a function"),
        ({"train_batches": lambda epoch: [XS * np.inf]}, DivergedError, "the model is as it was"),
        ({"epochs": 0}, ValueError, "`epochs` must be an integer of at least 1"),
        ({"model": 3}, TypeError, "`model` must be a flax.nnx.Module"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_refuses(changes, error, message):
    model = Model()
    before = kernel(model)
    settings = {"model": model, "loss": loss, "train_batches": batches, "epochs": 1, **changes}
    with pytest.raises(error) as refused:
        fit_module(**settings, optimizer=OPTIMIZER)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    np.testing.assert_array_equal(kernel(model), before)


def test_batches_used_up():
    """An iterator has nothing left for the second epoch, which would train on nothing."""
    once = iter([XS])
    with pytest.raises(ValueError, match="epoch 2 has no batches"):
        fit_module(Model(), loss, lambda epoch: once, optimizer=OPTIMIZER, epochs=2)
