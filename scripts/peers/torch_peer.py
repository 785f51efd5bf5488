"""PyTorch: `torch.nn.RNN`, `LSTM` and `GRU`, time first."""

import numpy as np
import torch  # pyright: ignore[reportMissingImports]

from peers import Case, Program

VERSIONS = {"torch": torch.__version__}
CELLS: dict[str, str] = {}
LAYERS = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


def place(weights, lstm_like: bool):
    """Rows are outputs; gates i f g o, or r z n with `z` weighing the old state; two biases."""

    def rows(columns):
        if lstm_like:
            return columns.T
        update, reset, candidate = columns.T.chunk(3)
        return torch.cat([reset, -update, candidate])

    named = {}
    for direction, suffix in zip(weights, ("", "_reverse"), strict=False):
        kernels = direction["input_kernel"], direction["recurrent_kernel"]
        bias = rows(direction["bias"][None])[:, 0]
        second = torch.zeros_like(bias)
        if "recurrent_bias" in direction:
            zeros = torch.zeros(2 * len(direction["recurrent_bias"]))
            second = torch.cat([zeros, direction["recurrent_bias"]])
        for name, value in zip(
            ("weight_ih", "weight_hh", "bias_ih", "bias_hh"),
            (*map(rows, kernels), bias, second),
            strict=True,
        ):
            named[f"{name}_l0{suffix}"] = value
    return named


def build(case: Case, weights, xs, cotangent) -> Program:
    """Makes the program."""
    layer = LAYERS[case.cell](case.in_size, case.hidden_size, bidirectional=case.bidirectional)
    lstm_like = case.cell != "gru"
    ours = [{name: torch.from_numpy(a).clone() for name, a in d.items()} for d in weights]
    with torch.no_grad():
        for name, value in place(ours, lstm_like).items():
            getattr(layer, name).copy_(value)
    inputs = torch.from_numpy(xs).clone().requires_grad_()
    of_ys = torch.from_numpy(cotangent).clone()

    def inference():
        with torch.inference_mode():
            return layer(inputs)[0]

    def train():
        layer.zero_grad(set_to_none=True)
        inputs.grad = None
        layer(inputs)[0].backward(of_ys)
        return inputs.grad

    def results() -> dict[str, np.ndarray]:
        for direction in ours:
            for leaf in direction.values():
                leaf.requires_grad_()
        inputs.grad = None
        ys = torch.func.functional_call(layer, place(ours, lstm_like), inputs)[0]
        ys.backward(of_ys)
        named = {f"{i}.{name}": a.grad.numpy() for i, d in enumerate(ours) for name, a in d.items()}
        assert inputs.grad is not None
        return {"ys": ys.detach().numpy(), "xs": inputs.grad.numpy().copy(), **named}

    return Program(inference, train, results)


def start(cores: int) -> None:
    """Called before anything else."""
    torch.set_num_threads(cores)
