"""What Flax NNX expects of modules: signatures, `train()` and `eval()`, the bridge to linen."""

import inspect
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from marks import with_usual

import seqjax
from seqjax import nn

XS = jnp.ones((4, 6, 3))
KEY = jax.random.key(0)
MODULES = [
    kind for kind in vars(nn).values() if isinstance(kind, type) and issubclass(kind, nnx.Module)
]


def stack(rate=0.5):
    rngs = nnx.Rngs(0)
    return nn.Stack([nn.RNN(seqjax.gru(3), 3, rngs=rngs) for _ in range(2)], dropout=rate)


def classifier():
    rngs = nnx.Rngs(0)
    recurrent = nn.RNN(seqjax.gru(3), 3, rngs=rngs)
    embedding = nn.Embedding(9, 3, rngs=rngs)
    return nn.SequenceClassifier(embedding, recurrent, num_classes=2, dropout=0.5, rngs=rngs)


def decoder():
    rngs = nnx.Rngs(0)
    attention = nn.Attention("dot", 3, 3, rngs=rngs)
    layers = [nn.RNN(seqjax.gru(3), 3, rngs=rngs)]
    return nn.AttentionDecoder(
        nn.Embedding(9, 3, rngs=rngs), layers, attention, dropout=0.5, rngs=rngs
    )


def decoded(model, key):
    memory = model.attention.memory(XS)
    return model(model.initial_state((4, 1), jnp.float32), TOKENS, memory, key=key)[1]


TOKENS = jnp.ones((4, 6), int)
DROPPING = {
    "stack": (stack, lambda model, key: model(XS, key=key)),
    "embedding": (
        lambda: nn.Embedding(9, 3, dropout=0.5, rngs=nnx.Rngs(0)),
        lambda model, key: model(TOKENS, key=key),
    ),
    "classifier": (classifier, lambda model, key: model(TOKENS, jnp.full(4, 6), key=key)),
    "decoder": (decoder, decoded),
}


@pytest.mark.parametrize(
    "name",
    with_usual(DROPPING, DROPPING.keys() - {"stack", "decoder"}),
)
def test_train_and_eval_decide_about_dropout(name):
    make, call = DROPPING[name]
    model = make()
    plain, dropped = call(model, None), call(model, KEY)
    assert (plain != dropped).any()
    model.eval()
    np.testing.assert_array_equal(call(model, KEY), plain)
    np.testing.assert_array_equal(call(model, None), plain)
    model.train()
    np.testing.assert_array_equal(call(model, KEY), dropped)
    with pytest.raises(ValueError, match=r"after model.train\(\), a call must be given a `key`"):
        call(model, None)


def test_without_dropout_no_key_is_needed():
    model = stack(rate=0.0)
    model.train()
    np.testing.assert_array_equal(model(XS), stack(rate=0.0)(XS))


@pytest.mark.parametrize("kind", MODULES, ids=lambda kind: kind.__name__)
def test_signature_is_that_of_init(kind):
    wanted = [*inspect.signature(kind.__init__).parameters][1:]
    assert [*inspect.signature(kind).parameters] == wanted
    assert "args" not in wanted


def test_signatures_of_a_subclass_and_of_an_instance():
    class Mine(nn.CRF):
        def __init__(self, mine: int):
            super().__init__(mine)

    assert [*inspect.signature(Mine).parameters] == ["mine"]
    assert [*inspect.signature(stack()).parameters][:2] == ["xs", "initial_state"]


@pytest.mark.parametrize("kind", [nn.RNN, nn.Bidirectional])
def test_bridge_to_linen(kind):
    """`apply` refused the variables: linen has a collection called params."""
    bridged = nnx.bridge.ToLinen(kind, args=(seqjax.gru(4), 3))
    variables = bridged.init(KEY, XS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ys = bridged.apply(variables, XS)
    layer = kind(seqjax.gru(4), 3, rngs=nnx.Rngs(0))
    assert ys.shape == layer(XS).shape
    doubled = jax.tree.map(lambda leaf: 2 * leaf, variables)
    assert (bridged.apply(doubled, XS) != ys).any()
