"""The cells against PyTorch: values, final states and gradients, padded and in both directions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import seqjax
from seqjax import convert
from seqjax.nn import Bidirectional

torch = pytest.importorskip("torch", reason="PyTorch is not installed: no parity with it")

pytestmark = pytest.mark.usefixtures("x64")

T, B, D, H = 6, 4, 3, 5
LENGTHS = np.array([6, 1, 4, 3])
XS = np.random.default_rng(0).normal(size=(T, B, D))
WEIGHTS = np.random.default_rng(1).normal(size=(T, B, H))

CELLS = {
    "rnn_tanh": (seqjax.elman(H), lambda **o: torch.nn.RNN(D, H, nonlinearity="tanh", **o)),
    "rnn_relu": (
        seqjax.elman(H, activation="relu"),
        lambda **o: torch.nn.RNN(D, H, nonlinearity="relu", **o),
    ),
    "lstm": (seqjax.lstm(H), lambda **o: torch.nn.LSTM(D, H, **o)),
    "gru": (seqjax.gru(H), lambda **o: torch.nn.GRU(D, H, **o)),
}
every_layer = pytest.mark.parametrize("name", CELLS)


def make(name, **options):
    """The cell, and a PyTorch layer with every weight and bias random."""
    cell, layer = CELLS[name][0], CELLS[name][1](dtype=torch.float64, **options)
    rng = np.random.default_rng(2)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(torch.from_numpy(0.5 * rng.normal(size=weight.shape)))
    return cell, layer


def weights_of(layer):
    return {name: np.asarray(weight.detach()) for name, weight in layer.named_parameters()}


def loss(ys, final):
    return (WEIGHTS * ys).sum() + sum((WEIGHTS[0] * leaf).sum() for leaf in final)


@every_layer
def test_values_and_gradients(name):
    """Every parameter's gradient in their layout, the input's and the initial state's."""
    cell, layer = make(name)
    starts = 0.5 * np.random.default_rng(3).normal(size=(2, B, H))[: 2 if name == "lstm" else 1]

    xs = torch.from_numpy(XS).requires_grad_()
    torch_starts = [torch.from_numpy(start[None]).requires_grad_() for start in starts]
    torch_ys, torch_final = layer(xs, tuple(torch_starts) if name == "lstm" else torch_starts[0])
    torch_final = torch_final if name == "lstm" else (torch_final,)
    weights = torch.from_numpy(WEIGHTS)
    total = (weights * torch_ys).sum() + sum((weights[0] * leaf).sum() for leaf in torch_final)
    total.backward()

    @jax.jit
    def run(weights, xs, start):
        def of(weights, xs, start):
            params = convert.load_params(cell, weights, "torch")
            ys, final = seqjax.unroll(cell, params, xs, initial_state=start)
            return loss(ys, final), (ys, final)

        return jax.grad(of, (0, 1, 2), has_aux=True)(weights, xs, start)

    start = (seqjax.cells.LSTMState if name == "lstm" else seqjax.cells.HiddenState)(*starts)
    (of_weights, of_xs, of_start), (ys, final) = run(weights_of(layer), XS, start)
    close(ys, torch_ys)
    for leaf, expected in zip(final, torch_final, strict=True):
        close(leaf, expected[0])
    close(of_xs, xs.grad)
    for leaf, expected in zip(of_start, torch_starts, strict=True):
        close(leaf, expected.grad[0])
    for weight, parameter in layer.named_parameters():
        close(of_weights[weight], parameter.grad)


@pytest.mark.parametrize(
    "name", [pytest.param("rnn_tanh", marks=pytest.mark.extended), "lstm", "gru"]
)
def test_packed_bidirectional(name):
    """PyTorch's packed sequences mean what our lengths mean, backwards too."""
    cell, layer = make(name, bidirectional=True, batch_first=True)
    ours = Bidirectional(cell, D, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    convert.load(ours, layer.state_dict(), "torch")
    xs = np.swapaxes(XS, 0, 1)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        torch.from_numpy(xs), torch.from_numpy(LENGTHS), batch_first=True, enforce_sorted=False
    )
    packed_ys, final = layer(packed)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(
        packed_ys, batch_first=True, total_length=T
    )
    garbage = np.where(np.arange(T)[None, :, None] < LENGTHS[:, None, None], xs, np.nan)
    ys, states = ours(garbage, lengths=LENGTHS, return_state=True)
    close(ys, expected)
    final = final if name == "lstm" else (final,)
    for state, direction in zip(states, (0, 1), strict=True):
        for leaf, wanted in zip(state, final, strict=True):
            close(leaf, wanted[direction])


def close(got, expected):
    if isinstance(expected, torch.Tensor):
        expected = expected.detach().numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-11)
