"""A whole model as a folder: what comes back, and what is refused."""

import hashlib
import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import seqjax
from seqjax import convert

CONFIG = {"in_features": 3, "hidden_size": 4, "num_layers": 2, "bidirectional": True}
XS = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)


class Tagger(nnx.Module):
    """A model of a user, with a dropout that has streams of its own."""

    def __init__(self, sizes, cell="gru", *, rngs):
        self.recurrent = seqjax.nn.RNN(seqjax.make_cell(cell, sizes[1]), sizes[0], rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(sizes[1], 2, param_dtype=jnp.bfloat16, rngs=rngs)

    def __call__(self, xs):
        return self.head(self.drop(self.recurrent(xs)))


def tagger():
    return Tagger([3, 4], rngs=nnx.Rngs(1))


@pytest.fixture
def saved(tmp_path):
    convert.save_pretrained(tagger(), tmp_path, {"sizes": [3, 4]})
    return tmp_path


def test_a_model_of_ours(tmp_path):
    model = seqjax.nn.LSTM(**CONFIG, rngs=nnx.Rngs(1))
    convert.save_pretrained(model, tmp_path / "new" / "folder", CONFIG)
    loaded = convert.load_pretrained(tmp_path / "new" / "folder")
    assert type(loaded) is seqjax.nn.LSTM
    np.testing.assert_array_equal(loaded(XS), model(XS))
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


def test_a_model_of_a_user(saved):
    """In bfloat16 too, which NumPy's safetensors lacks; saved in test mode."""
    model = tagger()
    model.eval()
    loaded = convert.load_pretrained(saved, Tagger)
    loaded.eval()
    assert loaded.head.kernel.dtype == jnp.bfloat16
    np.testing.assert_array_equal(loaded(XS), model(XS))
    convert.save_pretrained(model, saved, {"sizes": [3, 4]})


@pytest.mark.parametrize(
    ("model", "config", "message"),
    [
        (tagger, {"sizes": [3, 5]}, "that makes another, with config"),
        (tagger, {"sizes": [3, 4], "cell": "lstm"}, "that makes another, with config"),
        (tagger, {"sizes": (3, 4)}, "must be a dictionary of names to plain JSON"),
        (tagger, {"sizes": [3, 4], "cell": seqjax.gru}, "to plain JSON"),
        (tagger, {"size": 3}, "must make the model, got Tagger.__init__() "),
        (
            lambda: nnx.BatchNorm(3, rngs=nnx.Rngs(0)),
            {"num_features": 3},
            "must have no state but parameters, got mean",
        ),
    ],
)
def test_save_refuses(tmp_path, model, config, message):
    with pytest.raises(convert.ConvertError) as refused:
        convert.save_pretrained(model(), tmp_path, config)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not any(tmp_path.iterdir())


def test_options_that_change_the_function_alone(tmp_path):
    """The parameters are the same; only the activation tells the two models apart."""
    config = {"in_features": 3, "hidden_size": 4}
    model = seqjax.nn.Elman(**config, activation="relu", rngs=nnx.Rngs(0))
    with pytest.raises(convert.ConvertError, match="one that makes another"):
        convert.save_pretrained(model, tmp_path, config)
    convert.save_pretrained(model, tmp_path, {**config, "activation": "relu"})
    np.testing.assert_array_equal(convert.load_pretrained(tmp_path)(XS), model(XS))


def rewrite(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def other_shapes(folder):
    path = folder / "model.safetensors"
    arrays = convert.read_safetensors(path)
    convert.write_safetensors(path, {**arrays, "head.bias": np.zeros(3, np.float32)})
    rewrite(folder, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])


@pytest.mark.parametrize(
    ("damage", "make", "message"),
    [
        (lambda folder: None, None, "the class must be one of "),
        (lambda folder: rewrite(folder, **{"class": "os.system"}), None, "got 'os.system'"),
        (lambda folder: rewrite(folder, **{"class": "Other"}), Tagger, "must make a Other"),
        (
            lambda folder: rewrite(folder, config={"sizes": [3, 5]}),
            Tagger,
            "must have shape (5, 2)",
        ),
        (lambda folder: rewrite(folder, config={"sizes": [3, 10**8]}), Tagger, "must have shape"),
        (lambda folder: rewrite(folder, config={"rngs": 3}), Tagger, "must make the model, got"),
        (lambda folder: rewrite(folder, config=[3]), Tagger, "what `save_pretrained` wrote"),
        (lambda folder: rewrite(folder, config={"sizes": [0, 4]}), Tagger, "`in_size` must be"),
        (lambda folder: (folder / "config.json").write_text("{"), Tagger, "JSONDecodeError"),
        (lambda folder: (folder / "config.json").write_text("[" * 10**5), Tagger, "must hold what"),
        (lambda folder: (folder / "config.json").unlink(), Tagger, "No such file"),
        (lambda folder: (folder / "config.json").write_text(" " * 2**21), Tagger, "at most"),
        (lambda folder: (folder / "model.safetensors").unlink(), Tagger, "No such file"),
        (cut, Tagger, "must be the file that was saved with config.json"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(bytes(2**21)),
            Tagger,
            "must hold the 110 parameters of the model, got 2,097,152 bytes",
        ),
        (other_shapes, Tagger, "parameter 'head.bias' must have shape (2,)"),
    ],
    ids=lambda value: value[:25] if isinstance(value, str) else "",
)
def test_load_refuses(saved, damage, make, message):
    damage(saved)
    with pytest.raises(convert.ConvertError) as refused:
        convert.load_pretrained(saved, make)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
