"""Files of weights, and a model of PyTorch's that travels in one."""

import contextlib
import pickle
import re

import hypothesis
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import strategies

import seqjax
from seqjax import convert


def classifier(hidden_size=4, **options):
    rngs = nnx.Rngs(0)
    sizes = [5, 2 * hidden_size]
    layers = [
        seqjax.nn.Bidirectional(seqjax.gru(hidden_size, **options), size, rngs=rngs)
        for size in sizes
    ]
    return seqjax.nn.SequenceClassifier(
        seqjax.nn.Embedding(12, 5, rngs=rngs),
        seqjax.nn.Stack(layers),
        num_classes=3,
        pooling="mean",
        rngs=rngs,
    )


@pytest.mark.extended
def test_trained_torch_model(tmp_path):
    """Trained there, saved as safetensors, the same predictions here; and back."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: no parity with it")

    class Classifier(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.words = torch.nn.Embedding(12, 5)
            self.gru = torch.nn.GRU(5, 4, num_layers=2, bidirectional=True, batch_first=True)
            self.fc = torch.nn.Linear(8, 3)

        def forward(self, tokens):
            return self.fc(self.gru(self.words(tokens))[0].mean(dim=1))

    torch.manual_seed(0)
    theirs = Classifier()
    tokens = torch.randint(0, 12, (8, 6))
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.02)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(theirs(tokens), tokens[:, 0] % 3)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]

    file = tmp_path / "model.safetensors"
    from safetensors.torch import save_file

    save_file(theirs.state_dict(), str(file))
    ours = classifier()
    convert.load(ours, convert.read_safetensors(file), "torch")  # no layer stands twice
    run = nnx.jit(lambda model: model(jnp.asarray(tokens.numpy()), jnp.full(8, 6)))
    with torch.no_grad():
        expected = theirs(tokens).numpy()
    np.testing.assert_allclose(run(ours), expected, atol=1e-5)

    ours.recurrent.layers[1].backward.weights.recurrent_bias[...] += 0.7
    names = {"embedding": "words", "recurrent": "gru", "head": "fc"}
    convert.write_safetensors(file, convert.dump(ours, "torch", names=names))
    from safetensors.torch import load_file

    theirs.load_state_dict(load_file(str(file)))
    with torch.no_grad():
        changed = theirs(tokens).numpy()
    assert np.abs(changed - expected).max() > 1e-3
    np.testing.assert_allclose(run(ours), changed, atol=1e-5)


def test_own_weights_hold_everything(tmp_path):
    """Also what no other framework has: a learned initial state."""
    file = tmp_path / "own.safetensors"
    model = classifier(learned_initial_state=True)
    state = model.recurrent.layers[0].forward.weights.initial_state
    state.hidden[...] = jnp.arange(4.0)
    convert.write_safetensors(file, convert.dump(model, "seqjax"))
    other = classifier(learned_initial_state=True)
    convert.load(other, convert.read_safetensors(file), "seqjax")
    for name, array in convert.dump(model, "seqjax").items():
        np.testing.assert_array_equal(convert.dump(other, "seqjax")[name], array)
    with raises("got a difference in recurrent.layers.0.backward.weights.initial_state.hidden"):
        convert.load(classifier(), convert.read_safetensors(file), "seqjax")
    with raises("must be an array of shape (12, 5), got float32 of shape (3,)."):
        weights = convert.dump(other, "seqjax") | {"embedding.table": np.ones(3, np.float32)}
        convert.load(other, weights, "seqjax")
    with raises("no parameters that other frameworks lack, got recurrent.layers.0.backward"):
        convert.dump(model, "torch")


def test_transposed_arrays_are_written_as_they_are(tmp_path):
    """The file format knows no strides."""
    array = np.arange(6.0).reshape(2, 3)
    convert.write_safetensors(tmp_path / "a.safetensors", {"a": array.T})
    read = convert.read_safetensors(tmp_path / "a.safetensors")["a"]
    np.testing.assert_array_equal(read, array.T)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


class Bomb:
    """Runs where it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("a pickle was opened",)


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.pkl", "model.safetensors"])
def test_nothing_is_unpickled(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    with raises("must be a safetensors file, got a pickle, which is not opened. Where it comes"):
        convert.read_safetensors(tmp_path / name)


@hypothesis.given(content=strategies.binary(max_size=300), whole=strategies.booleans())
@hypothesis.settings(
    max_examples=200,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
def test_any_bytes(tmp_path, content, whole):
    """Random bytes, and headers of the right length with random contents."""
    file = tmp_path / "a.safetensors"
    file.write_bytes((b"" if whole else len(content).to_bytes(8, "little")) + content)
    with contextlib.suppress(convert.ConvertError):
        assert isinstance(convert.read_safetensors(file), dict)


def test_cut_short_or_changed(tmp_path):
    """A whole file of which any byte is changed, or that ends anywhere."""
    file = tmp_path / "a.safetensors"
    convert.write_safetensors(file, {"weight": np.ones((2, 3), np.float32)})
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for place in range(len(whole)):
        file.write_bytes(whole[:place])
        with raises("seqjax.convert: "):
            convert.read_safetensors(file)
        changed = bytearray(whole)
        changed[place] ^= int(rng.integers(1, 256))
        file.write_bytes(changed)
        with contextlib.suppress(convert.ConvertError):
            arrays = convert.read_safetensors(file)
            assert all(isinstance(array, np.ndarray) for array in arrays.values())


def test_bfloat16_is_refused_or_read(tmp_path):
    """NumPy has no such numbers; a file of them ends in one line."""
    header = b'{"a":{"dtype":"F8_E5M2","shape":[2],"data_offsets":[0,2]}}'
    file = tmp_path / "a.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + b"ab")
    with raises("must be a whole safetensors file of float16, float32 or float64"):
        convert.read_safetensors(file)


@pytest.mark.parametrize("length", [0x80, 0x280, 0x4B50])
def test_a_header_whose_length_begins_like_another_file_is_read(tmp_path, length):
    """One of 32 files has a header of 128 bytes modulo 256, which is how a pickle begins."""
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(length)
    file = tmp_path / "a.safetensors"
    file.write_bytes(length.to_bytes(8, "little") + header + np.float32(3).tobytes())
    assert convert.read_safetensors(file)["a"].tolist() == [3.0]


class Unwilling:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("a tensor\nof another device")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (Unwilling(), "'a' must be an array, got a Unwilling (a tensor). Of a tensor take"),
        ([[1.0], [1.0, 2.0]], "'a' must be an array, got a list (setting an array element"),
        (np.ones(2, np.longdouble), "'a' must hold numbers of at most 64 bits, got float128."),
    ],
)
def test_what_cannot_be_written(tmp_path, array, message):
    with raises(message):
        convert.write_safetensors(tmp_path / "a.safetensors", {"a": array})
    assert list(tmp_path.iterdir()) == []


def test_missing_file_and_nested_weights(tmp_path):
    with pytest.raises(FileNotFoundError):
        convert.read_safetensors(tmp_path / "none.safetensors")
    with raises("a file must be given"):
        convert.write_safetensors(tmp_path / "a.safetensors", {"params": {"a": np.ones(2)}})
    assert list(tmp_path.iterdir()) == []


def raises(message):
    return pytest.raises(convert.ConvertError, match=re.escape(message))
