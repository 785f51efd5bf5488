"""Haiku: `hk.VanillaRNN`, `LSTM` and `GRU` by `hk.dynamic_unroll`, time first."""

import haiku as hk  # pyright: ignore[reportMissingImports]
import jax
import jax.numpy as jnp

from peers import Case
from peers.jax_program import jax_program

VERSIONS = {"haiku": hk.__version__, "jax": jax.__version__}
CELLS = {"rnn": "rnn_relu", "gru": "gru_reset_before"}
CORES = {"rnn_relu": hk.VanillaRNN, "lstm": hk.LSTM, "gru_reset_before": hk.GRU}


def build(case: Case, weights, xs, cotangent):
    """Makes the program."""
    make = CORES[case.cell]

    def layer(index, xs):
        core = make(case.hidden_size, name=f"direction_{index}")
        start = core.initial_state(xs.shape[1])
        return hk.dynamic_unroll(core, xs, start, reverse=bool(index))[0]

    @hk.without_apply_rng
    @hk.transform
    def network(xs):
        ys = [layer(index, xs) for index in range(len(weights))]
        return ys[0] if len(ys) == 1 else jnp.concatenate(ys, axis=-1)

    def place(weights):
        """The LSTM's gates are i g f o, one matrix for input and state, 1 added to f's bias."""
        own = {}
        for index, direction in enumerate(weights):
            name = f"direction_{index}"
            kernels = direction["input_kernel"], direction["recurrent_kernel"]
            bias = direction["bias"]
            if case.cell == "gru_reset_before":
                own[name] = {"w_i": kernels[0], "w_h": kernels[1], "b": bias}
            elif case.cell == "lstm":
                i, f, g, o = jnp.split(jnp.concatenate([*kernels, bias[None]]), 4, axis=-1)
                joined = jnp.concatenate([i, g, f.at[-1].add(-1.0), o], axis=-1)
                own[f"{name}/linear"] = {"w": joined[:-1], "b": joined[-1]}
            else:
                own[f"{name}/linear"] = {"w": kernels[0], "b": bias}
                own[f"{name}/linear_1"] = {"w": kernels[1], "b": jnp.zeros_like(bias)}
        return own

    return jax_program(network.apply, place, weights, xs, cotangent)


def start(cores: int) -> None:
    """Nothing to do: one device, whose products use every core."""
